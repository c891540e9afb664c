"""No space left: on the node, and where the results go."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Runner, Suite

pytestmark = pytest.mark.usefixtures("nothing_left")


def test_a_full_disk_on_the_node_is_an_error_and_no_failure(suite: Suite, run_suite: Runner) -> None:
    suite.checks("""
        def test_a_first_one(path):
            assert path.run("exit-return-0").proven

        def test_b_fill_the_disk(path):
            bundles = path.launcher.bundles
            script = f"mount -t tmpfs -o size=1m none {bundles}; dd if=/dev/zero of={bundles}/x bs=64k; df {bundles}"
            assert b"100%" in path.node.run(["sh", "-c", script]).stdout

        def test_c_after_that(path):
            assert path.run("exit-return-0").proven

        def test_d_and_after_that(path):
            assert path.create("exit-return-0").created.ok

        def test_e_with_room_again(path):
            assert path.node.run(["rm", f"{path.launcher.bundles}/x"]).ok
            assert path.run("exit-return-0").proven
    """)
    ran = run_suite(suite)
    assert ran.exit_code == 3
    assert [ran.outcome(f"test_{letter}_") for letter in "abcde"] == ["passed", "passed", "error", "not-run", "passed"]
    assert ran.reason("test_c_") == ran.reason("test_d_")  # one cause is one error
    assert ran.reason("test_c_").endswith("/crun-wasmedge/bundles: ENOSPC")
    assert len(ran.results()["records"]) == 5


def test_a_runtime_that_finds_no_room_for_its_state_is_no_failure_either(suite: Suite, run_suite: Runner) -> None:
    suite.checks("""
        def test_a_fill_the_disk(path):
            place = path.node.directory
            path.node.run(["mount", "-t", "tmpfs", "-o", "size=100k", "none", str(place)])
            path.node.run(["mkdir", "-p", str(place / "crun-wasmedge/bundles")])

        def test_b_after_that(path):
            assert path.run("exit-return-0").proven

        def test_c_and_after_that(path):
            assert path.run("exit-return-0").proven
    """)
    ran = run_suite(suite)
    assert ran.exit_code == 3
    assert [ran.outcome(f"test_{letter}_") for letter in "abc"] == ["passed", "error", "not-run"]
    assert ran.reason("test_b_").endswith("ENOSPC")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with room for a few records only."""
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(place)], check=True)
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk_for_the_results_is_told_and_what_was_written_is_whole(
    suite: Suite, run_suite: Runner, small_disk: Path
) -> None:
    suite.checks("\n".join(f"""
        def test_{number}(path):
            result = path.run("flood", args=["mib=1"])
            assert result.proven
    """ for number in range(12)))  # fmt: skip
    ran = run_suite(suite, report_dir=small_disk / "run")
    assert ran.exit_code == 3, ran.output
    assert "No space left on device" in ran.output
    assert "the results are incomplete" in ran.output
    assert 1 <= len(ran.records) < 12  # reading them checks that each line is whole
    assert "Traceback" not in ran.output


def test_a_report_directory_that_cannot_be_made_is_told_before_anything_runs(
    suite: Suite, run_suite: Runner, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    ran = run_suite(suite.checks("def test_it(path):\n    assert path"), report_dir=tmp_path / "file" / "run")
    assert ran.exit_code in (3, 4)
    assert f"{tmp_path}/file/run" in ran.output
    assert "Traceback" not in ran.output
