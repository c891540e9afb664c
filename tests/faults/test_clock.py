"""A node whose wall clock jumps: deadlines and durations come from a clock that does not."""

import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from conformance.node import Node, completed
from conformance.node import steps as s

PLAIN = {"PATH": os.environ["PATH"]}


@pytest.fixture
def node() -> Iterator[Node]:
    """A node whose wall clock runs an hour in a second."""
    library = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
    session = f"{os.getpid():x}-{secrets.token_hex(3)}"
    jumping = ["env", f"LD_PRELOAD={library}", "FAKETIME=+0 x3600", "FAKETIME_DONT_FAKE_MONOTONIC=1"]
    node = Node("jumping", [*jumping, "python3", "-I", "-c", Node.bootstrap(session)], session)
    yield node
    node.close()


def test_a_command_that_takes_long_by_the_wall_clock_is_not_cut_short(node: Node) -> None:
    step = s.Run(["sleep", "0.3"], timeout_seconds=5, env=PLAIN)

    done = completed(step, node.batch([step])[0])

    assert done.ok
    assert 0.3 <= done.seconds < 3


def test_a_hang_is_still_ended_in_time(node: Node) -> None:
    step = s.Run(["sleep", "30"], timeout_seconds=0.3, env=PLAIN)

    done = completed(step, node.batch([step])[0])

    assert done.timed_out
    assert done.seconds < 5
