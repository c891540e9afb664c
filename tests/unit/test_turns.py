"""Workers that share a machine, one of which wants to restart it."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from conformance.errors import InfrastructureError
from conformance.node import turns
from tests.conftest import until


def test_checks_share_a_machine(tmp_path: Path) -> None:
    with turns.turn(tmp_path / "m.turn", alone=False), turns.turn(tmp_path / "m.turn", alone=False, wait_seconds=1):
        pass


def test_whoever_restarts_it_waits_for_the_others_and_says_so_when_they_do_not_end(tmp_path: Path) -> None:
    place = tmp_path / "m.turn"
    with (
        turns.turn(place, alone=False),
        pytest.raises(InfrastructureError, match="other workers have not given the machine free"),
        turns.turn(place, alone=True, wait_seconds=0.1),
    ):
        pass
    with turns.turn(place, alone=True, wait_seconds=0.1):
        pass


def free(place: Path) -> bool:
    try:
        with turns.turn(place, alone=False, wait_seconds=0):
            return True
    except InfrastructureError:
        return False


def test_nobody_overtakes_whoever_wants_to_be_alone(tmp_path: Path) -> None:
    place = tmp_path / "m.turn"
    order: list[str] = []

    def restart() -> None:
        with turns.turn(place, alone=True) as file:
            order.append("alone")
            turns.note_restart(file)

    def another() -> None:
        with turns.turn(place, alone=False) as file:
            order.append(f"after {turns.restarts(file)} restart")

    with turns.turn(place, alone=False) as file:
        assert turns.restarts(file) == 0
        first = threading.Thread(target=restart)
        first.start()
        until(lambda: not free(place), 5)
        second = threading.Thread(target=another)
        second.start()
    for thread in (first, second):
        thread.join(5)
    assert order == ["alone", "after 1 restart"]
