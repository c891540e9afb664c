"""Whose turn it is on a machine that several workers share: checks run side by side, but one that
restarts the machine waits for all others, and they for it."""

from __future__ import annotations

import contextlib
import fcntl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from conformance.errors import InfrastructureError

#: Longer than any check, a restart of an emulated machine included.
WAIT_SECONDS = 1200.0


@contextlib.contextmanager
def turn(place: Path, *, alone: bool, wait_seconds: float = WAIT_SECONDS) -> Iterator[IO[str]]:
    """Use the machine until the block ends; gives the file that says how often it was restarted.

    Args:
        place: the machine's file, the same for all workers.
        alone: with no other worker on it.
        wait_seconds: how long the others may take.

    Raises:
        InfrastructureError: they take longer.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + wait_seconds
    with place.open("a+") as file:
        # through a gate, so that whoever wants to be alone is not overtaken for ever
        with place.with_suffix(".gate").open("w") as gate:
            _lock(gate, fcntl.LOCK_EX, deadline)
            _lock(file, fcntl.LOCK_EX if alone else fcntl.LOCK_SH, deadline)
        yield file


def restarts(file: IO[str]) -> int:
    """How often the machine was restarted by a check."""
    file.seek(0)
    return len(file.read())


def note_restart(file: IO[str]) -> None:
    """Tell the other workers that what they had open on the machine is gone."""
    file.write("x")
    file.flush()


def _lock(file: IO[str], how: int, deadline: float) -> None:
    while True:
        try:
            fcntl.flock(file, how | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise InfrastructureError(f"other workers have not given the machine free: {file.name}") from None
            time.sleep(0.02)
        else:
            return
