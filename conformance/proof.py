"""Whether a guest ran, this time, in the engine that the path claims."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from conformance.model import (
    Completed,
    ContainerSpec,
    ProcessSnapshot,
    Proof,
    Reports,
    RunResult,
    RuntimePath,
    Said,
)  # fmt: skip

ANNOUNCEMENT, REPORT = b"@guest ", b"@report "
#: Start of the compile-time target that each twin names.
TARGETS = {"wasm": ("wasm32-wasip1", "wasm32-wasip2"), "native": ("x86_64-linux", "aarch64-linux")}

#: Read by ``/bin/sh`` as a createRuntime hook: the runtime's process, before it becomes the guest.
#: Its only argument is the file to write; the container's state arrives on standard input.
HOOK = b"""state=$(cat)
pid=${state#*\\"pid\\":}
pid=$((${pid%%[!0-9 ]*}))
exe=$(readlink "/proc/$pid/exe")
id=${state#*\\"id\\":}
id=${id#*\\"}
{ echo "$pid $exe"; cat "/proc/$pid/comm" "/proc/$pid/maps"; echo "id ${id%%\\"*}"; } > "$1"
"""

#: The same where all containers share one hook: the file's name is in the container's annotations.
HOOK_BY_ANNOTATION = HOOK.replace(
    b"state=$(cat)\n",
    b"""state=$(cat)
file=${state#*\\"org.conformance.snapshot\\":}
file=${file#*\\"}
set -- "${file%%\\"*}"
""",
)

#: The same where the containers' ids name the files; the argument is their directory.
HOOK_BY_ID = HOOK.replace(
    b"state=$(cat)\n",
    b"""state=$(cat)
id=${state#*\\"id\\":}
id=${id#*\\"}
set -- "$1/${id%%\\"*}"
""",
)

#: The program that looks instead, where a runtime cannot live with a hook.
WATCHER = Path(__file__).parent / "node" / "watcher.py"


def hook_of(path: RuntimePath, *, by_annotation: bool = False, by_id: bool = False) -> bytes:
    """The text of the hook that takes the snapshot on a path.

    Args:
        path: where the engine is a program in the image, it is mapped only later, so that hook goes on looking.
        by_annotation: the file to write is named by an annotation, not by an argument.
        by_id: it is named by the container's id, in the directory that the argument is.
    """
    if path.embedded:
        return (Path(__file__).parent / "node" / "tracer.py").read_bytes()
    if by_id:
        return HOOK_BY_ID
    return HOOK_BY_ANNOTATION if by_annotation else HOOK


def hook_command(path: RuntimePath, file: str) -> tuple[str, ...]:
    """What runs that hook on the node; the file to write may follow."""
    return ("/usr/bin/python3", "-I", "-S", file) if path.embedded else ("/bin/sh", file)


def parse_hook(text: bytes) -> ProcessSnapshot | None:
    """The snapshot that :data:`HOOK` wrote; ``None`` when it never ran or found no process."""
    lines = text.decode("utf-8", "backslashreplace").splitlines()
    if len(lines) < 2:
        return None
    pid, _, exe = lines[0].partition(" ")
    mapped: dict[str, None] = {}
    container_id = ""
    for line in lines[2:]:
        if line.startswith("id "):
            container_id = line[3:]
        columns = line.split(None, 5)
        if len(columns) == 6:
            mapped[columns[5]] = None
    return ProcessSnapshot(
        pid=int(pid), comm=lines[1].strip(), exe=exe, mapped=tuple(mapped), container_id=container_id
    )


def listen(stdout: bytes, stderr: bytes) -> tuple[dict[str, str], Reports]:
    """The guest's announcement and reports, on whichever stream they arrived.

    Which stream carries them is the business of the one check that is about streams;
    looking at both keeps a runtime that swaps them from failing every other check.
    """
    announcement: dict[str, str] = {}
    reports: list[Said] = []
    for stream in (stdout, stderr):
        if b"@" not in stream:
            continue
        for line in stream.split(b"\n"):
            if line.startswith(ANNOUNCEMENT) and not announcement:
                announcement = {k: str(v) for k, v in _object(line[len(ANNOUNCEMENT) :]).items()}
            elif line.startswith(REPORT):
                reports.append(_object(line[len(REPORT) :]))
    return announcement, Reports(r for r in reports if r)


def _object(text: bytes) -> Said:
    try:
        value = json.loads(text.decode("utf-8", "replace").rstrip("\r"))
    except (ValueError, RecursionError):
        return Said()  # a damaged line is no announcement: the proof says that it is missing
    return Said(value) if isinstance(value, dict) else Said()


def prove(
    path: RuntimePath, spec: ContainerSpec, announcement: Mapping[str, str], snapshot: ProcessSnapshot | None,
    *, speaks: bool = True,
) -> Proof:  # fmt: skip
    """Judge the evidence of one container.

    Args:
        path: claims a twin and, for Wasm, an engine.
        spec: holds this container's nonce.
        announcement: what the guest printed, empty if nothing.
        snapshot: of the container's process, taken from outside.
        speaks: the guest is one of the corpus; a user's own module announces nothing.
    """
    missing = []
    kind = spec.guest or path.guest
    if speaks and not announcement:
        missing.append("the guest announced nothing")
    elif speaks:
        if announcement.get("nonce") != spec.nonce:
            missing.append(
                f"the announcement has nonce '{announcement.get('nonce')}', this container's is '{spec.nonce}'"
            )
        if announcement.get("guest") != (spec.announces or spec.module):
            missing.append(f"the guest is '{announcement.get('guest')}', asked for '{spec.module}'")
        if announcement.get("target") not in TARGETS[kind]:
            missing.append(f"the guest was compiled for {announcement.get('target')}, asked for {TARGETS[kind][0]}")
    engine, library = "", path.engine.library if path.engine and kind == "wasm" else ""
    if snapshot is None:
        missing.append("no snapshot of the container's process")
    elif library:
        found = [m for m in snapshot.mapped if PurePosixPath(m).name.startswith(library)]
        engine = found[0] if found else ""
        if not found:
            missing.append(f"{library} is not mapped in the container's process ({snapshot.comm}, {snapshot.exe})")
    elif path.engine and kind == "wasm" and not path.embedded:
        engine = snapshot.exe  # linked into the runtime, in whose program the preflight has found it
    if speaks and announcement.get("target") not in TARGETS[kind]:
        engine = ""  # whether the process is seen before a program takes it over, or after, is chance
    return Proof(tuple(missing), dict(announcement), engine, snapshot.comm if snapshot else "")


def result(
    path: RuntimePath, spec: ContainerSpec, done: Completed, commands: tuple[str, ...],
    snapshot: ProcessSnapshot | None, memory_peak_bytes: int | None, leftovers: Sequence[str] = (),
) -> RunResult:  # fmt: skip
    """Put together what is known of a container that has ended.

    Args:
        path: claims a twin and, for Wasm, an engine.
        spec: what was asked for.
        done: the command whose end the caller sees.
        commands: all that led here.
        snapshot: of the container's process, taken from outside.
        memory_peak_bytes: of its cgroup.
        leftovers: what the runtime did not remove.
    """
    announcement, reports = listen(done.stdout, done.stderr)
    return RunResult(
        asked=spec,
        completed=done,
        commands=commands,
        snapshot=snapshot,
        proof=prove(path, spec, announcement, snapshot, speaks=bool(spec.nonce)),
        announcement=announcement,
        reports=reports,
        stdout=done.stdout,
        stderr=done.stderr,
        memory_peak_bytes=memory_peak_bytes,
        leftovers=tuple(leftovers),
        container_id=snapshot.container_id if snapshot else "",
    )
