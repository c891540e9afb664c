"""Finished build results, kept under the user's cache directory and named by content.

An entry is a directory ``<root>/<kind>/<first 16 digits of its key>``. It is built beside
its place, in ``.partial-<pid>``, and renamed when complete: what has an entry's name is
whole, and a build that was interrupted cannot be used.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from conformance.errors import InfrastructureError

Progress = Callable[[str], None]


def silent(message: str) -> None:
    """A :data:`Progress` that drops the message."""


def root() -> Path:
    """The cache directory: $CONFORMANCE_CACHE, else below $XDG_CACHE_HOME, else below ~/.cache."""
    own = os.environ.get("CONFORMANCE_CACHE")
    if own:
        return Path(own).absolute()
    shared = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(shared).absolute() / "wasm-conformance"


def digest_of(*parts: str | bytes | Path) -> str:
    """SHA-256, as 64 hexadecimal digits, of all parts in order.

    Args:
        parts: text, bytes, or a path: a file counts with its content, a directory with the
            names and contents of all files below it, but for Python's own cache. Parts are kept apart, so that
            ``("ab", "c")`` and ``("a", "bc")`` differ.

    Raises:
        InfrastructureError: a file cannot be read.
    """
    whole = hashlib.sha256()
    for part in parts:
        if isinstance(part, Path) and part.is_dir():
            files = sorted(file for file in part.rglob("*") if file.is_file() and "__pycache__" not in file.parts)
            data = digest_of(*(item for file in files for item in (str(file.relative_to(part)), file))).encode()
        elif isinstance(part, Path):
            try:
                data = part.read_bytes()
            except OSError as error:
                raise InfrastructureError(f"{part} cannot be read: {error.strerror}") from error
        else:
            data = part.encode() if isinstance(part, str) else part
        whole.update(b"%d:" % len(data))
        whole.update(data)
    return whole.hexdigest()


def as_root() -> tuple[str, ...]:
    """The words to put before a command that needs root: none when we are root."""
    return () if os.geteuid() == 0 else ("sudo", "-n")


def remove(path: Path) -> None:
    """Delete a tree that may hold files of root's. Never follows into another file system.

    Raises:
        InfrastructureError: something is left.
    """
    command = ["rm", "-rf", "--one-file-system", "--", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if os.path.lexists(path) and as_root():
        done = subprocess.run([*as_root(), *command], capture_output=True, text=True, check=False)
    if os.path.lexists(path):
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise InfrastructureError(f"{path} cannot be deleted: {reason}", hint=f"delete it: sudo rm -rf {path}")


def entry(
    kind: str,
    key: str,
    build: Callable[[Path], None],
    *,
    needs_mib: int = 0,
    progress: Progress = silent,
    wait_seconds: float = 3600,
) -> Path:
    """The finished directory for ``key``; ``build`` is called only where there is none yet.

    Two processes that want the same entry build it once: the second waits and says so.

    Args:
        kind: what it is, for instance "images"; a directory of the cache.
        key: the digest of everything the result depends on (at least 16 characters).
        build: fills the empty directory it is given. Whatever it raises goes to the caller,
            and nothing of its work is kept.
        needs_mib: free space the build needs, in MiB; looked at before it starts.
        progress: told when we wait for another process.
        wait_seconds: how long to wait for another process.

    Raises:
        InfrastructureError: no space, no permission, or the other process takes too long.
    """
    home = root() / kind
    finished = home / key[:16]
    if finished.is_dir():
        return finished
    try:
        home.mkdir(parents=True, exist_ok=True)
        with _lock(_lock_of(finished), progress, wait_seconds):
            if not finished.is_dir():
                _sweep(home, ours=finished)
                _build(finished, build, needs_mib)
    except OSError as error:
        _explain(error, home, needs_mib)
    return finished


def _build(finished: Path, build: Callable[[Path], None], needs_mib: int) -> None:
    free_mib = shutil.disk_usage(finished.parent).free >> 20
    if free_mib < needs_mib:
        raise OSError(errno.ENOSPC, f"{free_mib} MiB are free")
    partial = finished.with_name(f"{finished.name}.partial-{os.getpid()}")
    partial.mkdir()
    try:
        build(partial)
        partial.rename(finished)
    except BaseException as error:
        full = shutil.disk_usage(finished.parent).free < 16 << 20
        with contextlib.suppress(InfrastructureError):  # what failed first is what matters
            remove(partial)
        if full and isinstance(error, Exception):
            raise OSError(errno.ENOSPC, "the build filled the disk") from error
        raise


def _explain(error: OSError, place: Path, needs_mib: int) -> None:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        amount = f"about {needs_mib} MiB" if needs_mib else "more space"
        raise InfrastructureError(
            f"no space left for {place}: {amount} needed, {error.strerror}",
            hint="make room there, or set CONFORMANCE_CACHE to a directory on a larger disk",
        ) from error
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        raise InfrastructureError(
            f"cannot write below {place}: {error.strerror}",
            hint="set CONFORMANCE_CACHE to a directory of yours",
        ) from error
    raise error


def _lock_of(finished: Path) -> Path:
    return finished.with_name(f"{finished.name}.lock")


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextlib.contextmanager
def _lock(path: Path, progress: Progress, wait_seconds: float) -> Iterator[None]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        deadline = time.monotonic() + wait_seconds
        told = False
        while not _try_lock(descriptor):
            if not told:
                progress(f"waiting for another process that builds {path.parent.name}/{path.stem}")
                told = True
            if time.monotonic() > deadline:
                raise InfrastructureError(
                    f"another process has been building {path.with_suffix('')} for more than {wait_seconds:.0f} s",
                    hint=f"see who holds it: fuser -v {path}",
                )
            time.sleep(0.1)
        yield
    finally:
        os.close(descriptor)


def _sweep(home: Path, ours: Path) -> None:
    """Delete what interrupted builds left. ``ours`` is locked by us; others only if nobody holds them."""
    for partial in home.glob("*.partial-*"):
        owner = home / partial.name.split(".partial-")[0]
        with contextlib.suppress(InfrastructureError, OSError):  # the next build tries again
            if owner == ours:
                remove(partial)
                continue
            descriptor = os.open(_lock_of(owner), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                if _try_lock(descriptor):
                    remove(partial)
            finally:
                os.close(descriptor)
