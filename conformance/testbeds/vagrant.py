"""The machines of the Vagrantfile: real nodes with a kernel, systemd and cgroup v2 of their own.

A run starts the machines its paths need and stops those it started; one that runs already is
reused. While a run uses a machine it holds a lock, so a second run waits for it.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO

from packaging.version import Version

from conformance.build import box, cache, command
from conformance.build.accelerator import accelerator
from conformance.build.component import Component
from conformance.build.staging import PROVISIONED, file_of, machine, stage
from conformance.errors import InfrastructureError
from conformance.node import Node
from conformance.testbeds import ssh

INSTALLS_COMPONENTS = True
ROOT = Path(__file__).parents[2]
INSTALL = "install it: sh vms/host/install.sh vms"
#: Of Debian 12, the oldest system these were tried on.
MINIMUM_VAGRANT, MINIMUM_LIBVIRT = "2.3", "9.0"
#: Emulated on a busy machine; what fails in there fails much sooner.
UP_SECONDS = 900
QUICK_SECONDS = 120
#: How long a second run waits for a machine before it gives up.
WAIT = "CONFORMANCE_MACHINE_WAIT_SECONDS"
WAIT_SECONDS = 900.0
TAIL_LINES = 60
#: See :class:`conformance.testbeds.Rebootable`: these machines are there for it.
NEEDS_CONSENT = False
TELLING = re.compile(r"\b(error|fail|cannot|not found|timed out|E:)", re.IGNORECASE)
#: What the machine is and what it was provisioned with, in one command.
IDENTITY = f"cat /etc/conformance-image 2>/dev/null || echo {{}}; cat {PROVISIONED} 2>/dev/null"

_locks: dict[str, IO[str]] = {}
_started: list[str] = []


def prepare(kinds: Sequence[str], progress: Callable[[str], None]) -> None:
    """Build the box unless it is cached, then start and provision the machines of these kinds.

    Raises:
        InfrastructureError: vagrant, libvirt or QEMU is missing, or a machine does not start.
    """
    _need_tools()
    accelerator(progress)
    own_box = not os.environ.get("CONFORMANCE_BOX")
    wanted = box.box(progress) if own_box else None
    for kind in kinds:
        machine(kind)
        _lock(kind, progress)
        _refuse_other_box(kind, wanted)
        before = _state(kind)
        if before != "running":
            progress(f"starting machine {kind} (about 60 s with emulation)")
            if before in ("not_created", "shutoff", "poweroff"):
                _started.append(kind)
            _vagrant("up", "--no-provision" if before != "not_created" else "--provision", kind)
        _write_ssh_config(kind)
        _provision(kind, wanted, progress)


def open_node(kind: str, address: str, session: str, components: Sequence[Component] = ()) -> Node:
    """Start the agent over ssh; where the machine does not answer, start the machine once more.

    Raises:
        InfrastructureError: it does not answer after that either.
    """
    argv = [*_ssh(kind), kind, ssh.agent_command(session, root=False)]
    name = f"vagrant {kind}"
    try:
        return Node(name, argv, session)
    except InfrastructureError as first:
        with _restarting(kind):
            try:
                return Node(name, argv, session)  # another worker may have started it in the meantime
            except InfrastructureError:
                print(f"\n{first}; starting machine {kind} again", file=sys.stderr)
            _power_off(kind)
            _vagrant("up", "--no-provision", kind)
            _write_ssh_config(kind)
        return Node(name, argv, session)


def turn_file(kind: str, address: str) -> Path:
    """See :class:`conformance.testbeds.Rebootable`."""
    return file_of(kind, "turn")


def finish(keep: bool) -> list[str]:
    """After the run: stop what it started, unless that is to be kept; returns what to tell the user."""
    told = []
    for kind in _started:
        if keep:
            told.append(
                f"kept machine {kind}: enter it with 'conformance shell --node {kind}',"
                f" stop it with 'conformance stop {kind}'"
            )
            continue
        told += _halt(kind)
    _started.clear()
    for lock in _locks.values():
        lock.close()
    _locks.clear()
    return told


def enter(kind: str) -> list[str]:
    """The command line of a shell on a machine that runs.

    Raises:
        InfrastructureError: it does not run.
    """
    _need_tools()
    state = _state(kind)
    if state != "running":
        raise InfrastructureError(f"machine {kind} does not run ({state})", hint=f"start it: vagrant up {kind}")
    _write_ssh_config(kind)
    return [*_ssh(kind), kind]


def stop(kind: str, progress: Callable[[str], None]) -> list[str]:
    """Stop a machine that no run uses; returns what to tell the user.

    Raises:
        InfrastructureError: a run uses it and goes on using it.
    """
    _need_tools()
    state = _state(kind)
    if state != "running":
        return [f"machine {kind} does not run ({state})"]
    _lock(kind, progress)
    try:
        return [*_halt(kind), f"machine {kind} is stopped"]
    finally:
        _locks.pop(kind).close()


def diagnostics(kind: str) -> dict[str, str]:
    """The end of console, journal and kernel log of a machine, as far as it still tells."""
    found = {}
    console = _console(kind)
    if console:
        found["console"] = console
    asked = f"journalctl --no-pager --lines={TAIL_LINES} 2>&1; echo @@@; dmesg | tail -n {TAIL_LINES}"
    done = _ask(kind, f"sudo -n sh -c '{asked}'")
    if done:
        found["journal"], _, found["dmesg"] = done.partition("@@@\n")
    return found


# ---- the machines


def _need_tools() -> None:
    if not shutil.which("vagrant"):
        raise InfrastructureError("vagrant is not installed", hint=INSTALL)
    _need_version("Vagrant", MINIMUM_VAGRANT, ["vagrant", "--version"], r"Vagrant (\d+\.\d+[.\d]*)")
    if _provider() != "libvirt":
        return
    if not shutil.which("virsh"):
        raise InfrastructureError("libvirt is not installed", hint=INSTALL)
    started = "start it: sh vms/host/install.sh vms"
    _need_version("libvirt", MINIMUM_LIBVIRT, ["virsh", "-c", _uri(), "version"], r"library: libvirt ([.\d]+)", started)


def _need_version(name: str, minimum: str, argv: list[str], pattern: str, hint: str = INSTALL) -> None:
    """Ask a program for its version, which also shows that it answers."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
        problem = "" if done.returncode == 0 else (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
    except subprocess.TimeoutExpired:
        problem = "no answer within 60 s"
    if problem:
        raise InfrastructureError(f"{name} does not answer: {problem}", hint=hint)
    found = re.search(pattern, done.stdout)
    if not found or Version(found[1]) < Version(minimum):
        shown = found[1] if found else "of an unknown version"
        raise InfrastructureError(f"{name} {shown} is too old, {minimum} or newer is needed", hint=INSTALL)


def _provider() -> str:
    return os.environ.get("CONFORMANCE_PROVIDER") or os.environ.get("VAGRANT_DEFAULT_PROVIDER") or "libvirt"


def _vagrant(verb: str, *words: str, timeout_seconds: float = UP_SECONDS) -> None:
    log = command.log_path(f"vagrant-{verb}-{words[-1]}")
    os.environ.setdefault("VAGRANT_CHECKPOINT_DISABLE", "1")
    argv = ["vagrant", verb, "--no-color", *words] if verb in ("up", "halt", "provision") else ["vagrant", verb, *words]
    code = command.run(["env", "-C", str(ROOT), *argv], log=log, timeout_seconds=timeout_seconds)
    if code != 0:
        raise InfrastructureError(f"vagrant {verb} {words[-1]} failed: {_said(log)}", hint=f"full log: {log}")


def _power_off(kind: str) -> None:
    """Switch a machine off that may be hung, as far as that is possible.

    Not ``vagrant halt --force``: vagrant-libvirt 0.11 asks the machine first, and when it does not
    answer in time gives up instead of switching it off.
    """
    known = _state_directory() / "machines" / kind / "libvirt" / "id"
    if _provider() != "libvirt" or not known.is_file():
        with contextlib.suppress(InfrastructureError):
            _vagrant("halt", "--force", kind, timeout_seconds=QUICK_SECONDS)
        return
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        argv = ["virsh", "-c", _uri(), "destroy", known.read_text().strip()]
        subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False)


