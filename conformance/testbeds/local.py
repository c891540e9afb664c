"""This machine itself, as it is: for a disposable CI runner or a node you are logged in to."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from conformance.build.component import Component
from conformance.node import Node
from conformance.testbeds import as_root, need_root


def prepare(kinds: Sequence[str], progress: Callable[[str], None]) -> None:
    """Nothing to build: the machine is there, and nothing is installed on it."""
    need_root("--testbed=local")


def open_node(kind: str, address: str, session: str, components: Sequence[Component] = ()) -> Node:
    """Start the agent here; see :class:`conformance.testbeds.Testbed`.

    Raises:
        InfrastructureError: no root.
    """
    return Node("local", as_root(["python3", "-I", "-c", Node.bootstrap(session)]), session)
