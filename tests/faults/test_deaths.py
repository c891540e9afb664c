"""Something is killed half-way: the sandbox, its keeper, pytest."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from conformance.cli import main as conformance
from tests.conftest import REPOSITORY, Ran, Runner, Starter, Suite

pytestmark = pytest.mark.usefixtures("nothing_left")

KILLS = """
import json
import os
import signal

def first_process(path):
    return json.load(open(f"/run/wasm-conformance/{path.node.session}.lock"))["pid"]

def test_a_before(path):
    assert path.run("exit-return-0").proven

def test_b_kills(path):
    os.kill({victim}, signal.SIGKILL)
    assert path.run("exit-return-0").proven

def test_c_next(path):
    assert path.run("exit-return-0").proven

def test_d_last(path):
    assert path.run("exit-return-0").proven
"""
HANGS = """
def test_a_before(path):
    assert path.run("exit-return-0").proven

def test_b_goes_on(path):
    container = path.create("hold", hold_stdin=True)
    assert container.start().ok
    path.node.run(["sleep", "600"], timeout_seconds=600)

def test_c_never(path):
    assert path.run("exit-return-0").proven
"""


def outcomes(ran: Ran) -> list[str]:
    return [ran.outcome(f"test_{letter}_") for letter in "abcd"]


def test_a_sandbox_that_is_killed_is_one_error_and_the_next_check_gets_a_fresh_one(
    suite: Suite, run_suite: Runner
) -> None:
    ran = run_suite(suite.checks(KILLS.replace("{victim}", "first_process(path)")))
    assert ran.exit_code == 3
    assert outcomes(ran) == ["passed", "error", "passed", "passed"]
    assert " went away" in ran.reason("test_b_")
    nodes = {row["node"]["hostname"] for row in ran.rows if row["kind"] == "path"}
    assert nodes


def test_a_keeper_that_is_killed_takes_its_sandbox_along_and_is_swept(suite: Suite, run_suite: Runner) -> None:
    ran = run_suite(suite.checks(KILLS.replace("{victim}", "path.node._process.pid")))
    assert ran.exit_code == 3
    assert outcomes(ran) == ["passed", "error", "passed", "passed"]


def test_a_sandbox_that_dies_twice_is_not_tried_again(suite: Suite, run_suite: Runner) -> None:
    suite.checks(
        KILLS.replace("{victim}", "first_process(path)")
        + "\n"
        + "\n".join(f"def test_e_{n}(path):\n    assert path.run('exit-return-0').proven\n" for n in range(10))
    )
    text = (suite.root / "test_it.py").read_text()
    again = "def test_c_next(path):\n    os.kill(first_process(path), signal.SIGKILL)\n"
    (suite.root / "test_it.py").write_text(text.replace("def test_c_next(path):\n", again))
    ran = run_suite(suite)
    assert ran.exit_code == 3
    assert outcomes(ran) == ["passed", "error", "error", "not-run"]
    assert [ran.outcome(f"test_e_{n}[") for n in range(10)] == ["not-run"] * 10
    assert "has died 2 times" in ran.reason("test_e_9")


def test_a_pytest_that_is_killed_leaves_readable_results_and_nothing_else(
    suite: Suite, start_suite: Starter, capsys: pytest.CaptureFixture[str]
) -> None:
    running = start_suite(suite.checks(HANGS))
    running.wait_for_records(1)
    running.process.kill()
    ran = running.end()
    assert ran.outcome("test_a_") == "passed"
    assert conformance(["render", str(running.directory)]) == 0
    rendered = {row["id"].partition("::")[2]: row["judged"] for row in ran.results()["records"]}
    assert rendered == {
        "test_a_before[crun-wasmedge]": "passed",
        "test_b_goes_on[crun-wasmedge]": "not-run",
        "test_c_never[crun-wasmedge]": "not-run",
    }
    assert ran.results()["exit_status"] == 3
    junit = (running.directory / "junit.xml").read_text()
    assert junit.count("<error") == 2


def test_a_keeper_killed_together_with_pytest_is_swept_by_the_next_run(
    suite: Suite, start_suite: Starter, run_suite: Runner
) -> None:
    running = start_suite(suite.checks(HANGS))
    running.wait_for_records(1)
    (keeper,) = [int(p) for p in children(running.process.pid) if b"enclosure.py" in command(p)]
    running.process.send_signal(signal.SIGSTOP)  # so that it cannot open a node anew
    os.kill(keeper, signal.SIGKILL)
    running.process.kill()
    running.end()
    session = f"{running.process.pid:x}-"
    locks = list(Path("/run/wasm-conformance").glob(f"{session}*.lock"))
    assert locks
    suite.checks("def test_it(path):\n    assert path.run('exit-return-0').proven")
    assert run_suite(suite).exit_code == 0
    assert not [lock for lock in locks if lock.exists()]


def children(pid: int) -> list[str]:
    found: list[str] = []
    for file in Path(f"/proc/{pid}/task").glob("*/children"):
        found += file.read_text().split()
    return found


def command(pid: str) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def test_ctrl_c_ends_with_2_and_with_results(suite: Suite, start_suite: Starter) -> None:
    running = start_suite(suite.checks(HANGS))
    running.wait_for_records(1)
    running.process.send_signal(signal.SIGINT)
    ran = running.end()
    assert ran.exit_code == 2
    assert ran.outcome("test_a_") == "passed"
    results = ran.results()
    assert results["exit_status"] == 2
    assert {row["judged"] for row in results["records"][1:]} <= {"not-run", "error"}
    assert len(results["records"]) == 3
    assert (ran.directory / "junit.xml").exists()


def test_a_worker_of_xdist_that_is_killed_is_an_error_and_the_rest_goes_on(suite: Suite, run_suite: Runner) -> None:
    ran = run_suite(suite.checks(KILLS.replace("{victim}", "os.getpid()")), "-n", "2", "--max-worker-restart=1")
    assert ran.exit_code == 3
    assert outcomes(ran) == ["passed", "error", "passed", "passed"]


def test_a_kept_node_is_entered_and_stopped(suite: Suite, run_suite: Runner) -> None:
    ran = run_suite(suite.checks("def test_it(path):\n    assert path.run('exit-return-0').proven"), "--keep")
    session = next(line for line in ran.output.splitlines() if "conformance stop " in line).split("stop ")[1].strip("'")
    try:
        entered = cli(
            "shell",
            "--node",
            session,
            stdin="hostname; ls -d /var/lib/conformance/*/crun-wasmedge/bundles/*/config.json",
        )
        assert entered.returncode == 0, entered.stderr
        assert "conformance-low-level" in entered.stdout
        assert "/config.json" in entered.stdout
    finally:
        stopped = cli("stop", session)
    assert stopped.returncode == 0, stopped.stderr
    again = cli("stop", session)
    assert again.returncode == 4
    assert again.stderr.startswith(f"conformance stop: no node of session '{session}' is kept")


def cli(*arguments: str, stdin: str = "", **more: Any) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-c", "import sys; from conformance.cli import main; sys.exit(main())", *arguments]
    return subprocess.run(
        argv, cwd=REPOSITORY, input=stdin, capture_output=True, text=True, timeout=60, check=False, **more
    )
