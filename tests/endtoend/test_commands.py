"""The console script: what each command does on this machine, and how it refuses."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from conformance.testbeds.enclosure import hierarchies
from tests.conftest import REPOSITORY, Ran, Runner, Suite

pytestmark = pytest.mark.usefixtures("nothing_left")

CHECKS = """
def test_good(path):
    assert path.run("exit-return-0").proven

def test_bad(path):
    result = path.run("exit-return-0")
    assert result.proven
    assert result.exit_code == 7
"""
EXPECTATION = """
- check: test_it.py::{check}
  paths: ["crun-*"]
  observed: {{exit_code: 0}}
  affects: {{crun: ">=1"}}
  reason: known since long
  reviewed: "2026-01-01"
  issue: https://example.org/1
"""


def conformance(*arguments: str | Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
    program = "import sys; from conformance.cli import main; sys.exit(main())"
    return subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        cwd=REPOSITORY, input=stdin, capture_output=True, text=True, timeout=90, check=False,
    )  # fmt: skip


@pytest.fixture
def ran(suite: Suite, run_suite: Runner) -> Ran:
    """A run with one pass and one failure."""
    ran = run_suite(suite.checks(CHECKS))
    assert (ran.outcome("good"), ran.outcome("bad")) == ("passed", "failed")
    return ran


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["docter"], "invalid choice: 'docter'"),
        (["render"], "the following arguments are required: DIR"),
        (["render", "/nowhere"], "conformance render: /nowhere: holds no run (results.jsonl is missing)"),
        (["replay", "x", "--run", "/nowhere"], "conformance replay: /nowhere: holds no run"),
        (["rejudge", "/nowhere"], "conformance rejudge: /nowhere: holds no run"),
        (["shell", "--runtime", "crun-wasmegde"], "unknown runtime 'crun-wasmegde'; did you mean 'crun-wasmedge'?"),
        (["shell", "--node", "no-such"], "conformance shell: no sandbox or machine is called 'no-such'; "),
        (["stop", "no-such"], "conformance stop: no node of session 'no-such' is kept; "),
    ],
)
def test_words_that_fit_nothing_are_one_line_and_exit_code_4(arguments: list[str], says: str) -> None:
    done = conformance(*arguments)
    assert done.returncode == 4
    assert says in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


def test_doctor_finds_this_machine_able() -> None:
    done = conformance("doctor")
    assert done.returncode == 0, done.stdout
    lines = done.stdout.splitlines()
    assert all(line.startswith(("ok  ", "--  ")) for line in lines)
    for word in (
        "root",
        "python",
        "mmdebstrap",
        "git",
        "namespaces",
        "overlay",
        "cgroups",
        "/dev/kvm",
        "disk",
        "images",
    ):
        assert any(line[4:].startswith(word) for line in lines), word


def test_doctor_says_what_to_type_where_something_is_missing(tmp_path: Path) -> None:
    program = "import sys; from conformance.cli import main; sys.exit(main(['doctor']))"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, env={"PATH": "/nowhere", "HOME": str(tmp_path)},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 3
    assert "NO  mmdebstrap   not installed; type: apt-get install mmdebstrap" in done.stdout
    assert "NO  namespaces" in done.stdout


def test_doctor_sees_what_a_killed_run_has_left() -> None:
    _, places = hierarchies()
    group = Path(next(iter(places.values()))) / "wasm-conformance-7ffffffe-fedcba"
    group.mkdir()
    try:
        done = conformance("doctor")
    finally:
        group.rmdir()
    assert done.returncode == 3
    assert f"NO  leftovers    {group}" in done.stdout


def test_a_shell_is_inside_a_fresh_sandbox_and_its_example_works() -> None:
    first = conformance("shell", stdin="hostname; ls /var/lib/conformance/*/content/*; exit 5\n")
    assert first.returncode == 5, first.stderr
    assert first.stdout.split()[0] == "conformance-low-level"
    assert {"wasm", "native"} <= set(first.stdout.split())
    example = first.stderr.splitlines()[-1].strip()
    assert example.startswith("crun --root /var/lib/conformance/")
    bundle = "$(ls -d /var/lib/conformance/*/crun-wasmedge/bundles/*)"
    pasted = f'crun --root /run/try run --bundle "{bundle}" try-1\n'
    second = conformance("shell", stdin=pasted)
    assert second.returncode == 0, second.stderr
    assert '@guest {"guest":"arguments","target":"wasm32-wasip1"' in second.stdout
    assert '"one two"' in second.stdout


def test_replay_tries_one_check_again_and_compares(ran: Ran) -> None:
    failed = conformance(
        "replay", "test_it.py::test_bad[crun-wasmedge]", "--run", ran.directory, "--suites", suite_of(ran)
    )
    assert failed.returncode == 1, failed.stderr
    assert "the same verdict: failed (assert 0 == 7)" in failed.stdout
    passed = conformance(
        "replay", "test_it.py::test_good[crun-wasmedge]", "--run", ran.directory, "--suites", suite_of(ran)
    )
    assert passed.returncode == 0
    assert "the same verdict: passed" in passed.stdout


def test_replay_tells_another_verdict(ran: Ran, suite: Suite) -> None:
    suite.checks(CHECKS.replace("== 7", "== 0"))
    done = conformance("replay", "test_it.py::test_bad[crun-wasmedge]", "--run", ran.directory, "--suites", suite.root)
    assert done.returncode == 0
    assert "another verdict: it was failed (assert 0 == 7), now it is passed" in done.stdout


def test_replay_uses_the_binary_of_the_old_run_and_says_when_it_changed(
    suite: Suite, run_suite: Runner, tmp_path: Path
) -> None:
    wrapper = tmp_path / "crun"
    wrapper.write_text('#!/bin/sh\nexec /usr/bin/crun "$@"\n')
    wrapper.chmod(0o755)
    ran = run_suite(suite.checks(CHECKS), f"--component=crun={wrapper}", "--strict")
    words = ("replay", "test_it.py::test_good[crun-wasmedge]", "--run", ran.directory, "--suites", suite.root)
    done = conformance(*words)
    assert done.returncode == 0, done.stderr
    assert "has changed" not in done.stderr
    again = next(Path(line) for line in done.stdout.splitlines() if "-replay-" in line and line.endswith("/"))
    header = Ran(0, "", again).rows[0]["run"]
    assert list(header["brought"]) == ["crun"]
    assert header["strict"] is True
    wrapper.write_text('#!/bin/sh\n\nexec /usr/bin/crun "$@"\n')
    assert "is not the file of the old run" in conformance(*words).stderr
    wrapper.unlink()
    gone = conformance(*words)
    assert gone.returncode == 4
    assert f"crun={wrapper}, which is not there any more" in gone.stderr


def test_replay_of_a_check_that_is_not_in_the_run_names_the_nearest(ran: Ran) -> None:
    done = conformance("replay", "test_it.py::test_god[crun-wasmedge]", "--run", ran.directory)
    assert done.returncode == 4
    assert "did you mean 'test_it.py::test_good[crun-wasmedge]'?" in done.stderr


def test_rejudge_applies_other_expectations_and_leaves_the_raw_outcomes(ran: Ran, tmp_path: Path) -> None:
    expectations = tmp_path / "known"
    expectations.mkdir()
    (expectations / "known.yaml").write_text(EXPECTATION.format(check="test_bad"))
    done = conformance("rejudge", ran.directory, "--expectations", expectations)
    assert done.returncode == 0, done.stderr
    assert "expected-failure  known since long" in done.stdout
    new = Ran(0, "", ran.directory.with_name(f"{ran.directory.name}-rejudged-1"))
    assert new.judged == ran.judged | {"test_it.py::test_bad[crun-wasmedge]": "expected-failure"}
    assert {k: r["raw"] for k, r in new.records.items()} == {k: r["raw"] for k, r in ran.records.items()}
    assert new.results()["exit_status"] == 0
    assert ran.outcome("bad") == "failed"  # the old run is as it was
    strict = conformance("rejudge", new.directory, "--strict")
    assert strict.returncode == 1
    (expectations / "known.yaml").write_text(EXPECTATION.format(check="test_good"))
    unexpected = conformance("rejudge", ran.directory, "--expectations", expectations)
    assert unexpected.returncode == 1
    assert "unexpected-pass" in unexpected.stdout


def test_rejudge_by_a_file_with_a_mistake_names_it(ran: Ran, tmp_path: Path) -> None:
    (tmp_path / "known.yaml").write_text(EXPECTATION.format(check="test_bad").replace("reason", "raeson"))
    done = conformance("rejudge", ran.directory, "--expectations", tmp_path)
    assert done.returncode == 4
    assert f"{tmp_path}/known.yaml:6: unknown key 'raeson'; did you mean 'reason'?" in done.stderr


def suite_of(ran: Ran) -> Path:
    return ran.directory.parent / "suites"
