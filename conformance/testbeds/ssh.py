"""Any machine that OpenSSH reaches: ``--testbed=ssh://user@host:port``.

The user's own ``ssh_config`` applies; ``CONFORMANCE_SSH_CONFIG`` names another one
(``vagrant ssh-config`` prints such a file). Nothing is installed on the machine.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

from conformance.errors import UsageError
from conformance.node import Node

CONNECT_TIMEOUT_SECONDS = 10


def prepare(kinds: Sequence[str], progress: Callable[[str], None]) -> None:
    """Nothing to build: the machine is there, and nothing is installed on it."""


def open_node(kind: str, address: str, session: str) -> Node:
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
    argv = ["ssh", "-T", "-o", "BatchMode=yes", "-o", f"ConnectTimeout={CONNECT_TIMEOUT_SECONDS}",
            "-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=3"]  # fmt: skip
    if config := os.environ.get("CONFORMANCE_SSH_CONFIG"):
        argv += ["-F", config]
    if port:
        argv += ["-p", str(port)]
    if user:
        argv += ["-l", user]
    sudo = "" if user == "root" else 'test "$(id -u)" = 0 || exec sudo -n '
    python = f"python3 -I -c {shlex.quote(Node.bootstrap(session))}"
    command = f"{sudo}{python}; exec {python}" if sudo else f"exec {python}"
    return Node(f"ssh {host}", [*argv, "--", host, command], session)
