"""Say what this machine can do, and what to type where it cannot.

Every line is tried, not guessed. Exit code 0 when a run can start here, 3 when not.
"""

from __future__ import annotations

import argparse
import fcntl
import importlib.metadata
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from conformance.build import cache
from conformance.build.accelerator import MINIMUM_QEMU, qemu_version, remembered
from conformance.cli.stop import kept
from conformance.testbeds import as_root
from conformance.testbeds.enclosure import CGROUP_PREFIX, LOCKS, hierarchies
from conformance.verdict import CONFORMANT, INFRASTRUCTURE_FAILED

MINIMUM_PYTHON = (3, 11)
#: Both images, the corpus and a run's upper layer.
MINIMUM_FREE_MIB = 3000
#: What installs Vagrant, libvirt and QEMU; on Debian 12 QEMU from its backports.
VMS = "sh vms/host/install.sh vms"
PLUGIN = "vagrant plugin list | grep -q '^vagrant-libvirt ' || { echo vagrant-libvirt is not installed >&2; exit 1; }"
OVERLAY = """mount -t tmpfs none "$2" && mkdir "$2/u" "$2/w" "$2/m" &&
mount -t overlay -o "lowerdir=$1,upperdir=$2/u,workdir=$2/w" none "$2/m"
"""


@dataclass(frozen=True)
class Finding:
    """One line of the answer.

    Attributes:
        what: is looked at.
        state: yes, no, or None where it is only told.
        detail: what was found.
        type_this: what to type when the answer is no.
    """

    what: str
    state: bool | None
    detail: str
    type_this: str = ""

    def __str__(self) -> str:
        word = {True: "ok", False: "NO", None: "--"}[self.state]
        return f"{word}  {self.what:<12} {self.detail}" + (f"; type: {self.type_this}" if self.type_this else "")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """See :class:`conformance.cli.Command`. It takes none."""


def run(options: argparse.Namespace) -> int:
    """See :class:`conformance.cli.Command`."""
    status = CONFORMANT
    for look in LOOKS:
        for finding in look():
            print(finding, flush=True)
            if finding.state is False:
                status = INFRASTRUCTURE_FAILED
    return status


def _root() -> Iterator[Finding]:
    if os.geteuid() == 0:
        yield Finding("root", True, "you are root")
        return
    done = _tried(["sudo", "-n", "true"])
    allowed = 'echo "$USER ALL=(ALL) NOPASSWD: ALL" | sudo tee /etc/sudoers.d/conformance  (or start it as root)'
    yield Finding("root", not done, done or "sudo works without a password", allowed if done else "")


def _python() -> Iterator[Finding]:
    enough = sys.version_info[:2] >= MINIMUM_PYTHON
    version = ".".join(map(str, sys.version_info[:3]))
    yield Finding("python", enough, version, "" if enough else "apt-get install python3.11")
    try:
        yield Finding("harness", True, f"version {importlib.metadata.version('wasm-conformance')}, {sys.prefix}")
    except importlib.metadata.PackageNotFoundError:
        yield Finding("harness", False, "not installed in this Python", "pip install --editable .")


def _programs() -> Iterator[Finding]:
    for name in ("mmdebstrap", "git", "unshare", "nsenter"):
        where = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
        package = "util-linux" if name in ("unshare", "nsenter") else name
        yield Finding(name, bool(where), where or "not installed", "" if where else f"apt-get install {package}")
    where = shutil.which("ssh")
    yield Finding("ssh", None, where or "not installed: no --testbed=ssh://...")


def _namespaces() -> Iterator[Finding]:
    flags = ["--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--fork"]
    problem = _tried(as_root(["unshare", *flags, "true"]))
    yield Finding(
        "namespaces", not problem, problem or "mount, uts, ipc, net, pid and cgroup can be left",
        "run it on a machine or in a container with CAP_SYS_ADMIN (docker run --privileged)" if problem else "",
    )  # fmt: skip


def _overlay() -> Iterator[Finding]:
    place = cache.root()
    while not place.is_dir():
        place = place.parent
    problem = _tried(as_root(["unshare", "--mount", "sh", "-c", OVERLAY, "sh", str(place), "/mnt"]))
    elsewhere = "export CONFORMANCE_CACHE=/a/directory/on/ext4"
    yield Finding("overlay", not problem, problem or f"works on {place}", elsewhere if problem else "")


