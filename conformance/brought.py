"""What the user brings instead of the node's own: ``--component NAME=WHAT``.

NAME is a program that a chosen path runs (``crun``) or an engine's library that one loads
(``libwasmedge``); WHAT is a file, a directory, a Debian package or a component of ours. On the
node it becomes one directory with ``bin`` and ``lib``, named by content; nothing there is replaced.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from conformance.build import cache, component
from conformance.build.cache import Progress, silent
from conformance.errors import InfrastructureError, UsageError
from conformance.model import RuntimePath

OPTION = "--component"
#: Where it is put on a node. Programs keep their names: a file called ``crun-foo`` would make
#: crun force the handler ``foo``.
PLACE = "/opt/conformance/brought"
#: Directories of a tree or package that hold programs and libraries.
_PROGRAMS = ("", "bin", "sbin", "usr/bin", "usr/sbin", "usr/local/bin")
_LIBRARIES = ("", "lib", "lib64", "usr/lib", "usr/lib64", "usr/local/lib", "lib/*-linux-gnu", "usr/lib/*-linux-gnu")


@dataclass(frozen=True)
class Brought:
    """A runtime or an engine that the user brings.

    Attributes:
        name: as on the command line.
        file: what was given, absolute; a component's own directory.
        program: for a runtime, the program on this machine.
        libraries: on this machine, by the name they get on the node.
        version: where it is known without running it (a package, a component).
        sha256: of the file that was given; over all files of a directory.
        component: the component of ours that it is, or an empty string.
    """

    name: str
    file: Path
    program: Path | None
    libraries: Mapping[str, Path]
    version: str
    sha256: str
    component: str = ""

    @property
    def place(self) -> str:
        """Its directory on the node."""
        return f"{PLACE}/{self.name}-{self.sha256[:12]}"

    def concerns(self, path: RuntimePath) -> bool:
        """Whether this path runs or loads it."""
        return self.name in (path.binary, path.runtime, *engine_names(path))

    def tar(self) -> bytes:
        """``bin`` and ``lib`` as one tar."""
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            if self.program:
                tar.add(self.program.resolve(), f"bin/{self.name}", filter=_of_root)
            for name, file in self.libraries.items():
                linked = file.is_symlink() and str(file.readlink()) in self.libraries
                tar.add(file if linked else file.resolve(), f"lib/{name}", filter=_of_root)
        return buffer.getvalue()


def engine_names(path: RuntimePath) -> tuple[str, ...]:
    """The names under which a path's engine can be brought: ``libwasmedge`` for ``libwasmedge.so.0``.

    Only where we start the runtime ourselves: where another program does, it decides about libraries.
    """
    library = path.engine.library if path.engine and path.launcher == "oci" and not path.embedded else ""
    return (library.split(".so")[0],) if library else ()


def read(options: Iterable[str], paths: Sequence[RuntimePath], progress: Progress = silent) -> dict[str, Brought]:
    """What ``--component`` options bring; a component of ours is built if it has to be.

    Raises:
        UsageError: a mistake in an option; says what is known.
        InfrastructureError: a component cannot be built, a package cannot be unpacked.
    """
    runs = sorted({name for path in paths for name in (path.binary, path.runtime) if name})
    loads = sorted({name for path in paths for name in engine_names(path)})
    found: dict[str, Brought] = {}
    for option in options:
        name, equals, what = option.partition("=")
        if not equals or not what:
            raise UsageError(
                f"{OPTION}={option}: expected NAME=FILE, NAME=DIRECTORY, NAME=PACKAGE.deb or NAME=COMPONENT"
            )
        if name not in (*runs, *loads):
            also = f"; they load: {', '.join(loads)}" if loads else ""
            raise UsageError(f"{OPTION}: no chosen path runs or loads '{name}' (they run: {', '.join(runs)}{also})")
        if name in found:
            raise UsageError(f"{OPTION}: {name} is given twice")
        engines = [path.engine.library for path in paths if path.engine and name in engine_names(path)]
        found[name] = _one(name, what, engines[0] if engines else "", progress)
    return found


def _one(name: str, what: str, library: str, progress: Progress) -> Brought:
    """One option's value; ``library`` is the engine's file name, empty for a program."""
    path = Path(what).absolute()
    if path.is_dir():
        return _tree(name, path, path, library)
    if path.is_file() and path.suffix == ".deb":
        return _package(name, path, library)
    if path.is_file():
        return _file(name, what, path, library)
    if "/" not in what and what in component.recipes():
        built = component.component(what, progress)
        return replace(_tree(name, built.place, built.place, library), version=built.version, component=what)
    known = "" if "/" in what else f", nor a component (known: {', '.join(component.recipes())})"
    raise UsageError(f"{OPTION}: {what} is not a file or directory{known}")


def _file(name: str, what: str, path: Path, library: str) -> Brought:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if not library:
        if not os.access(path, os.X_OK):
            raise UsageError(f"{OPTION}: {what} is not executable (chmod +x {what})")
        return Brought(name, path, path, {}, "", digest)
    with path.open("rb") as file:
        if file.read(4) != b"\x7fELF":
            raise UsageError(f"{OPTION}: {what} is no shared library: it does not begin as an ELF file")
    # under the name that the runtime looks for, whatever it is called here
    return Brought(name, path, None, {library: path}, "", digest)


def _package(name: str, path: Path, library: str) -> Brought:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if not shutil.which("dpkg-deb"):
        raise InfrastructureError(f"{path} cannot be unpacked: there is no dpkg-deb", hint="install dpkg")

    def unpack(directory: Path) -> None:
        done = subprocess.run(
            ["dpkg-deb", "-x", str(path), str(directory)], capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise UsageError(f"{OPTION}: {path} is no Debian package: {(done.stderr.splitlines() or ['?'])[0]}")

    tree = cache.entry("brought", digest, unpack)
    shown = subprocess.run(["dpkg-deb", "-f", str(path), "Version"], capture_output=True, text=True, check=False)
    found = _tree(name, tree, path, library)
    return Brought(name, path, found.program, found.libraries, shown.stdout.strip(), digest)


def _tree(name: str, tree: Path, given: Path, library: str) -> Brought:
    """A directory: the program that is called so, and every library beside it."""
    found = sorted(file for place in _LIBRARIES for file in tree.glob(f"{place}/*.so*".lstrip("/")))
    libraries = {file.name: file for file in found if file.is_file()}
    programs = [tree / place / name for place in _PROGRAMS if os.access(tree / place / name, os.X_OK)]
    program = next((file for file in programs if file.is_file()), None)
    if library and library not in libraries:
        raise UsageError(f"{OPTION}: {given} holds no {library} (looked into {_said(_LIBRARIES)})")
    if not library and program is None:
        raise UsageError(f"{OPTION}: {given} holds no program '{name}' (looked into {_said(_PROGRAMS)})")
    files = [*libraries.values(), *([program] if program and not library else [])]
    digest = cache.digest_of(*(part for file in files for part in (file.name, file.resolve())))
    return Brought(name, given, None if library else program, libraries, "", digest)


def _said(places: Iterable[str]) -> str:
    return ", ".join(place or "its top" for place in places)


def _of_root(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = "root"
    return member


def concerning(brought: Iterable[Brought], path: RuntimePath) -> Iterator[Brought]:
    """What of it this path runs or loads."""
    return (one for one in brought if one.concerns(path))
