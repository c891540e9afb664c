"""What a machine is provisioned with, laid out so that it can be synced into it.

``<cache>/vms/<machine>-<clone>.stage/`` holds ``manifest.json``, ``objects/<sha256>`` and the programs that
install it. A component is a tree that is laid over the machine's root; its digest covers names, modes and
contents, so that the installer on the machine touches only what changed.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from conformance import documents
from conformance.build import cache, component, image
from conformance.errors import UsageError

VMS = Path(__file__).parents[2] / "vms"
MACHINES = VMS / "machines.yaml"
INSTALLER = VMS / "provision" / "install.py"
PROVISIONER = VMS / "provision" / "provision.sh"
#: Where it lies on the machine; the Vagrantfile says the same.
STAGE_ON_MACHINE = "/var/lib/conformance-stage"
#: Digest of the manifest that a machine was provisioned with, written there when it was done.
PROVISIONED = "/var/lib/conformance-provisioned"
#: ``NAME=FILE`` (a program, installed under that name) or ``NAME=DIRECTORY`` (laid over /), separated by spaces.
BROUGHT = "CONFORMANCE_COMPONENTS"
PROGRAMS = PurePosixPath("/opt/conformance/bin")


@dataclass(frozen=True)
class Machine:
    """A machine of the Vagrantfile.

    Attributes:
        name: the kind of node it is.
        memory: in MiB.
        cpus: how many.
        image: recipe in ``vms/images`` whose packages a public box gets.
        components: that it is provisioned with, as far as they are built.
    """

    name: str
    memory: int
    cpus: int
    image: str = "node"
    components: tuple[str, ...] = ()


def machines() -> dict[str, Machine]:
    """The machines by name.

    Raises:
        UsageError: a mistake in ``vms/machines.yaml``.
    """
    read = [documents.fill(Machine, row, MACHINES) for row in documents.load(MACHINES)]
    return {machine.name: machine for machine in read}


def machine(name: str) -> Machine:
    """One machine.

    Raises:
        UsageError: no such machine.
    """
    known = machines()
    if name not in known:
        raise UsageError(f"there is no machine '{name}' (known: {', '.join(known)})")
    return known[name]


def file_of(name: str, suffix: str) -> Path:
    """Something that belongs to a machine of this clone; the Vagrantfile names its files in the same way."""
    directory = cache.root() / "vms"
    directory.mkdir(parents=True, exist_ok=True)
    own = os.environ.get("VAGRANT_DOTFILE_PATH") or str(VMS.parent)
    return directory / f"{name}-{hashlib.sha256(own.encode()).hexdigest()[:6]}.{suffix}"


def stage(name: str) -> Path:
    """Lay out what the machine is provisioned with; returns the directory to sync.

    Raises:
        UsageError: no such machine, or a component that is not there.
    """
    wanted = machine(name)
    place = file_of(name, "stage")
    objects = place / "objects"
    objects.mkdir(parents=True, exist_ok=True)
    built = [one for c in component.with_needs(wanted.components) if (one := component.cached(c)) is not None]
    components = {one.name: _entries(one.name, one.tree, objects) for one in built}
    components |= {c: _entries(c, source, objects) for c, source in _sources(os.environ.get(BROUGHT, ""))}
    rows = [
        {"name": c, "digest": cache.digest_of(json.dumps(files, sort_keys=True)), "files": files}
        for c, files in components.items()
    ]
    manifest = {
        "version": 1, "machine": name, "packages": sorted(image.recipe(wanted.image).packages),
        "components": rows, "missing": sorted(set(wanted.components) - set(components)),
    }  # fmt: skip
    used = {entry["sha256"] for files in components.values() for entry in files.values() if "sha256" in entry}
    for stale in objects.iterdir():
        if stale.name not in used:
            stale.unlink()
    _write(place / "manifest.json", json.dumps(manifest, indent=1, sort_keys=True) + "\n")
    for program in (INSTALLER, PROVISIONER):
        _write(place / program.name, program.read_text())
    return place


def _write(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(text)
    partial.replace(path)


def _sources(brought: str) -> Iterator[tuple[str, Path]]:
    """Name, and the program or tree that it is."""
    for word in brought.split():
        name, equals, where = word.partition("=")
        path = Path(where).absolute()
        if not equals or not name:
            raise UsageError(f"{BROUGHT}: '{word}' is not NAME=FILE or NAME=DIRECTORY")
        if not path.exists():
            raise UsageError(f"{BROUGHT}: {where} is not there")
        yield name, path


def _entries(name: str, source: Path, objects: Path) -> Mapping[str, dict[str, Any]]:
    if source.is_file():
        return {str(PROGRAMS / name): _object(source, objects, 0o755)}
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(source.rglob("*")):
        target = f"/{path.relative_to(source)}"
        if path.is_symlink():
            found[target] = {"link": str(path.readlink())}
        elif path.is_file():
            found[target] = _object(path, objects, stat.S_IMODE(path.stat().st_mode))
    return found


def _object(path: Path, objects: Path, mode: int) -> dict[str, Any]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    place = objects / digest
    if not place.exists():
        partial = objects / f".{digest}.{os.getpid()}"
        shutil.copyfile(path, partial)
        partial.replace(place)
    return {"sha256": digest, "mode": mode}
