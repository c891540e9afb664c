"""Any machine that OpenSSH reaches: ``--testbed=ssh://user@host:port``.

The user's own ``ssh_config`` applies; ``CONFORMANCE_SSH_CONFIG`` names another one
(``vagrant ssh-config`` prints such a file). Nothing is installed on the machine.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

from conformance.build.component import Component
from conformance.errors import UsageError
from conformance.node import Node

CONNECT_TIMEOUT_SECONDS = 10


def prepare(kinds: Sequence[str], progress: Callable[[str], None]) -> None:
    """Nothing to build: the machine is there, and nothing is installed on it."""


def open_node(kind: str, address: str, session: str, components: Sequence[Component] = ()) -> Node:
    """Start the agent over one ssh connection; see :class:`conformance.testbeds.Testbed`.

    Raises:
        UsageError: no host in the address.
        InfrastructureError: no connection, no python3 or no root there.
    """
    try:
        target = urlsplit(f"ssh://{address}")
        host, port, user = target.hostname, target.port, target.username
    except ValueError as error:
        raise UsageError(f"--testbed=ssh://{address}: {error}") from error
    if not host:
        raise UsageError("--testbed=ssh://user@host:port needs a host")
    reach = client(os.environ.get("CONFORMANCE_SSH_CONFIG", ""))
    if port:
        reach += ["-p", str(port)]
    if user:
        reach += ["-l", user]
    return Node(f"ssh {host}", [*reach, "--", host, agent_command(session, root=user == "root")], session)


def client(config: str = "") -> list[str]:
    """The ssh client with what every connection of ours needs: no questions, and a dead peer is noticed.

    Args:
        config: an ssh_config to use instead of the user's own.
    """
    argv = ["ssh", "-T", "-o", "BatchMode=yes", "-o", f"ConnectTimeout={CONNECT_TIMEOUT_SECONDS}",
            "-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=3"]  # fmt: skip
    return [*argv, "-F", config] if config else argv


def agent_command(session: str, *, root: bool) -> str:
    """The shell command that becomes the node agent there, through sudo where we are not root.

    Args:
        session: names its directory and cgroups.
        root: the user that logs in is known to be root.
    """
    python = f"python3 -I -c {shlex.quote(Node.bootstrap(session))}"
    if root:
        return f"exec {python}"
    return f'test "$(id -u)" = 0 || exec sudo -n {python}; exec {python}'
