"""Static facts of a path on a node: what its programs and its engine are. Starts no container."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from conformance.errors import InfrastructureError
from conformance.launchers import Versions
from conformance.model import Completed, RuntimePath
from conformance.node import Node, completed
from conformance.node import steps as s

#: A program that does not print its version by then hangs.
VERSION_TIMEOUT_SECONDS = 10.0


def refuse_binfmt(node: Node, path: RuntimePath) -> None:
    """A node that runs modules as programs proves nothing.

    Raises:
        InfrastructureError: it has such a ``binfmt_misc`` entry.
    """
    if names := node.facts["binfmt_wasm"]:
        raise InfrastructureError(
            f"{node.name} runs Wasm through binfmt_misc ({', '.join(names)}): no verdict would be about {path.name}",
            hint="disable the entry: echo -1 > /proc/sys/fs/binfmt_misc/NAME",
        )


def look_at(node: Node, path: RuntimePath, programs: Mapping[str, str]) -> Versions:
    """Versions and digests of what a path is made of.

    Args:
        programs: name to what is started, the low-level runtime first: it loads the engine.

    Raises:
        InfrastructureError: something is missing, does not start, or is not what the path needs.
    """
    refuse_binfmt(node, path)
    library = path.engine.library if path.engine and not path.program else ""
    mapped = f"next(l.split()[-1] for l in open('/proc/self/maps') if {library!r} in l)"
    dlopen = f"import ctypes; ctypes.CDLL({library!r}); print({mapped})"
    steps = [
        s.Run(["dpkg-query", "-W", "-f", "${Package} ${Version}\\n", *path.components, "base-files"]),
        s.Run(["python3", "-I", "-S", "-c", dlopen] if library else ["true"]),
    ]
    for program in programs.values():
        steps.append(s.Run(["sh", "-c", 'readlink -f "$(command -v -- "$1")"', "sh", program]))
        steps.append(s.Run([program, "--version"], timeout_seconds=VERSION_TIMEOUT_SECONDS))
    packages, engine, *looked = (completed(a, b) for a, b in zip(steps, node.batch(steps), strict=True))
    components = dict(
        line.split(" ", 1) for line in packages.stdout.decode().splitlines() if not line.startswith("base-files")
    )
    files: list[str] = []
    for (name, program), where, version in zip(programs.items(), looked[::2], looked[1::2], strict=True):
        _check_starts(path, program, where, version)
        text = version.stdout.decode("utf-8", "replace")
        if not files and path.engine and path.engine.built_with not in text:
            raise InfrastructureError(
                f"{path.name}: {program} ({text.splitlines()[0].strip() if text else 'no version'}) is built without"
                f" {path.engine.name}: its --version does not list {path.engine.built_with}",
                hint=f"build it with {path.engine.name}, or choose another path with --runtime",
            )
        file = where.stdout.decode().strip()
        files.append(file)
        found = re.search(r"(\d+\.\d+[\w.+~-]*)", text)
        if found and not file.startswith("/usr/bin/"):
            components[name] = found[1]
        elif found:
            components.setdefault(name, found[1])
    if library and not engine.ok:
        reason = engine.stderr.decode("utf-8", "replace").strip().splitlines()[-1:]
        raise InfrastructureError(
            f"{path.name}: the engine library {library} cannot be loaded on the node:"
            f" {reason[0].removeprefix('OSError: ') if reason else engine.how_it_ended()}",
            hint="install the engine's package on the node",
        )
    engine_file = engine.stdout.decode().strip() if library else ""
    return Versions(components, _digests(node, [*files, *filter(None, [engine_file])]), engine_file)


def _check_starts(path: RuntimePath, program: str, where: Completed, version: Completed) -> None:
    """A program that cannot even print its version is not there: that is no verdict on it."""
    if version.start_error == "ENOENT" and not where.stdout.strip():
        raise InfrastructureError(
            f"{path.name}: {program} is not on the node", hint="install it there, or bring one with --runtime-binary"
        )
    why = {
        "ENOENT": "its program interpreter or dynamic loader is missing",
        "EACCES": "it is not executable",
        "ENOEXEC": "it is no executable for this machine's architecture",
    }.get(version.start_error, version.start_error)
    if not version.start_error and not version.ok:
        said = version.stderr.decode("utf-8", "replace").strip().splitlines()
        why = f"--version ended with {version.how_it_ended()}" + (f": {said[-1]}" if said else "")
    if why:
        raise InfrastructureError(f"{path.name}: {program} does not work on this node: {why}")


def _digests(node: Node, files: Sequence[str]) -> dict[str, str]:
    sums = node.run(["sha256sum", "--", *files])
    if not sums.ok:
        raise InfrastructureError(f"{node.name}: sha256sum: {sums.stderr.decode('utf-8', 'replace').strip()}")
    rows = (line.split(None, 1) for line in sums.stdout.decode().splitlines())
    return {path: digest for digest, path in rows}
