"""Words that fit nothing, people who may do nothing, and runs side by side."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY, Runner, Starter, Suite

pytestmark = pytest.mark.usefixtures("nothing_left")

MIXED = """
def test_one(path):
    assert path.run("exit-return-0").proven

def test_two(path):
    result = path.run("exit-42")
    assert result.proven
    assert result.exit_code == 41

@requirement("TEST-RULE")
@needs(Feature.NATIVE)
def test_three(path):
    assert path.run("exit-return-0").proven

def test_four(path):
    assert path.run("no-such-workload").proven

def test_five(path):
    assert path.run("arguments", args=["a b"]).report["args"][1] == "a b"
"""


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ("--provision", "--provision is for machines of yours, testbed 'sandbox' has none"),
        ("--allow-reboot", "--allow-reboot: nodes of testbed 'sandbox' cannot be restarted"),
    ],
)
def test_what_only_the_user_s_own_machines_have_is_a_usage_error_elsewhere(
    option: str, says: str, suite: Suite, run_suite: Runner
) -> None:
    ran = run_suite(suite.checks(MIXED), option)
    assert (ran.exit_code, ran.output.strip()) == (4, f"ERROR: {says}")


def test_an_unknown_runtime_is_one_line_with_the_nearest_and_all_known(suite: Suite, run_suite: Runner) -> None:
    ran = run_suite(suite.checks(MIXED), runtime="crun-wasmegde")
    assert ran.exit_code == 4
    assert ran.output.strip() == (
        "ERROR: unknown runtime 'crun-wasmegde'; did you mean 'crun-wasmedge'?"
        " (known: crun-native, crun-wasmedge, runc-native)"
    )
    assert not ran.directory.exists()


def test_an_unknown_testbed_is_one_line(suite: Suite, run_suite: Runner) -> None:
    ran = run_suite(suite.checks(MIXED), "--testbed=sandbx")
    assert ran.exit_code == 4
    assert ran.output.strip() == (
        "ERROR: unknown testbed 'sandbx'; did you mean 'sandbox'? (known: local, sandbox, ssh, vagrant)"
    )


def test_a_typo_in_a_yaml_file_is_one_line_with_file_and_line(suite: Suite, run_suite: Runner) -> None:
    suite.checks(MIXED)
    file = suite.root / "requirements" / "tests.yaml"
    file.write_text(file.read_text().replace("basis:", "bassis:"))
    ran = run_suite(suite)
    assert ran.exit_code == 4
    assert ran.output.strip() == f"ERROR: {file}:4: unknown key 'bassis'; did you mean 'basis'?"


def test_nobody_without_sudo_is_told_in_one_line(suite: Suite, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    os.chown(home, 65534, 65534)
    for directory in (tmp_path, *tmp_path.parents):
        if directory != Path("/tmp") and directory.is_relative_to("/tmp"):
            directory.chmod(0o755)
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "env", "--ignore-environment"]
    site = Path(pytest.__file__).parents[1]
    python = sys.executable
    if subprocess.run([*nobody, python, "-c", ""], check=False, stderr=subprocess.DEVNULL).returncode != 0:
        python = "/usr/bin/python3"  # this one is in a home directory of root's
    environment = [f"HOME={home}", f"PYTHONPATH={REPOSITORY}:{site}", "PYTHONDONTWRITEBYTECODE=1", "PATH=/usr/bin:/bin"]
    argv = [*nobody, *environment, python, "-m", "pytest", str(suite.checks(MIXED).root), f"--report-dir={home}/run"]
    done = subprocess.run(argv, cwd=home, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 3, done.stdout + done.stderr
    line = "the sandbox needs root (run it as root, or allow sudo without a password)"
    assert line in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


@pytest.fixture
def verdicts(suite: Suite, run_suite: Runner) -> dict[str, str]:
    """What one plain run says."""
    ran = run_suite(suite.checks(MIXED), control=True)
    assert ran.exit_code == 3
    assert sorted(set(ran.judged.values())) == ["error", "failed", "passed", "skipped"]
    return ran.judged


def test_verdicts_are_the_same_alone_in_any_order_and_on_two_workers(
    suite: Suite, run_suite: Runner, verdicts: dict[str, str]
) -> None:
    assert run_suite(suite, "--random-order", control=True).judged == verdicts
    parallel = run_suite(suite, "-n", "2", control=True)
    assert parallel.judged == verdicts
    assert {row["worker"] for row in parallel.records.values()} == {"gw0", "gw1"}
    alone = run_suite(suite, "-k", "test_two and crun-wasmedge")
    assert alone.judged == {key: value for key, value in verdicts.items() if "test_two[crun-wasmedge]" in key}
    assert alone.exit_code == 1


def test_two_runs_at_once_do_not_disturb_each_other(
    suite: Suite, start_suite: Starter, verdicts: dict[str, str]
) -> None:
    one, two = start_suite(suite, control=True), start_suite(suite, control=True)
    assert one.end().judged == two.end().judged == verdicts


def test_a_second_run_into_the_same_directory_does_not_mix(suite: Suite, run_suite: Runner, tmp_path: Path) -> None:
    suite.checks("def test_it(path):\n    assert path.run('exit-return-0').proven")
    assert run_suite(suite, report_dir=tmp_path / "same").judged == {"test_it.py::test_it[crun-wasmedge]": "passed"}
    suite.checks("def test_other(path):\n    assert path.run('exit-return-0').exit_code == 1")
    ran = run_suite(suite, report_dir=tmp_path / "same")
    assert ran.judged == {"test_it.py::test_other[crun-wasmedge]": "failed"}
    assert [row["kind"] for row in ran.rows] == ["header", "path", "record", "end"]
    assert ran.results()["notes"] == []
