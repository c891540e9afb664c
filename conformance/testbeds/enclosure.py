"""Starts a sandbox: a node image entered with namespaces, limits and a thrown-away upper layer.

Run as root with a JSON description; standard library only, because ``sudo`` may start it
outside the virtual environment. Standard input and output belong to the node agent, which
becomes PID 1 inside. This process stays outside as the keeper: it removes the cgroups when
the last process has gone. If the keeper itself is killed, the kernel ends the sandbox with
it (parent-death signal) and the next start sweeps the cgroups, found by their lock file.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import json
import os
import signal
import socket
import stat
import struct
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWUTS = 0x00020000, 0x02000000, 0x04000000
CLONE_NEWIPC, CLONE_NEWPID, CLONE_NEWNET = 0x08000000, 0x20000000, 0x40000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_BIND = 1, 2, 4, 8, 4096
MS_REC, MS_PRIVATE = 16384, 1 << 18
MNT_DETACH = 2
PR_SET_PDEATHSIG = 1
SYS_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1
LOCKS = Path("/run/wasm-conformance")
CGROUP_PREFIX = "wasm-conformance-"

libc = ctypes.CDLL(None, use_errno=True)


def checked(result: int, what: str) -> None:
    """Turn a failed C call into one line on standard error and exit code 3."""
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def reason(error: OSError) -> str:
    """One line; with the file where the error has one."""
    return f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror or error)


def mount(source: str, target: str, kind: str, flags: int = 0, data: str = "") -> None:
    checked(
        libc.mount(source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), data.encode()),
        f"mount {kind} on {target}",
    )


def hierarchies() -> tuple[str, dict[str, str]]:
    """Mode (``v1`` or ``v2``) and, for each hierarchy, the directory new groups go into.

    A hybrid host counts as v1: its controllers are there, and crun refuses a mixture.
    """
    mounts: dict[str, str] = {}
    unified = ""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        left, right = line.split(" - ")
        kind, _, options = right.split(" ", 2)
        where = left.split()[4]
        if kind == "cgroup":
            names = [o for o in options.split(",") if o not in ("rw", "ro") and "xattr" not in o]
            mounts.setdefault(",".join(names), where)
        elif kind == "cgroup2":
            unified = unified or where
    if not mounts:
        if not unified:
            raise OSError(errno.ENOENT, "no cgroup hierarchy is mounted on this machine")
        # below the root, because a group that holds processes (ours) cannot hand controllers down
        return "v2", {"": unified}
    own: dict[str, str] = {}
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        own[controllers] = path
    found: dict[str, str] = {}
    for controllers, where in mounts.items():
        # a group nested in ours, so that limits set on this process hold for the sandbox too
        found[controllers] = (where + own.get(controllers, "/")).rstrip("/")
    return "v1", found


def make_cgroups(name: str) -> tuple[str, dict[str, str]]:
    """Make the sandbox's group in each hierarchy; returns mode and directories."""
    mode, parents = hierarchies()
    made = {}
    for controllers, parent in parents.items():
        directory = f"{parent}/{CGROUP_PREFIX}{name}"
        os.makedirs(directory, exist_ok=True)
        made[controllers] = directory
        if mode == "v1" and "cpuset" in controllers.split(","):
            for key in ("cpuset.cpus", "cpuset.mems"):
                Path(directory, key).write_text(Path(parent, key).read_text())
            Path(directory, "cgroup.clone_children").write_text("1")
        if mode == "v2":
            for controller in Path(parent, "cgroup.controllers").read_text().split():
                try:
                    Path(parent, "cgroup.subtree_control").write_text(f"+{controller}")
                except OSError:
                    continue  # the node facts list the controllers that did arrive
    return mode, made


def remove_cgroups(directories: list[str], timeout_seconds: float = 5.0) -> list[str]:
    """Remove groups bottom-up, killing what still lives in them; returns what is left."""
    deadline = time.monotonic() + timeout_seconds
    left = [d for d in directories if os.path.isdir(d)]
    while left:
        for top in left:
            for directory, _, _ in sorted(os.walk(top), key=lambda row: -len(row[0])):
                try:
                    os.rmdir(directory)
                except OSError:
                    kill_members(directory)
        left = [d for d in left if os.path.isdir(d)]
        if not left or time.monotonic() > deadline:
            break
        time.sleep(0.01)
    return left


