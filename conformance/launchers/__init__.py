"""How a container is started. One module per way, found by its name.

A launcher module offers ``Launcher``, a class made with (node, path, binary).
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

from conformance.documents import nearest
from conformance.errors import UsageError
from conformance.model import Completed, ContainerSpec, Feature, ProcessSnapshot, RunResult, RuntimePath
from conformance.node import Node


@dataclass(frozen=True)
class Versions:
    """What a path is made of on this node.

    Attributes:
        components: name to version, Debian's spelling where a package owns it.
        digests: file on the node to sha256.
        engine_file: the library that the engine's name resolves to.
        notes: what a reader of the verdicts has to know, a line each.
    """

    components: Mapping[str, str]
    digests: Mapping[str, str]
    engine_file: str = ""
    notes: tuple[str, ...] = ()


class Launcher(Protocol):
    """One way to start containers on one node, for one path."""

    features: frozenset[Feature]
    #: variables that it says it sets in every container
    sets_variables: frozenset[str]
    #: what is started on the node, and the hook that takes the snapshot
    binary: str
    hook_file: str
    #: leave every bundle in place after its container has gone
    keep_bundles: bool
    #: the native twins' root file system on the node; there before the first container
    native_root: str
    #: directories on the node where the runtime's libraries are looked for before the system's own
    library_path: tuple[str, ...]

    def __init__(self, node: Node, path: RuntimePath, binary: str, runtime: str = "") -> None: ...

    def preflight(self) -> Versions:
        """Static facts only; starts no container.

        Raises:
            InfrastructureError: the binary or the engine is not there or is another one; names it.
        """
        ...

    def run(self, spec: ContainerSpec) -> RunResult:
        """Run a container to its end, within the spec's deadline.

        Raises:
            InfrastructureError: the node is gone. What the runtime does wrong is in the result.
        """
        ...

    def cleanup(self, containers: Sequence[tuple[str, int]]) -> None:
        """Remove whatever containers have left, whatever state they are in.

        Args:
            containers: ids, each with the handle of the command that started it (0: none).
        """
        ...


class Container(Protocol):
    """A container taken through its states step by step."""

    id: str
    pid: int
    created: Completed

    def start(self) -> Completed: ...
    def state(self) -> Mapping[str, Any]: ...
    def kill(self, signal: str, *, everything: bool = False) -> Completed: ...
    def delete(self, *, force: bool = False) -> Completed: ...
    def wait(self, timeout_seconds: float = 10.0) -> RunResult: ...
    def snapshot(self) -> ProcessSnapshot | None: ...


class Lifecycle(Protocol):
    """A launcher with single steps: oci, ctr and crictl have them."""

    def create(self, spec: ContainerSpec) -> Container:
        """Create a container; whether that worked is in ``created``."""
        ...


def names() -> list[str]:
    """Every launcher there is."""
    return sorted(m.name for m in pkgutil.iter_modules(__path__))


def launcher(name: str) -> type[Launcher]:
    """The launcher class of that name.

    Raises:
        UsageError: no such launcher.
    """
    if name not in names():
        close = nearest(name, names())
        raise UsageError(f"unknown launcher '{name}'" + (f"; did you mean '{close}'?" if close else ""))
    return cast(type[Launcher], importlib.import_module(f"{__name__}.{name}").Launcher)
