"""What runs a virtual machine's instructions here: KVM where an ordinary guest boots with it, else emulation.

``/dev/kvm`` may exist and still fail on a guest's first unusual instruction, so one guest is
booted, once; the answer is remembered for this kernel and this QEMU.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

from conformance.build import cache
from conformance.build.cache import Progress, silent
from conformance.build.image import image
from conformance.errors import InfrastructureError, UsageError

QEMU = "qemu-system-x86_64"
#: QEMU 7.2 panics a 6.12 kernel under emulation.
MINIMUM_QEMU = 10
CHOICE = "CONFORMANCE_ACCELERATOR"
ACCELERATORS = ("kvm", "tcg")
#: A kernel without a disk says this after it has set up everything else.
BOOTED = b"Unable to mount root fs"
TRIAL_SECONDS = 30


def qemu_version() -> tuple[int, ...]:
    """QEMU's version; empty when it is not installed."""
    try:
        done = subprocess.run([QEMU, "--version"], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ()
    found = re.search(r"version (\d+)\.(\d+)\.(\d+)", done.stdout)
    return tuple(map(int, found.groups())) if found else ()


def remembered() -> str:
    """The accelerator found out earlier for this kernel and QEMU, or an empty string."""
    try:
        known = json.loads(_memory().read_text())
    except (OSError, ValueError):
        return ""
    return str(known.get(_machine(), ""))


def accelerator(progress: Progress = silent) -> str:
    """``kvm`` or ``tcg``: the user's choice, what is remembered, or what a trial shows now.

    Raises:
        UsageError: the user's choice is none of the two.
        InfrastructureError: no QEMU, or one too old to emulate.
    """
    version = qemu_version()
    if not version:
        raise InfrastructureError(f"{QEMU} is not installed", hint="install it: sh vms/host/install.sh vms")
    chosen = os.environ.get(CHOICE) or remembered()
    if chosen and chosen not in ACCELERATORS:
        raise UsageError(f"{CHOICE} is '{chosen}'; allowed: {', '.join(ACCELERATORS)}")
    if not chosen:
        chosen = "kvm" if _boots_with_kvm(progress) else "tcg"
        _remember(chosen)
    if chosen == "tcg" and version[0] < MINIMUM_QEMU:
        shown = ".".join(map(str, version))
        raise InfrastructureError(
            f"QEMU {shown} cannot emulate a current kernel, {MINIMUM_QEMU} or newer is needed",
            hint="install it: sh vms/host/install.sh vms",
        )
    return chosen


def _boots_with_kvm(progress: Progress) -> bool:
    if not Path("/dev/kvm").exists():
        return False
    kernel = next(iter(sorted((image("boot", progress).path / "boot").glob("vmlinuz-*"))), None)
    if kernel is None:
        return False
    progress("trying whether an ordinary guest boots with KVM (once)")
    argv = [QEMU, "-nodefaults", "-accel", "kvm", "-cpu", "host", "-m", "256", "-display", "none", "-vga", "none",
            "-serial", "stdio", "-kernel", str(kernel), "-append", "console=ttyS0 panic=-1", "-no-reboot"]  # fmt: skip
    try:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=TRIAL_SECONDS, check=False
        )  # fmt: skip
        said = done.stdout
    except subprocess.TimeoutExpired as expired:
        said = expired.stdout or b""
    return BOOTED in said


def _machine() -> str:
    return f"{os.uname().release} qemu {'.'.join(map(str, qemu_version()))}"


def _memory() -> Path:
    return cache.root() / "accelerator.json"


def _remember(chosen: str) -> None:
    place = _memory()
    place.parent.mkdir(parents=True, exist_ok=True)
    partial = place.with_name(f".{place.name}.{os.getpid()}")
    partial.write_text(json.dumps({_machine(): chosen}) + "\n")
    partial.replace(place)
