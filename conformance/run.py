"""What one pytest process knows of the run it belongs to."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from conformance import record
from conformance.brought import Brought
from conformance.build import component
from conformance.build.component import Component
from conformance.build.guests import Corpus
from conformance.catalogue import Catalogue
from conformance.model import RuntimePath
from conformance.session import Session
from conformance.user_workloads import UserWorkload


@dataclass
class Run:
    """What one pytest process knows of the run it belongs to."""

    catalogue: Catalogue
    rootdir: Path
    paths: list[RuntimePath]
    brought: dict[str, Brought]
    workloads: tuple[UserWorkload, ...]
    testbed: str
    strict: bool
    keep: bool
    provision: bool = False
    #: components beside those of the paths
    also_needed: tuple[str, ...] = ()
    may_reboot: bool = False
    session: Session | None = None
    corpus: Corpus | None = None
    prepare_error: str = ""
    #: component to why it could not be built: its paths are errors, all others run
    unbuilt: dict[str, str] = field(default_factory=dict)

    def split(self, node_id: str) -> tuple[str, str]:
        """Check id and path name of a node id such as ``suites/a/test_b.py::test_c[crun-wasmedge]``."""
        check, _, parameters = record.id_of(node_id, self.catalogue.root, self.rootdir).partition("[")
        names = [p.name for p in self.paths]
        matching = [n for n in names if parameters.rstrip("]") == n or parameters.startswith(n + "-")]
        return check, max(matching, key=len, default="-")

    def needed(self) -> list[str]:
        """Components of ours that the chosen paths need, but for those of whose programs the user brings every one."""
        wanted = dict.fromkeys(self.also_needed)
        known = component.recipes()
        for path in self.paths:
            replaced = {f"bin/{name}" for name in (path.binary, path.runtime) if name in self.brought}
            for name in component.with_needs(path.components):
                programs = {file for file in known[name].result if file.startswith("bin/")}
                if not programs or programs - replaced:
                    wanted[name] = None
        return component.with_needs(wanted)

    def components(self) -> list[Component]:
        """Those that are built."""
        return [built for name in self.needed() if (built := component.cached(name)) is not None]