def _cgroups() -> Iterator[Finding]:
    try:
        mode, directories = hierarchies()
    except OSError as error:
        yield Finding("cgroups", False, str(error.strerror), "mount -t cgroup2 none /sys/fs/cgroup")
        return
    listed = Path(directories.get("", "/nowhere"), "cgroup.controllers")
    names = listed.read_text().split() if listed.exists() else [n for n in directories if n]
    missing = {"memory", "pids", "cpu"} - {part for name in names for part in name.split(",")}
    found = f"{mode}: {' '.join(names)}"
    yield Finding(
        "cgroups", not missing, f"{found}; missing: {' '.join(sorted(missing))}" if missing else found,
        "add cgroup_enable=memory to the kernel's command line" if missing else "",
    )  # fmt: skip


def _virtual_machines() -> Iterator[Finding]:
    """Only told: a run in the sandbox needs none of it."""
    for name in ("vagrant", "virsh"):
        where = shutil.which(name)
        yield Finding(name, None, where or "not installed: no --testbed=vagrant", "" if where else VMS)
    if shutil.which("vagrant"):
        plugin = _tried(["sh", "-c", PLUGIN])
        yield Finding("plug-in", None, plugin or "vagrant-libvirt is there", VMS if plugin else "")
    if shutil.which("virsh"):
        problem = _tried(["virsh", "-c", "qemu:///system", "version"])
        yield Finding("libvirt", None, problem or "answers on qemu:///system", VMS if problem else "")
    version = qemu_version()
    shown = ".".join(map(str, version)) if version else "not installed"
    enough = version[:1] >= (MINIMUM_QEMU,)
    shown += "" if enough else f", {MINIMUM_QEMU} or newer is needed"
    yield Finding("qemu", None, shown, "" if enough else VMS)
    there = os.access("/dev/kvm", os.R_OK | os.W_OK)
    tried = {"kvm": "an ordinary guest boots with it", "tcg": "no ordinary guest boots with it: machines are emulated"}
    untried = "can be opened; tried when the box is built" if there else "cannot be opened: machines are emulated"
    yield Finding("/dev/kvm", None, tried.get(remembered(), untried))


def _disk() -> Iterator[Finding]:
    place = cache.root()
    cached = {kind: _entries(place / kind) for kind in ("images", "corpus")}
    while not place.is_dir():
        place = place.parent
    free = shutil.disk_usage(place).free >> 20
    enough = free >= MINIMUM_FREE_MIB or all(cached.values())
    yield Finding(
        "disk", enough, f"{free} MiB free in {place}" + ("" if enough else f", {MINIMUM_FREE_MIB} needed"),
        "" if enough else "export CONFORMANCE_CACHE=/a/larger/disk",
    )  # fmt: skip
    for kind, count in cached.items():
        yield Finding(kind, None, f"{count} in the cache" if count else "none in the cache: the first run builds them")


def _leftovers() -> Iterator[Finding]:
    left = [str(lock) for lock in LOCKS.glob("*.lock") if _unheld(lock)] if os.access(LOCKS, os.R_OK) else []
    held = {lock.stem for lock in LOCKS.glob("*.lock")} if os.access(LOCKS, os.R_OK) else set()
    try:
        _, directories = hierarchies()
    except OSError:
        directories = {}
    for directory in directories.values():
        groups = Path(directory).glob(f"{CGROUP_PREFIX}*")
        left += [str(group) for group in groups if group.name.removeprefix(CGROUP_PREFIX) not in held]
    clean = "the next run sweeps lock files; cgroups: " + shlex.join(["rmdir", *left[:2]]) if left else ""
    yield Finding("leftovers", not left, ", ".join(left) or "none", clean)
    for session in kept():
        yield Finding("kept", None, f"node of session {session}; end it with: conformance stop {session}")


def _unheld(lock: Path) -> bool:
    try:
        with lock.open() as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False  # held, or gone in the meantime
    return True


def _entries(directory: Path) -> int:
    return sum(1 for path in directory.glob("*") if path.is_dir() and ".partial-" not in path.name)


def _tried(argv: list[str]) -> str:
    """Empty when the command works, else why not in one line."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=20, check=False, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(getattr(error, "strerror", None) or error)
    said = done.stderr.strip().splitlines()
    return "" if done.returncode == 0 else (said[-1] if said else f"exit {done.returncode}")


LOOKS: tuple[Callable[[], Iterator[Finding]], ...] = (
    _root, _python, _programs, _namespaces, _overlay, _cgroups, _virtual_machines, _disk, _leftovers,
)  # fmt: skip
