"""Write the reports of a run again, also of one that was killed.

results.json, junit.xml and the others are views of results.jsonl: rendering never runs
a check. What was planned and has no result appears as an error.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from conformance.report.render import render


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """See :class:`conformance.cli.Command`."""
    parser.add_argument("directory", type=Path, metavar="DIR", help="a run's directory: reports/out/latest")
    parser.add_argument(
        "--previous", type=Path, metavar="DIR", help="an earlier run: the page marks what changed since"
    )


def run(options: argparse.Namespace) -> int:
    """See :class:`conformance.cli.Command`."""
    for file in render(options.directory, options.previous):
        print(file)
    return 0
