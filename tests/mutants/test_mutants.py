"""The checks can fail: a few mutants against the checks they are about. ``make mutants`` runs them all, against all."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import REPOSITORY

UNBROKEN = "unbroken-but-in-the-way"
#: One or more of each kind, and two that repair something.
VARIED = [
    "drops-one-variable", "drops-empty-arguments", "a-trap-is-a-success", "cuts-output-at-64-kib",
    "delivers-kill-for-usr1", "kill-of-a-stopped-container-succeeds", "reverses-the-hooks-of-a-kind",
    "runs-the-native-twin-and-lies", "drops-the-memory-limit", "an-unknown-container-is-stopped",
    "hands-on-exit-code-42", "knows-handlers-and-marks",
]  # fmt: skip


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """All of them, run once, by name."""
    place = tmp_path_factory.mktemp("mutants")
    chosen = [word for name in (UNBROKEN, *VARIED) for word in ("-k", name)]
    argv = [
        sys.executable,
        "tests/mutants/run.py",
        "--near",
        f"--json={place / 'results.json'}",
        f"--out={place}",
        *chosen,
    ]
    done = subprocess.run(argv, cwd=REPOSITORY, capture_output=True, text=True, timeout=300, check=False)
    file = place / "results.json"
    assert file.exists(), done.stdout + done.stderr
    return {row["name"]: row for row in json.loads(Path(file).read_text())}


def test_a_wrapper_that_breaks_nothing_turns_nothing_red(results: dict[str, dict[str, Any]]) -> None:
    row = results[UNBROKEN]
    assert len(row["judged"]) > 50
    assert (row["killed_by"], row["better"], row["wrong"]) == ([], [], [])


@pytest.mark.parametrize("name", VARIED)
def test_a_mutant_turns_red_what_it_declares_and_nothing_else(results: dict[str, dict[str, Any]], name: str) -> None:
    row = results[name]
    assert row["wrong"] == []
    assert row["killed_by"] or row["better"]
