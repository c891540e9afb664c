"""The record of a run: ``results.jsonl`` (appended while it goes on) and ``plan.json`` (written before it).

One JSON object a line, ASCII only, so that neither a hostile stream nor an
editor can break it. ``docs/reports.md`` lists the fields.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conformance.errors import InfrastructureError, UsageError
from conformance.model import Judged, Raw

VERSION = 1
JOURNAL = "results.jsonl"
PLAN = "plan.json"

Row = dict[str, Any]

_NO_RESULT = "no result: the run ended before it"


class Journal:
    """``results.jsonl`` opened for append. One process writes it.

    Args:
        directory: the run's directory; made if it is not there.

    Raises:
        InfrastructureError: the file cannot be opened.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / JOURNAL
        try:
            directory.mkdir(parents=True, exist_ok=True)
            # No buffer of Python's: what write() has returned for is the kernel's, a killed run keeps it.
            self._file = self._path.open("ab", buffering=0)  # noqa: SIM115 - closed by close()
            if _ends_in_the_middle_of_a_line(self._path):
                self._file.write(b"\n")
        except OSError as error:
            raise _cannot_write(self._path, error) from error

    def write(self, row: Row) -> None:
        """Append one row as one line.

        Args:
            row: header, path, record or end; values that JSON does not know are written as their text.

        Raises:
            InfrastructureError: the line could not be written whole (disk full); lines before it are untouched.
            ValueError: a number that JSON cannot hold (NaN, infinity).
        """
        line = json.dumps(row, default=str, allow_nan=False).encode("ascii") + b"\n"
        start = self._file.seek(0, os.SEEK_END)
        written = 0
        try:
            while written < len(line):
                written += self._file.write(line[written:])
        except OSError as error:
            # A full disk may have taken half of the line; without this the next line would be glued to it.
            self._file.truncate(start)
            raise _cannot_write(self._path, error) from error

    def close(self) -> None:
        """Close the file; closing twice does no harm."""
        self._file.close()

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass(frozen=True)
class Run:
    """One run as its journal tells it.

    Attributes:
        directory: where it was read from.
        run: the header's ``run`` part.
        paths: the header's description of each path, by name.
        requirements: the rules that were checked, by id.
        facts: node, components, digests and canary of each path that was opened, by name.
        records: one per check and path in the order of the plan, then those that were not planned. Every key of
            the format is there; checks without a result have raw and judged outcome ``not-run``.
        end: the last line, ``None`` where the run was killed.
        notes: what is odd about the journal itself, each in one line.
    """

    directory: Path
    run: Row
    paths: dict[str, Row]
    requirements: dict[str, Row]
    facts: dict[str, Row]
    records: tuple[Row, ...]
    end: Row | None
    notes: tuple[str, ...] = ()


def read(directory: Path) -> Run:
    """Read what a run left in ``directory``, also when it was killed.

    Args:
        directory: holds ``results.jsonl`` and, normally, ``plan.json``.

    Returns:
        The run; the last record of an id wins, half-written lines are left out with a note.

    Raises:
        UsageError: there is no run, it cannot be read, or a newer harness wrote it.
    """
    path = directory / JOURNAL
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise UsageError(f"{directory}: holds no run ({JOURNAL} is missing)") from error
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    notes: list[str] = []
    header: Row | None = None
    end: Row | None = None
    facts: dict[str, Row] = {}
    records: dict[str, Row] = {}
    for number, row in _rows(content, notes):
        match row.get("kind"):
            case "header" if header is None:
                header = row
            case "path" if isinstance(row.get("path"), str):
                facts[row["path"]] = row
            case "record" if isinstance(row.get("id"), str):
                records[row["id"]] = _EMPTY | row
            case "end":
                end = row
            case kind:
                notes.append(f"{JOURNAL}:{number}: ignored: not a row this version knows ({kind})")
    if header is None:
        raise UsageError(f"{path}: holds no run (no header line)")
    if header.get("version") != VERSION:
        raise UsageError(f"{path}:1: journal version {header.get('version')}; this harness reads version {VERSION}")
    if end is None:
        notes.append("the run has no end: it was killed, or is still going on")
    return Run(
        directory=directory,
        run=header["run"],
        paths=header["paths"],
        requirements=header["requirements"],
        facts=facts,
        records=tuple(_in_plan_order(_plan(directory, notes), records)),
        end=end,
        notes=tuple(notes),
    )


#: A record in which nothing happened: what a row leaves out has this value.
_EMPTY: Row = {
    "kind": "record",
    "check": "",
    "sentence": "",
    "path": "-",
    "requirement": "",
    "raw": Raw.ERROR.value,
    "judged": Judged.ERROR.value,
    "reason": "",
    "skip_reason": None,
    "expectation": None,
    "message": "",
    "observations": {},
    "commands": [],
    "streams": {},
    "times": {},
    "memory_peak_bytes": None,
    "guest": None,
    "attempts": 0,
    "worker": "",
    "started": None,
}


def _rows(content: bytes, notes: list[str]) -> Iterator[tuple[int, Row]]:
    """Number and object of every whole line; what is damaged goes to ``notes``."""
    lines = content.split(b"\n")
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        if isinstance(row, dict):
            yield number, row
        elif number == len(lines):
            notes.append(f"{JOURNAL}:{number}: the last line was half written and is ignored")
        else:
            notes.append(f"{JOURNAL}:{number}: damaged line, ignored")


def _plan(directory: Path, notes: list[str]) -> list[Row]:
    """What was planned; empty, with a note, where the plan cannot be read."""
    try:
        planned = json.loads((directory / PLAN).read_bytes())["planned"]
        return [row for row in planned if isinstance(row["id"], str)]
    except (OSError, ValueError, KeyError, TypeError) as error:
        notes.append(f"{PLAN}: cannot be read ({type(error).__name__}): checks without a result are not shown")
        return []


def _in_plan_order(planned: list[Row], records: dict[str, Row]) -> Iterator[Row]:
    """Records as planned, a not-run one for each that is missing, then the unplanned ones."""
    not_run = {"raw": Raw.NOT_RUN.value, "judged": Judged.NOT_RUN.value, "reason": _NO_RESULT}
    seen: set[str] = set()
    for row in planned:
        if row["id"] not in seen:
            seen.add(row["id"])
            yield records.get(row["id"], _EMPTY | row | not_run)
    yield from (record for key, record in records.items() if key not in seen)


def _ends_in_the_middle_of_a_line(path: Path) -> bool:
    """Whether an earlier writer was killed while writing."""
    with path.open("rb") as file:
        if file.seek(0, os.SEEK_END) == 0:
            return False
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"


def _cannot_write(path: Path, error: OSError) -> InfrastructureError:
    return InfrastructureError(
        f"{path}: cannot be written: {error.strerror or error}",
        hint="make room or choose another directory with --report-dir; results up to here are kept",
    )