def _halt(kind: str) -> list[str]:
    try:
        _vagrant("halt", kind)
    except InfrastructureError as error:
        _power_off(kind)
        return [f"machine {kind} was switched off, it did not stop: {error}"]
    return []


def _uri() -> str:
    return os.environ.get("LIBVIRT_DEFAULT_URI", "qemu:///system")


def _state_directory() -> Path:
    """Where Vagrant keeps what it knows of its machines."""
    return Path(os.environ.get("VAGRANT_DOTFILE_PATH") or ROOT / ".vagrant")


def _said(log: Path) -> str:
    """The line that says why: Vagrant prints advice around it."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    telling = [line for line in lines if TELLING.search(line)]
    return (telling or lines or ["it said nothing"])[-1][:300]


def _output(*words: str) -> str:
    try:
        done = subprocess.run(
            ["vagrant", *words], cwd=ROOT, capture_output=True, text=True, timeout=QUICK_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise InfrastructureError(f"vagrant {words[0]} did not end within {QUICK_SECONDS} s") from error
    if done.returncode != 0:
        lines = (done.stderr or done.stdout).strip().splitlines() or ["it said nothing"]
        raise InfrastructureError(f"vagrant {' '.join(words)} failed: {lines[0]}")
    return done.stdout


def _state(kind: str) -> str:
    """``running``, ``shutoff``, ``not_created`` ... as Vagrant calls it."""
    for line in _output("status", kind, "--machine-readable").splitlines():
        columns = line.split(",")
        if columns[2:3] == ["state"]:
            return columns[3]
    return "unknown"


def _refuse_other_box(kind: str, wanted: box.Box | None) -> None:
    """A machine that was made of another box is not what the recipes say."""
    meta = _state_directory() / "machines" / kind / _provider() / "box_meta"
    if wanted is None or not meta.is_file():
        return
    version = json.loads(meta.read_text()).get("version", "0")
    if version != wanted.version:
        raise InfrastructureError(
            f"machine {kind} is made of box {version}, and the recipes now make {wanted.version}",
            hint=f"make it anew: vagrant destroy -f {kind}",
        )


def _provision(kind: str, wanted: box.Box | None, progress: Callable[[str], None]) -> None:
    """Provision unless the machine has exactly what is staged; then look at what it says it is."""
    manifest = hashlib.sha256((stage(kind) / "manifest.json").read_bytes()).hexdigest()
    image, provisioned = _identity(kind)
    if provisioned != manifest:
        progress(f"provisioning machine {kind}")
        _vagrant("provision", kind)
        image, provisioned = _identity(kind)
        if provisioned != manifest:
            raise InfrastructureError(
                f"machine {kind} is not provisioned as staged", hint=f"try: vagrant provision {kind}"
            )
    if wanted is not None and image != wanted.digest:
        raise InfrastructureError(
            f"machine {kind} says that it is image {image[:12] or 'unknown'}, the recipes make {wanted.digest[:12]}",
            hint=f"make it anew: vagrant destroy -f {kind}",
        )


def _identity(kind: str) -> tuple[str, str]:
    said = _ask(kind, IDENTITY, timeout_seconds=QUICK_SECONDS)
    lines = said.splitlines() if said else []
    if not lines:
        raise InfrastructureError(f"machine {kind} does not answer over ssh", hint=f"look at it: vagrant ssh {kind}")
    try:
        image = str(json.loads(lines[0]).get("box", ""))
    except ValueError:
        image = ""
    return image, lines[1].strip() if len(lines) > 1 else ""


def _write_ssh_config(kind: str) -> None:
    config = file_of(kind, "ssh_config")
    partial = config.with_name(f".{config.name}.{os.getpid()}")
    partial.write_text(_output("ssh-config", kind))
    partial.replace(config)


def _ssh(kind: str) -> list[str]:
    config = file_of(kind, "ssh_config")
    # Vagrant's file says LogLevel FATAL, which would hide why a connection failed
    return [*ssh.client(str(config)), "-o", "LogLevel=ERROR"]


def _ask(kind: str, question: str, timeout_seconds: float = 30) -> str:
    """What a shell command on the machine printed; empty where it does not answer."""
    try:
        done = subprocess.run(
            [*_ssh(kind), kind, question], stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout_seconds,
            check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode("utf-8", "backslashreplace") if done.returncode == 0 or done.stdout else ""


def _console(kind: str) -> str:
    """The end of the serial console's log, which libvirt writes as root."""
    path = file_of(kind, "console")
    reader = [*cache.as_root(), "tail", "-c", "8192", str(path)]
    try:
        done = subprocess.run(reader, stdin=subprocess.DEVNULL, capture_output=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return "\n".join(done.stdout.decode("utf-8", "backslashreplace").splitlines()[-TAIL_LINES:])


# ---- one run at a time


def _lock(kind: str, progress: Callable[[str], None]) -> None:
    """Hold the machine until :func:`finish`; wait for a run that has it, and say which."""
    if kind in _locks:
        return
    path = file_of(kind, "lock")
    file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644), "r+")
    seconds = float(os.environ.get(WAIT) or WAIT_SECONDS)
    deadline = time.monotonic() + seconds
    told = ""
    while not _try_lock(file):
        holder = _holder(path)
        if holder != told:
            progress(f"waiting for machine {kind}, which is used by {holder}")
            told = holder
        if time.monotonic() > deadline:
            file.close()
            raise InfrastructureError(
                f"machine {kind} has been used by {holder} for more than {seconds:.0f} s",
                hint=f"let that run end, or set {WAIT}",
            )
        time.sleep(0.2)
    if not path.exists() or not os.path.samestat(os.fstat(file.fileno()), path.stat()):
        file.close()  # `vagrant destroy` removed it meanwhile
        _lock(kind, progress)
        return
    file.seek(0)
    file.truncate()
    json.dump({"pid": os.getpid(), "command": sys.argv, "since": time.strftime("%H:%M:%S")}, file)
    file.flush()
    _locks[kind] = file


def _try_lock(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _holder(path: Path) -> str:
    try:
        known = json.loads(path.read_text())
    except (OSError, ValueError):
        return "another run"
    return f"process {known['pid']} since {known['since']} ({' '.join(map(str, known['command']))[-80:]})"


@contextlib.contextmanager
def _restarting(kind: str) -> Iterator[None]:
    """One worker at a time starts a machine again."""
    with file_of(kind, "restart").open("w") as file:
        deadline = time.monotonic() + UP_SECONDS
        while not _try_lock(file):
            if time.monotonic() > deadline:
                raise InfrastructureError(f"another worker has been starting machine {kind} for {UP_SECONDS} s")
            time.sleep(0.2)
        yield
