"""A user's own modules: ``--workloads DIR``, each module with a small sidecar.

``x.wasm`` is described by ``x.yaml`` or ``x.json`` beside it; the keys are those that
wasi-testsuite uses, so that corpus can be pointed at any path. Without a sidecar a
module is run and must exit 0.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from conformance.documents import fill, load
from conformance.errors import UsageError

WASM_MAGIC = b"\0asm"


@dataclass(frozen=True)
class Sidecar:
    """What is asked of a module and expected from it; an expectation left out is not checked.

    Attributes:
        root: directory beside the sidecar that becomes the container's root file system.
    """

    args: tuple[str, ...] = ()
    env: dict[str, str] = field(default_factory=dict)
    stdin: str = ""
    stdout: str | None = None
    stderr: str | None = None
    exit_code: int = 0
    root: str | None = None
    timeout_seconds: int = 20


@dataclass(frozen=True)
class UserWorkload:
    """One module with its sidecar; see :class:`Sidecar` for the fields they share."""

    name: str
    module: Path
    args: tuple[str, ...]
    env: dict[str, str]
    stdin: str
    stdout: str | None
    stderr: str | None
    exit_code: int
    root: Path | None
    timeout_seconds: int

    @property
    def rests_on_exit_code(self) -> bool:
        """Nothing but the exit code is expected: on some paths that proves nothing."""
        return self.stdout is None and self.stderr is None

    def __repr__(self) -> str:
        return f"workload {self.name}"


def read(directory: Path) -> tuple[UserWorkload, ...]:
    """All modules below a directory.

    Raises:
        UsageError: no such directory, no module in it, or a mistake in a sidecar.
    """
    if not directory.is_dir():
        raise UsageError(f"--workloads: {directory} is not a directory")
    found = tuple(_read(module, directory) for module in sorted(directory.rglob("*.wasm")))
    if not found:
        raise UsageError(f"--workloads: {directory} holds no *.wasm")
    return found


def _read(module: Path, directory: Path) -> UserWorkload:
    with module.open("rb") as file:
        if file.read(4) != WASM_MAGIC:
            raise UsageError(f"--workloads: {module} is no WebAssembly module (it does not begin with \\0asm)")
    rows: list[dict[str, Any]] = [{}]
    sidecar_file = module
    for suffix in (".yaml", ".json"):
        if module.with_suffix(suffix).exists():
            sidecar_file = module.with_suffix(suffix)
            rows = load(sidecar_file) or [{}]
    sidecar = fill(Sidecar, rows[0], sidecar_file)
    root = module.parent / sidecar.root if sidecar.root else None
    if root and not root.is_dir():
        raise UsageError(f"{sidecar_file}:{rows[0]['__lines__']['root']}: root '{sidecar.root}' is not a directory")
    return UserWorkload(
        name=module.relative_to(directory).with_suffix("").as_posix(), module=module, args=sidecar.args,
        env=sidecar.env, stdin=sidecar.stdin, stdout=sidecar.stdout, stderr=sidecar.stderr,
        exit_code=sidecar.exit_code, root=root, timeout_seconds=sidecar.timeout_seconds,
    )  # fmt: skip


def packed(workload: UserWorkload) -> tuple[str, io.BytesIO]:
    """The workload's root file system as a tar, with its digest.

    The mount points that a container's configuration needs are added, and the module at the top.
    """
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name in ("dev", "proc", "sys", "tmp"):
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(entry)
        if workload.root:
            tar.add(workload.root, ".", filter=_anonymous)
        tar.add(workload.module, workload.module.name, filter=_anonymous)
    digest = hashlib.sha256(buffer.getvalue()).hexdigest()
    buffer.seek(0)
    return digest, buffer


def _anonymous(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = entry.mtime = 0
    entry.uname = entry.gname = ""
    if not entry.isdir():
        entry.mode |= 0o644
    return entry