def kill_members(directory: str) -> None:
    try:
        state = Path(directory, "freezer.state")
        if state.exists():
            state.write_text("THAWED")
        for pid in Path(directory, "cgroup.procs").read_text().split():
            os.kill(int(pid), signal.SIGKILL)
    except OSError:
        return  # gone in the meantime; the caller looks again until its deadline


def sweep() -> None:
    """Remove what a keeper that was killed has left: cgroups whose lock file nobody holds."""
    for lock in LOCKS.glob("*.lock"):
        try:
            with lock.open("r+") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                text = file.read()
                if not is_file_at(file, lock) or (text and remove_cgroups(json.loads(text)["cgroups"])):
                    continue
                if lock.with_suffix("").is_dir():
                    lock.with_suffix("").rmdir()
                lock.unlink(missing_ok=True)
        except (BlockingIOError, FileNotFoundError):
            continue
        except (OSError, ValueError) as error:
            print(f"could not sweep {lock}: {error}", file=sys.stderr)


@contextlib.contextmanager
def held(lock: Path) -> Iterator[TextIO]:
    """This sandbox's lock file, made and held."""
    while True:
        with lock.open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if is_file_at(file, lock):
                yield file
                return
            # between open and flock another start took it for a leftover and removed it


def is_file_at(file: TextIO, path: Path) -> bool:
    """Whether an open file is still the one that ``path`` names."""
    return path.exists() and os.path.samestat(os.fstat(file.fileno()), os.stat(path))


def device(path: str, major: int, minor: int) -> None:
    os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(major, minor))
    os.chmod(path, 0o666)


