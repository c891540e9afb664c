"""The code is as the tools want it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.conftest import REPOSITORY


def complaints(*argv: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *argv], cwd=REPOSITORY, capture_output=True, text=True, timeout=120, check=False
    )
    return "" if done.returncode == 0 else done.stdout + done.stderr


@pytest.mark.parametrize("directory", ["conformance", "suites", "tests"])
def test_ruff_has_nothing_to_say(directory: str) -> None:
    assert complaints("ruff", "check", "--no-cache", "--output-format=concise", directory) == ""


def test_mypy_has_nothing_to_say_about_the_harness() -> None:
    assert complaints("mypy") == ""


def test_mypy_has_nothing_to_say_about_suites_and_tests() -> None:
    lenient = ["--config-file=", "--explicit-package-bases", "--ignore-missing-imports", "--follow-imports=silent"]
    lenient += ["--check-untyped-defs", "--disable-error-code=func-returns-value", "--disable-error-code=var-annotated"]
    assert complaints("mypy", *lenient, "suites", "tests") == ""
