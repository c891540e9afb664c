"""Any machine that OpenSSH reaches: ``--testbed=ssh://user@host:port``.

The user's own ``ssh_config`` applies; ``CONFORMANCE_SSH_CONFIG`` names another one
(``vagrant ssh-config`` prints such a file). Nothing is installed on the machine unless
``--provision`` asks for it: then what a machine of the Vagrantfile would get.
"""

from __future__ import annotations

import hashlib
import os
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from conformance.build import cache, command
from conformance.build.component import Component
from conformance.build.staging import PROVISIONED, STAGE_ON_MACHINE, stage
from conformance.errors import InfrastructureError, UsageError
from conformance.node import Node

CONNECT_TIMEOUT_SECONDS = 10
QUICK_SECONDS = 60
#: Packages may have to come over a slow network.
PROVISION_SECONDS = 1800
#: Unpacks what arrives on standard input and installs it, as `vagrant provision` does.
INSTALL = (
    f"rm -rf {STAGE_ON_MACHINE}; mkdir -p {STAGE_ON_MACHINE}; cd {STAGE_ON_MACHINE};"
    f" tar -x --no-same-owner; sh provision.sh {STAGE_ON_MACHINE}"
)
#: See :class:`conformance.testbeds.Rebootable`: the machine is the user's.
NEEDS_CONSENT = True


def prepare(kinds: Sequence[str], progress: Callable[[str], None]) -> None:
    """Nothing to build: the machine is there, and nothing is installed on it."""


def open_node(kind: str, address: str, session: str, components: Sequence[Component] = ()) -> Node:
    """Start the agent over one ssh connection; see :class:`conformance.testbeds.Testbed`.

    Raises:
        UsageError: no host in the address.
        InfrastructureError: no connection, no python3 or no root there.
    """
    reach, host, user = _reach(address)
    return Node(f"ssh {host}", [*reach, agent_command(session, root=user == "root")], session)


def turn_file(kind: str, address: str) -> Path:
    """See :class:`conformance.testbeds.Rebootable`."""
    return cache.root() / "vms" / f"ssh-{cache.digest_of(address)[:16]}.turn"


def provision(kind: str, address: str, progress: Callable[[str], None]) -> None:
    """Install on the machine what one of ours of this kind has: packages, and components that are staged.

    Raises:
        UsageError: no host in the address, or a component that is not there.
        InfrastructureError: no connection, or the installation failed there; says why.
    """
    reach, host, _ = _reach(address)
    place = stage(kind)
    manifest = hashlib.sha256((place / "manifest.json").read_bytes()).hexdigest()
    asked = [*reach, f"cat {PROVISIONED} 2>/dev/null || true"]
    log = command.log_path(f"provision-{host}")
    if command.run(asked, log=log, timeout_seconds=QUICK_SECONDS) != 0:
        raise InfrastructureError(f"ssh {host}: {command.last_lines(log, 1)}", hint=f"try it: {shlex.join(reach)}")
    if log.read_text().strip() == manifest:
        return
    progress(f"provisioning {host}")
    # a pipeline's end is that of its last command; tar's words would be in the log
    carried = (
        f"tar -C {shlex.quote(str(place))} -c . | {shlex.join([*reach, as_root('sh -euc ' + shlex.quote(INSTALL))])}"
    )
    if command.run(["sh", "-c", carried], log=log, timeout_seconds=PROVISION_SECONDS) != 0:
        raise InfrastructureError(f"provisioning {host} failed: {command.last_lines(log, 1)}", hint=f"full log: {log}")
    for line in log.read_text(errors="replace").splitlines():
        progress(f"{host}: {line}")


def _reach(address: str) -> tuple[list[str], str, str | None]:
    """The ssh client's command line up to the host; the host and the user."""
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
    return [*reach, "--", host], host, user


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
    return f"exec {python}" if root else as_root(python)


def as_root(command_: str) -> str:
    """The shell command that becomes this one, through sudo where the user that logs in is not root."""
    return f'test "$(id -u)" = 0 || exec sudo -n {command_}; exec {command_}'
