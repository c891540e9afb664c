"""Writing every report of a run from its journal."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from conformance.errors import InfrastructureError
from conformance.report import journal, junit, results, summary

_VIEWS: dict[str, Callable[[journal.Run], str]] = {
    "results.json": lambda run: results.text(results.results(run)),
    "junit.xml": junit.document,
    "summary.md": summary.markdown,
}


def render(directory: Path) -> list[Path]:
    """Write ``results.json``, ``junit.xml`` and ``summary.md`` into the run's directory.

    Args:
        directory: holds ``results.jsonl`` and ``plan.json``; old reports in it are replaced.

    Returns:
        The files written, ``results.json`` first.

    Raises:
        UsageError: the directory holds no run.
        InfrastructureError: a file cannot be written, or a record is not as the format says.
    """
    run = journal.read(directory)
    return [_write(directory / name, view(run)) for name, view in _VIEWS.items()]


def _write(path: Path, text: str) -> Path:
    """Put ``text`` at ``path`` whole or not at all: somebody may be reading the old one."""
    try:
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with open(descriptor, "w", encoding="utf-8", newline="\n") as file:
                file.write(text)
            os.chmod(temporary, 0o644)  # mkstemp makes it private; CI systems read reports as another user
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
    except OSError as error:
        raise InfrastructureError(f"{path}: cannot be written: {error.strerror or error}", hint="is the disk full?") from error
    return path