def lay_out(layers: list[str], place: str, mode: str, controllers: list[str], sizes: dict[str, str]) -> None:
    """Build the node's file system below ``place`` and make it the root.

    Args:
        layers: directories it is made of, read-only, the uppermost first.
    """
    checked(libc.mount(b"none", b"/", None, ctypes.c_ulong(MS_REC | MS_PRIVATE), None), "make mounts private")
    mount("sandbox", place, "tmpfs", MS_NOSUID, f"mode=755,size={sizes['upper']}")
    for name in ("upper", "work", "root"):
        os.mkdir(f"{place}/{name}")
    root = f"{place}/root"
    mount("sandbox", root, "overlay", 0, f"lowerdir={':'.join(layers)},upperdir={place}/upper,workdir={place}/work")
    os.makedirs(f"{root}/.outside", exist_ok=True)
    os.chdir(root)
    number = SYS_PIVOT_ROOT[os.uname().machine]
    checked(libc.syscall(number, b".", b".outside"), "pivot_root")
    os.chdir("/")
    mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    mount("sysfs", "/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    if mode == "v2":
        mount("cgroup2", "/sys/fs/cgroup", "cgroup2", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    else:
        mount("cgroup", "/sys/fs/cgroup", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=755")
        for names in controllers:
            where = "/sys/fs/cgroup/" + names.removeprefix("name=")
            os.mkdir(where)
            mount("cgroup", where, "cgroup", MS_NOSUID | MS_NODEV | MS_NOEXEC, names)
    mount("dev", "/dev", "tmpfs", MS_NOSUID, "mode=755,size=4m")
    for name, major, minor in (
        ("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0),
    ):  # fmt: skip
        device(f"/dev/{name}", major, minor)
    for name in ("pts", "shm", "mqueue"):
        os.mkdir(f"/dev/{name}")
    mount("devpts", "/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620,gid=5")
    mount("shm", "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, "size=64m")
    mount("mqueue", "/dev/mqueue", "mqueue", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    os.symlink("pts/ptmx", "/dev/ptmx")
    for number_, name in enumerate(("stdin", "stdout", "stderr")):
        os.symlink(f"/proc/self/fd/{number_}", f"/dev/{name}")
    os.symlink("/proc/self/fd", "/dev/fd")
    mount("run", "/run", "tmpfs", MS_NOSUID | MS_NODEV, f"mode=755,size={sizes['run']}")
    # not on the overlay: image stores make overlays of their own, and those do not stack
    os.makedirs("/var/lib/conformance", exist_ok=True)
    mount("state", "/var/lib/conformance", "tmpfs", 0, f"mode=755,size={sizes['state']}")
    mount("tmp", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV, f"mode=1777,size={sizes['tmp']}")
    checked(libc.umount2(b"/.outside", MNT_DETACH), "detach the host's root")
    os.rmdir("/.outside")


def loopback_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as channel:
        request = struct.pack("16sH14s", b"lo", 0, b"")
        flags = struct.unpack("16sH14s", fcntl.ioctl(channel, SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(channel, SIOCSIFFLAGS, struct.pack("16sH14s", b"lo", flags | IFF_UP, b""))


def die_with_parent() -> None:
    checked(libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "parent-death signal")


def become_first_process(what: dict[str, Any], place: str, mode: str, cgroups: dict[str, str]) -> None:
    """Inside the new PID namespace: join the sandbox's groups, build the root and become the agent.

    Only this process joins: on cgroup v2 a group can hand controllers down only when it holds no
    other process, and whoever is in the new cgroup namespace could not leave the group again.
    """
    die_with_parent()
    for directory in cgroups.values():
        Path(directory, "cgroup.procs").write_text("0")
    checked(libc.unshare(CLONE_NEWCGROUP), "unshare the cgroup namespace")
    lay_out([*what["components"], what["image"]], place, mode, list(cgroups), what["sizes"])
    name = what["hostname"].encode()
    checked(libc.sethostname(name, len(name)), "sethostname")
    loopback_up()
    environment = {
        "PATH": "/opt/conformance/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": "/root", "LANG": "C.UTF-8", "USER": "root", "container": "conformance-sandbox",
    }  # fmt: skip
    os.execve("/usr/bin/python3", ["python3", "-I", "-S", "-c", what["bootstrap"]], environment)


def describe(lock: int, cgroups: list[str], first: int | None = None) -> None:
    """Write into the lock file what ``sweep`` and ``conformance shell`` need, in one call so that it is never half.

    Args:
        lock: the open lock file; a second call may only make it longer.
        cgroups: the sandbox's directories.
        first: process id, on this machine, of the sandbox's first process.
    """
    known = {"cgroups": cgroups} if first is None else {"cgroups": cgroups, "pid": first}
    os.pwrite(lock, json.dumps(known).encode(), 0)


def enclose(what: dict[str, Any], place: str, mode: str, cgroups: dict[str, str], lock: int) -> int:
    """Leave the other namespaces, start PID 1 and wait for it."""
    die_with_parent()
    flags = CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID | CLONE_NEWNET
    checked(libc.unshare(flags), "unshare")
    first = os.fork()
    if first == 0:
        try:
            become_first_process(what, place, mode, cgroups)
        except OSError as error:
            print(f"sandbox: {reason(error)}", file=sys.stderr)
        os._exit(3)
    describe(lock, list(cgroups.values()), first)
    for descriptor in (0, 1):
        os.close(descriptor)
    _, status = os.waitpid(first, 0)
    return os.waitstatus_to_exitcode(status)


def main() -> int:
    what = json.loads(sys.argv[1])
    if os.geteuid() != 0:
        print("sandbox: needs root (start it as root, or allow sudo without a password)", file=sys.stderr)
        return 3
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)  # the end of standard input ends us, in order
    LOCKS.mkdir(mode=0o700, exist_ok=True)
    sweep()
    name = what["name"]
    lock, place = LOCKS / f"{name}.lock", LOCKS / name
    with held(lock) as file:
        cgroups: dict[str, str] = {}
        try:
            mode, parents = hierarchies()
            describe(file.fileno(), [f"{p}/{CGROUP_PREFIX}{name}" for p in parents.values()])
            mode, cgroups = make_cgroups(name)
            place.mkdir(exist_ok=True)
            child = os.fork()
            if child == 0:
                for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                    signal.signal(ignored, signal.SIG_DFL)
                code = 3
                try:
                    code = enclose(what, str(place), mode, cgroups, file.fileno())
                except OSError as error:
                    print(f"sandbox: {reason(error)}", file=sys.stderr)
                os._exit(code if code >= 0 else 3)
            for descriptor in (0, 1):
                os.close(descriptor)
            _, status = os.waitpid(child, 0)
            return os.waitstatus_to_exitcode(status)
        except OSError as error:
            print(f"sandbox: {reason(error)}", file=sys.stderr)
            return 3
        finally:
            left = remove_cgroups(list(cgroups.values()))
            for directory in left:
                print(f"sandbox: left behind: {directory}", file=sys.stderr)
            if place.is_dir():
                place.rmdir()
            if not left:
                lock.unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main())
