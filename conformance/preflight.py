"""Static facts of a path on a node: what its programs and its engine are. Starts no container."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from packaging.specifiers import SpecifierSet

from conformance import brought
from conformance.build import component
from conformance.catalogue import plain_version
from conformance.errors import InfrastructureError
from conformance.launchers import Versions
from conformance.model import Completed, Engine, RuntimePath
from conformance.node import Node, completed
from conformance.node import steps as s

#: Finds an engine on the node, by its library's name or in the runtime's program, and its version.
#: Arguments: library, version pattern, version function, program.
FIND_ENGINE = """
import ctypes, json, os, re, shutil, sys
library, pattern, function, program = sys.argv[1:]
file, version = os.path.realpath(shutil.which(program) or program), ""
if library:
    loaded = ctypes.CDLL(library)
    file = next(line.split(None, 5)[5].strip() for line in open("/proc/self/maps") if library in line)
    if function and hasattr(loaded, function):
        getattr(loaded, function).restype = ctypes.c_char_p
        version = getattr(loaded, function)().decode()
if pattern:
    found = re.search(pattern.encode(), open(file, "rb").read())
    version = found[1].decode() if found else ""
print(json.dumps([file, version]))
"""
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


def words(library_path: Sequence[str], *argv: str) -> list[str]:
    """A command that looks for libraries in these directories of the node before all others."""
    return [*(["env", f"LD_LIBRARY_PATH={':'.join(library_path)}"] if library_path else []), *argv]


def look_at(
    node: Node, path: RuntimePath, programs: Mapping[str, str], library_path: Sequence[str] = ()
) -> Versions:  # fmt: skip
    """Versions and digests of what a path is made of.

    Args:
        programs: name to what is started, the low-level runtime first: it loads the engine.
        library_path: directories where it looks for libraries before all others.

    Raises:
        InfrastructureError: something is missing, does not start, or is not what the path needs.
    """
    refuse_binfmt(node, path)
    engine = path.engine if path.engine and not path.embedded else Engine("")
    ours = component.with_needs(path.components)
    packages = [name for name in path.components if name not in ours]
    looked_into = (*library_path, *component.libraries_on_node(path.components))
    find = [FIND_ENGINE, engine.library, engine.version_pattern, engine.version_function, next(iter(programs.values()))]
    steps = [
        s.Run(["dpkg-query", "-W", "-f", "${Package} ${Version}\\n", *packages, "base-files"]),
        s.Run(words(looked_into, "python3", "-I", "-S", "-c", *find)),
    ]
    for name, program in programs.items():
        steps.append(s.Run(["sh", "-c", 'readlink -f "$(command -v -- "$1")"', "sh", program]))
        asks = "-v" if path.shim and name == path.runtime else "--version"  # as containerd asks a shim
        steps.append(s.Run(words(library_path, program, asks), timeout_seconds=VERSION_TIMEOUT_SECONDS))
    read = [s.Read(f"{component.PLACE}/{name}.json") for name in ours]
    answers = node.batch([*steps, *read])
    listed, found_engine, *looked = (completed(a, b) for a, b in zip(steps, answers, strict=False))
    built = _components(path, ours, answers[len(steps) :])
    components = dict(
        line.split(" ", 1) for line in listed.stdout.decode().splitlines() if not line.startswith("base-files")
    )
    files: list[str] = []
    for (name, program), where, version in zip(programs.items(), looked[::2], looked[1::2], strict=True):
        _check_starts(path, program, where, version)
        text = version.stdout.decode("utf-8", "replace")
        if not files and engine.built_with not in text:
            raise InfrastructureError(
                f"{path.name}: {program} ({text.splitlines()[0].strip() if text else 'no version'}) is built without"
                f" {engine.name}: its --version does not list {engine.built_with}",
                hint=f"build it with {engine.name}, or choose another path with --runtime",
            )
        file = where.stdout.decode().strip()
        files.append(file)
        found = re.search(r"(\d+\.\d+[\w.+~-]*)", text)
        if found and not file.startswith("/usr/bin/"):
            components[name] = found[1]
        elif found:
            components.setdefault(name, found[1])
    engine_file, engine_version = _engine(path, engine, found_engine) if engine.name else ("", "")
    used = [known for known in built if _uses(path, known, files, engine_file)]
    for known in used:
        components |= {known["name"]: known["version"], **known["contains"]}
    if engine_version:
        stem = engine.library.partition(".so")[0]
        key = next((name for name in path.components if stem and name.startswith(stem)), stem or engine.name)
        if engine_file.startswith(brought.PLACE):
            components[key] = engine_version
        components.setdefault(key, engine_version)
    digests = _digests(node, list(dict.fromkeys([*files, *filter(None, [engine_file])])))
    digests |= {f"{component.PLACE}/{known['name']}": known["digest"] for known in used}
    return Versions(components, digests, engine_file, _notes(path, engine, engine_version))


def _components(path: RuntimePath, names: Sequence[str], answers: Sequence[s.Answer]) -> list[dict[str, Any]]:
    """What the node says of the components of ours that this path needs."""
    missing = [name for name, answer in zip(names, answers, strict=True) if not answer.blobs]
    if missing:
        raise InfrastructureError(
            f"{path.name}: the node has no {', '.join(missing)} (below {component.PLACE})",
            hint=f"build it here with 'conformance build {' '.join(missing)}' and copy it there,"
            " or use --testbed=sandbox",
        )
    return [json.loads(answer.blobs[0]) for answer in answers]


def _uses(path: RuntimePath, known: Mapping[str, Any], programs: Sequence[str], engine_file: str) -> bool:
    """Whether a component on the node is what runs; not where the user brings another."""
    root = f"{component.PLACE}/{known['name']}/"
    library = path.engine.library if path.engine else ""
    files = [PurePosixPath(file) for file in known["result"]]
    runs = {PurePosixPath("bin", name) for name in (path.binary, path.runtime) if name} & set(files)
    loaded = bool(library) and any(file.name.startswith(library) for file in files)
    started = any(program.startswith(root) for program in programs)
    return (not runs or started) and (not loaded or engine_file.startswith(root))


def _engine(path: RuntimePath, engine: Engine, found: Completed) -> tuple[str, str]:
    """The engine's file and version, as :data:`FIND_ENGINE` says."""
    if not found.ok:
        reason = found.stderr.decode("utf-8", "replace").strip().splitlines()[-1:]
        raise InfrastructureError(
            f"{path.name}: the engine library {engine.library} cannot be loaded on the node:"
            f" {reason[0].removeprefix('OSError: ') if reason else found.how_it_ended()}",
            hint="install the engine's package on the node",
        )
    file, version = json.loads(found.stdout)
    if not engine.library and not version:
        raise InfrastructureError(
            f"{path.name}: {file} is built without {engine.name}: nothing in it matches '{engine.version_pattern}'",
            hint=f"build it with {engine.name}, or choose another path with --runtime",
        )
    return str(file), str(version)


def _notes(path: RuntimePath, engine: Engine, version: str) -> tuple[str, ...]:
    """An engine with another ABI than the runtime was written for: what fails then is explained by it."""
    if not (engine.abi and version) or plain_version(version) in SpecifierSet(engine.abi):
        return ()
    return (
        f"{path.name}: {path.binary} was written for the ABI of {engine.name} {engine.abi}, and this is"
        f" {version}: {engine.abi_reason}",
    )


def _check_starts(path: RuntimePath, program: str, where: Completed, version: Completed) -> None:
    """A program that cannot even print its version is not there: that is no verdict on it."""
    if version.start_error == "ENOENT" and not where.stdout.strip():
        raise InfrastructureError(
            f"{path.name}: {program} is not on the node", hint="install it there, or bring one with --component"
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
