"""The journal survives kills, full disks and hostile streams."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import pytest

from conformance.errors import InfrastructureError, UsageError
from conformance.report.journal import JOURNAL, PLAN, Journal, read
from tests.unit import sample_run


def test_what_is_written_is_read(tmp_path: Path) -> None:
    run = read(sample_run.write(tmp_path / "run"))
    assert run.run == sample_run.header()["run"]
    assert set(run.paths) == set(sample_run.PATHS)
    assert run.facts["crun-native"]["components"] == sample_run.COMPONENTS["crun"]
    written = [row for row in sample_run.records() if row["id"] != sample_run.MISSING]
    assert [record for record in run.records if record["id"] != sample_run.MISSING] == written
    assert run.end == sample_run.end()
    assert run.notes == ()


def test_records_are_in_the_order_of_the_plan_and_unplanned_ones_follow(tmp_path: Path) -> None:
    directory = sample_run.write(tmp_path)
    with Journal(directory) as journal:
        journal.write({"kind": "record", "id": "session::prepare", "judged": "error", "raw": "error"})
    planned = [row["id"] for row in json.loads((directory / PLAN).read_text())["planned"]]
    assert [record["id"] for record in read(directory).records] == [*planned, "session::prepare"]


def test_a_planned_check_without_a_result_was_not_run(tmp_path: Path) -> None:
    run = read(sample_run.write(tmp_path, lambda row: None, status=None))
    assert {(record["raw"], record["judged"]) for record in run.records} == {("not-run", "not-run")}
    assert run.records[0]["reason"] == "no result: the run ended before it"
    assert "the run has no end" in run.notes[0]


def test_the_last_record_of_an_id_wins(tmp_path: Path) -> None:
    directory = sample_run.write(tmp_path)
    again = sample_run.records()[0] | {"attempts": 2}
    with Journal(directory) as journal:
        journal.write(again)
    assert read(directory).records[0]["attempts"] == 2


def test_a_half_written_last_line_is_noted_and_costs_nothing_else(tmp_path: Path) -> None:
    directory = sample_run.write(tmp_path, status=None)
    whole = read(directory)
    with (directory / JOURNAL).open("ab") as file:
        file.write(b'{"kind":"record","id":"process/te')
    run = read(directory)
    assert run.records == whole.records
    assert any("half written" in note for note in run.notes)


def test_a_journal_that_was_cut_can_be_appended_to(tmp_path: Path) -> None:
    directory = sample_run.write(tmp_path, status=None)
    with (directory / JOURNAL).open("ab") as file:
        file.write(b'{"kind":"rec')
    with Journal(directory) as journal:
        journal.write(sample_run.end())
    run = read(directory)
    assert run.end == sample_run.end()
    assert [note.partition(": ")[2] for note in run.notes] == ["damaged line, ignored"]


def test_every_byte_of_a_hostile_stream_survives(tmp_path: Path) -> None:
    run = read(sample_run.write(tmp_path))
    record = next(record for record in run.records if record["requirement"] == "OCI-PROC-EXIT-42")
    assert record["streams"]["stdout"]["text"] == sample_run.HOSTILE
    assert (tmp_path / JOURNAL).read_bytes().isascii()


class _FullDisk:
    """A file on a disk that takes a few bytes more."""

    def __init__(self, journal: Journal) -> None:
        self._file = journal._file

    def write(self, data: bytes) -> int:
        self._file.write(data[:5])
        raise OSError(errno.ENOSPC, "No space left on device")

    def __getattr__(self, name: str) -> object:
        return getattr(self._file, name)


def test_a_full_disk_is_an_infrastructure_error_and_keeps_what_was_there(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.write(sample_run.header())
    before = (tmp_path / JOURNAL).read_bytes()
    real = journal._file
    journal._file = _FullDisk(journal)  # type: ignore[assignment]
    with pytest.raises(InfrastructureError, match="No space left on device") as caught:
        journal.write(sample_run.records()[0])
    assert caught.value.hint
    assert (tmp_path / JOURNAL).read_bytes() == before
    journal._file = real
    journal.write(sample_run.end())
    assert read(tmp_path).end == sample_run.end()


def test_a_directory_that_cannot_be_made_is_an_infrastructure_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InfrastructureError, match="cannot be written"):
        Journal(tmp_path / "file" / "run")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "holds no run"),
        (b"", "no header line"),
        (b'{"kind":"end"}\n', "no header line"),
        (b'{"kind":"header","version":99}\n', "journal version 99"),
        (b"\xff\xfe nonsense", "no header line"),
    ],
)
def test_a_directory_without_a_run_is_a_usage_error(tmp_path: Path, content: bytes | None, said: str) -> None:
    if content is not None:
        (tmp_path / JOURNAL).write_bytes(content)
    with pytest.raises(UsageError, match=said):
        read(tmp_path)


@pytest.mark.parametrize("plan", [None, "{", "[]", '{"planned": [1]}'])
def test_a_run_without_a_readable_plan_still_has_its_records(tmp_path: Path, plan: str | None) -> None:
    directory = sample_run.write(tmp_path)
    (directory / PLAN).unlink()
    if plan is not None:
        (directory / PLAN).write_text(plan)
    run = read(directory)
    assert len(run.records) == len(sample_run.records()) - 1
    assert run.notes[0].startswith("plan.json: cannot be read")
