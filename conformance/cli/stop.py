"""End a node that --keep left running, or stop a machine of the Vagrantfile.

The node's agent then ends as after a run: processes, cgroups and files of that session go.
"""

from __future__ import annotations

import argparse
import os
import signal
import time
from pathlib import Path

from conformance.build.staging import machines
from conformance.documents import nearest
from conformance.errors import InfrastructureError, UsageError
from conformance.node import HOLDER
from conformance.testbeds import vagrant

TIMEOUT_SECONDS = 30.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """See :class:`conformance.cli.Command`."""
    parser.add_argument("session", metavar="NAME", help="a session, as the kept run named it, or a machine")


def run(options: argparse.Namespace) -> int:
    """See :class:`conformance.cli.Command`."""
    if options.session in machines():
        for line in vagrant.stop(options.session, print):
            print(line)
        return 0
    held = kept()
    if options.session not in held:
        close = nearest(options.session, [*held, *machines()])
        known = f"did you mean '{close}'?" if close else f"kept: {', '.join(held) or 'none'}"
        raise UsageError(f"no node of session '{options.session}' is kept; {known}")
    holder, transport = held[options.session]
    try:
        os.kill(holder, signal.SIGTERM)
    except PermissionError as error:
        message = f"session {options.session} is another user's"
        raise InfrastructureError(message, hint="stop it as that user") from error
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while Path(f"/proc/{transport}").exists():
        if time.monotonic() > deadline:
            raise InfrastructureError(f"session {options.session} has not ended", hint=f"kill {transport}")
        time.sleep(0.02)
    print(f"session {options.session} has ended")
    return 0


def kept() -> dict[str, tuple[int, int]]:
    """Kept nodes by session: the process that holds each, and the one that carries its bytes."""
    found = {}
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = file.read_bytes().decode("utf-8", "replace").rstrip("\0").split("\0")
        except OSError:
            continue  # it has ended
        if len(words) == 4 and words[:2] == ["sh", "-c"] and words[3].startswith(HOLDER):
            transport = words[2].partition("/proc/")[2].partition(" ")[0]
            found[words[3].removeprefix(HOLDER)] = (int(file.parent.name), int(transport))
    return found
