"""Make one run of many: the jobs of a CI pipeline become one report.

Records are put together and all reports are rendered. A path that was tried on several
testbeds appears once for each, as NAME@TESTBED. A check that two runs were asked for is
refused; of a control that ran along twice the worse verdict stays. The exit code is what
the new run means.
"""

from __future__ import annotations

import argparse
import datetime
import secrets
import sys
from pathlib import Path

from conformance.errors import UsageError
from conformance.recorder import write_plan
from conformance.report import journal, summary
from conformance.report.merging import Merged, merge
from conformance.report.render import render


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """See :class:`conformance.cli.Command`."""
    parser.add_argument("directories", nargs="+", type=Path, metavar="DIR", help="directories of the runs")
    parser.add_argument("--to", type=Path, required=True, metavar="DIR", help="directory of the new run")


def run(options: argparse.Namespace) -> int:
    """See :class:`conformance.cli.Command`."""
    runs = [journal.read(directory) for directory in options.directories]
    if (options.to / journal.JOURNAL).exists():
        raise UsageError(f"--to {options.to}: holds a run already")
    now = datetime.datetime.now(datetime.UTC)
    merged = merge(runs, f"{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}")
    for old in runs:
        for note in old.notes:
            print(f"{old.directory}: {note}", file=sys.stderr)
    _write(merged, options.to)
    render(options.to)
    print(summary.terminal(journal.read(options.to)), end="")
    print(f"{options.to}/")
    return merged.status


def _write(merged: Merged, directory: Path) -> None:
    write_plan(directory, str(merged.header["run"]["id"]), list(merged.planned))
    with journal.Journal(directory) as written:
        for row in (merged.header, *merged.facts, *merged.records, *([merged.end] if merged.end else [])):
            written.write(row)
