"""Guests that never end, never stop talking, or talk to the terminal."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import pytest

from tests.conftest import Runner, Suite

pytestmark = pytest.mark.usefixtures("nothing_left")


def test_a_guest_that_never_ends_is_a_value_the_check_judges(suite: Suite, run_suite: Runner) -> None:
    suite.checks("""
        def test_it_ends_by_itself(path):
            result = path.run("spin", timeout_seconds=0.5)
            assert result.proven
            assert not result.timed_out

        def test_the_next_guest_is_not_disturbed(path):
            assert path.run("exit-return-0").proven
    """)
    ran = run_suite(suite)
    assert ran.exit_code == 1
    assert ran.outcome("ends_by_itself") == "failed"
    assert ran.outcome("not_disturbed") == "passed"


def test_100_mib_of_output_are_read_bounded_and_recorded_bounded(suite: Suite, run_suite: Runner) -> None:
    suite.checks("""
        def test_it_is_read_to_its_end(path):
            result = path.run("flood", args=["mib=100"], max_output_bytes=65536, timeout_seconds=60)
            assert result.proven
            assert result.completed.truncated
            assert len(result.stdout) == 65536
            assert result.exit_code == 0
    """)
    ran = run_suite(suite)
    assert ran.exit_code == 0, ran.output
    assert (ran.directory / "results.jsonl").stat().st_size < 100_000
    assert len(ran.output) < 10_000


def test_a_guest_that_floods_stderr_or_fills_a_mount_disturbs_nobody(suite: Suite, run_suite: Runner) -> None:
    suite.checks("""
        def test_endless_stderr_ends_at_the_deadline(path):
            result = path.run("flood", args=["stderr"], max_output_bytes=65536, timeout_seconds=2)
            assert result.proven
            assert result.timed_out
            assert result.completed.truncated
            assert len(result.stderr) == 65536

        def test_a_full_mount_is_an_error_for_the_guest_only(path):
            small = {"destination": "/mnt", "type": "tmpfs", "source": "tmpfs", "options": ["size=2m"]}
            result = path.run("files", extra_mounts=[small], args=["fill:/mnt/large", "write:/mnt/more:x"])
            assert result.proven
            assert [r["errno"] for r in result.reports] == ["ENOSPC", "ENOSPC"]

        def test_the_next_guest_is_not_disturbed(path):
            assert path.run("exit-return-0").proven
    """)
    ran = run_suite(suite)
    assert ran.exit_code == 0, ran.output


@pytest.fixture
def hostile(suite: Suite) -> Suite:
    """A check that fails, so that what the guest printed is shown."""
    return suite.checks("""
        def test_bytes(path):
            result = path.run("bytes")
            assert result.proven
            assert result.stdout == b""
    """)


def test_invalid_utf_8_and_escapes_reach_neither_terminal_nor_reports(hostile: Suite, run_suite: Runner) -> None:
    ran = run_suite(hostile)
    assert ran.exit_code == 1
    assert ran.outcome("test_bytes") == "failed"
    for name in ("results.jsonl", "results.json", "junit.xml", "summary.md"):
        data = (ran.directory / name).read_bytes()
        text = data.decode("utf-8")  # valid UTF-8
        assert not {c for c in text if ord(c) < 32 and c not in "\n\t"}, name
        assert "\ufffe" not in text, name
    assert not {c for c in ran.output if ord(c) < 32 and c not in "\n\t"}
    assert r"\x1b]0;title\x07" in next(iter(ran.records.values()))["streams"]["stdout"]["text"]
    ElementTree.parse(ran.directory / "junit.xml")
