"""The checks can fail on podman, docker and ctr too: their programs, each with exactly one thing broken.

A mutant is a shell script round the real program, brought with ``--component``. It sees the whole
command line, so it breaks what an engine could break: it loses, adds or swaps.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

#: Takes out the words of the command line that match a shell pattern.
WITHOUT = """
count=$#
while [ "$count" -gt 0 ]; do
    word=$1; shift; count=$((count - 1))
    case $word in {pattern}) ;; *) set -- "$@" "$word" ;; esac
done
exec "$real" "$@"
"""
CHECKS = {
    "environment": "process/test_environment.py::test_the_environment_is_complete",
    "streams": "process/test_streams.py::test_stdout_and_stderr_are_apart_and_1_mib_arrives_intact",
    "stdin": "process/test_streams.py::test_standard_input_arrives_complete_and_ends",
    "exit 0": "process/test_exit_codes.py::test_proc_exit_0_is_exit_code_0",
    "trap": "process/test_exit_codes.py::test_a_trap_is_a_failure",
    "read-only root": "mounts/test_files.py::test_a_read_only_root_refuses_writes",
    "mount": "mounts/test_files.py::test_a_bind_mount_can_be_read_and_written",
    "memory": "resources/test_limits.py::test_run_shows_an_out_of_memory_kill_as_137",
    "image": "images/test_configuration.py::test_cmd_is_appended_to_entrypoint",
    "whiteout": "images/test_configuration.py::test_whiteouts_hide_what_lies_in_layers_below",
}
GUESTS = frozenset(CHECKS)
#: Name to script and the checks that must turn red.
MUTANTS: dict[str, tuple[str, frozenset[str]]] = {
    "unbroken-but-in-the-way": ('exec "$real" "$@"', frozenset()),
    "drops-variables": (WITHOUT.format(pattern="--env=*"), frozenset({"environment"})),
    "drops-mounts": (WITHOUT.format(pattern="--mount=*"), frozenset({"mount"})),
    "ignores-the-memory-limit": (WITHOUT.format(pattern="--memory=*|--memory-swap=*"), frozenset({"memory"})),
    "leaves-the-root-writable": (WITHOUT.format(pattern="--read-only"), frozenset({"read-only root"})),
    "closes-stdin": (WITHOUT.format(pattern="--interactive"), frozenset({"stdin"})),
    "swaps-the-streams": ('exec "$real" "$@" 3>&1 1>&2 2>&3 3>&-', frozenset({"streams"})),
    "says-that-all-went-well": ('"$real" "$@"; exit 0', frozenset({"trap", "memory"})),
    "fails-always": ('"$real" "$@"; case " $* " in *" run "*) exit 1 ;; esac', frozenset({"exit 0", "memory"})),
    "loses-the-annotation": (WITHOUT.format(pattern="--annotation=run.oci.handler=*"), GUESTS),
    "replays-what-was-said-before": (
        'case " $* " in *" run "*) ;; *) exec "$real" "$@" ;; esac\n'
        '[ -e /tmp/said ] || "$real" "$@" > /tmp/said; cat /tmp/said',
        GUESTS,
    ),
    "adds-a-word": (
        'case " $* " in *" run "*) exec "$real" "$@" added ;; *) exec "$real" "$@" ;; esac',
        frozenset({"image"}),
    ),
}  # fmt: skip
#: Does something to the file in which ctr finds a container's configuration.
IN_THE_FILE = "for word; do case $word in --config=*) sed -i '{change}' \"${{word#*=}}\" ;; esac; done\n"
#: What ctr is told in other words.
OF_CTR: dict[str, tuple[str, frozenset[str]]] = {
    "ignores-the-memory-limit": (
        IN_THE_FILE.format(change='s/"memory": {/"unknown": {/') + 'exec "$real" "$@"', frozenset({"memory"})
    ),
    "closes-stdin": (
        'case " $* " in *" run "*) exec "$real" "$@" </dev/null ;; *) exec "$real" "$@" ;; esac', frozenset({"stdin"})
    ),
    # where the configuration is in a file, ctr refuses any word after the container's name
    "adds-a-word": (MUTANTS["adds-a-word"][0], frozenset({"image", "memory"})),
    "loses-the-annotation": (
        IN_THE_FILE.format(change="s/run.oci.handler/lost/") + MUTANTS["loses-the-annotation"][0], GUESTS
    ),
}  # fmt: skip
ENGINES = {"podman": MUTANTS, "docker": MUTANTS, "ctr": MUTANTS | OF_CTR}
SECONDS = 240
#: ctr now and then loses the last lines of a guest (docs/paths.md): a surprise is tried again.
ATTEMPTS = 2


def run_mutant(engine: str, name: str, place: Path) -> dict[str, str]:
    """Judged outcome of each check, by our short names, with a broken program in the engine's place."""
    program = place / engine
    program.write_text(f"#!/bin/sh\nreal=/usr/bin/{engine}\n{ENGINES[engine][name][0].strip()}\n")
    program.chmod(0o755)
    argv = [
        sys.executable, "-m", "pytest", *(f"suites/{check}" for check in CHECKS.values()), "-q", "--no-control",
        f"--runtime={engine}-crun-wasmedge", f"--component={engine}={program}", f"--report-dir={place / 'report'}",
    ]  # fmt: skip
    done = subprocess.run(argv, cwd=REPOSITORY, capture_output=True, text=True, timeout=SECONDS, check=False)
    file = place / "report" / "results.jsonl"
    assert file.exists(), done.stdout + done.stderr
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    judged = {row["check"]: row["judged"] for row in rows if row["kind"] == "record"}
    assert judged, done.stdout + done.stderr
    return {short: judged[check] for short, check in CHECKS.items()}


def red(judged: dict[str, str]) -> set[str]:
    """The checks that turned red, by our short names."""
    return {short for short, how in judged.items() if how in ("failed", "unexpected-pass")}


def tried(engine: str, name: str, place: Path) -> dict[str, str]:
    """:func:`run_mutant`, again where the mutant did not do what it declares."""
    judged: dict[str, str] = {}
    for attempt in range(ATTEMPTS):
        directory = place / str(attempt)
        directory.mkdir()
        judged = run_mutant(engine, name, directory)
        if red(judged) == ENGINES[engine][name][1]:
            break
    return judged


Outcome = Callable[[str, str], dict[str, str]]


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """Every mutant of every engine, three at a time, each run once."""
    with ThreadPoolExecutor(3) as pool:
        running = {
            (engine, name): pool.submit(tried, engine, name, tmp_path_factory.mktemp(f"{engine}-{number}"))
            for engine, mutants in ENGINES.items()
            for number, name in enumerate(mutants)
        }
    return lambda engine, name: running[engine, name].result()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", MUTANTS)
def test_a_broken_engine_turns_red_what_it_breaks_and_nothing_else(outcome: Outcome, engine: str, name: str) -> None:
    judged = outcome(engine, name)
    assert red(judged) == ENGINES[engine][name][1], judged
    assert set(judged.values()) <= {"passed", "failed", "unexpected-pass", "expected-failure", "fixed"}
