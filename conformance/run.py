"""What one pytest process knows of the run it belongs to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from conformance import record
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
    brought: dict[str, Path]
    workloads: tuple[UserWorkload, ...]
    testbed: str
    strict: bool
    keep: bool
    session: Session | None = None
    corpus: Corpus | None = None
    prepare_error: str = ""

    def split(self, node_id: str) -> tuple[str, str]:
        """Check id and path name of a node id such as ``suites/a/test_b.py::test_c[crun-wasmedge]``."""
        check, _, parameters = record.id_of(node_id, self.catalogue.root, self.rootdir).partition("[")
        names = [p.name for p in self.paths]
        matching = [n for n in names if parameters.rstrip("]") == n or parameters.startswith(n + "-")]
        return check, max(matching, key=len, default="-")
