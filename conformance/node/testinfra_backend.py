"""pytest-testinfra on top of a node: ``host.package``, ``host.service``, ``host.file``, ``host.mount_point``."""

from __future__ import annotations

from typing import Any

from testinfra.backend.base import BaseBackend, CommandResult
from testinfra.host import Host

from conformance.node import Node

COMMAND_TIMEOUT_SECONDS = 30.0


class NodeBackend(BaseBackend):  # type: ignore[misc]  # testinfra has no types
    """Runs testinfra's shell commands through the node agent."""

    NAME = "conformance"

    def __init__(self, node: Node) -> None:
        self._node = node
        super().__init__(node.name)

    def run(self, command: str, *args: str, **kwargs: Any) -> CommandResult:
        """Run a shell command on the node, as testinfra's other backends do.

        Raises:
            InfrastructureError: the node is gone.
        """
        done = self._node.run(["sh", "-c", self.get_command(command, *args)], timeout_seconds=COMMAND_TIMEOUT_SECONDS)
        code = 128 + (done.signal or 9) if done.exit_code is None else done.exit_code
        return self.result(code, self.encode(command), done.stdout, done.stderr)


def host_of(node: Node) -> Host:
    """The node as a testinfra host."""
    return Host(NodeBackend(node))
