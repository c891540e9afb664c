"""Writing every report of a run from its journal."""

from __future__ import annotations

import os
from pathlib import Path

from conformance.errors import InfrastructureError
from conformance.report import html, journal, junit, results, summary


def render(directory: Path, previous: Path | None = None) -> list[Path]:
    """Write ``results.json``, ``junit.xml``, ``summary.md`` and ``report.html`` into the run's directory.

    Args:
        directory: holds ``results.jsonl`` and ``plan.json``; old reports in it are replaced.
        previous: directory of an earlier run; ``report.html`` then marks what changed since.

    Returns:
        The files written, ``results.json`` first.

    Raises:
        UsageError: one of the directories holds no run.
        InfrastructureError: a file cannot be written, or a record is not as the format says.
    """
    run = journal.read(directory)
    before = journal.read(previous) if previous else None
    # One after the other: where a later one cannot be written, the earlier ones are there.
    return [
        _write(directory / "results.json", results.text(results.results(run))),
        _write(directory / "junit.xml", junit.document(run)),
        _write(directory / "summary.md", summary.markdown(run)),
        _write(directory / "report.html", html.document(run, before)),
    ]


def _write(path: Path, text: str) -> Path:
    """Put ``text`` at ``path`` whole or not at all: somebody may be reading the old one."""
    try:
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            temporary.write_text(text, encoding="utf-8", newline="\n")
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise InfrastructureError(
            f"{path}: cannot be written: {error.strerror or error}", hint="is the disk full?"
        ) from error
    return path
