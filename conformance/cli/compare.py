"""Compare runs: versions and nodes, then regressions, fixes and other changes.

Checks are compared by name and path; of several runs each is compared with the one before
it, so that versions can be given in their order. Exit code 1 when something got worse, else 0. A
difference that a node fact explains (an expectation with 'when:', or a skip because the
node lacks something) is no regression.
"""

from __future__ import annotations

import argparse
from itertools import pairwise
from pathlib import Path

from conformance.errors import InfrastructureError, UsageError
from conformance.report import comparison_pages, journal
from conformance.report.comparison import Kind, compare
from conformance.verdict import CONFORMANT, NOT_CONFORMANT

FORMATS = {"terminal": comparison_pages.terminal, "markdown": comparison_pages.markdown, "html": comparison_pages.html}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """See :class:`conformance.cli.Command`."""
    parser.add_argument("before", type=Path, metavar="A", help="directory of the run that is the measure")
    parser.add_argument(
        "after", type=Path, nargs="+", metavar="B", help="directory of the run that is judged by the one before it"
    )
    parser.add_argument(
        "--map", action="append", default=[], metavar="A=B",
        help="compare path A of the first run with path B of the second, and no others; repeatable",
    )  # fmt: skip
    parser.add_argument("--format", choices=sorted(FORMATS), default="terminal", help="default: terminal")
    parser.add_argument("--to", type=Path, metavar="FILE", help="write it there, and print one line")


def run(options: argparse.Namespace) -> int:
    """See :class:`conformance.cli.Command`."""
    runs = [journal.read(directory.resolve()) for directory in (options.before, *options.after)]
    compared = [compare(before, after, _mapping(options.map)) for before, after in pairwise(runs)]
    text = FORMATS[options.format](compared)
    if options.to is None:
        print(text, end="")
    else:
        try:
            options.to.write_text(text, encoding="utf-8", newline="\n")
        except OSError as error:
            raise InfrastructureError(f"{options.to}: cannot be written: {error.strerror}") from error
        print(f"{'; '.join(map(comparison_pages.verdict, compared))}; {options.to}")
    return NOT_CONFORMANT if any(one.count(Kind.REGRESSION) for one in compared) else CONFORMANT


def _mapping(words: list[str]) -> dict[str, str]:
    mapping: dict[str, str] = {}
    for word in words:
        before, equals, after = word.partition("=")
        if not (before and equals and after):
            raise UsageError(f"--map {word}: expected A=B, two names of paths")
        if before in mapping:
            raise UsageError(f"--map {word}: '{before}' is compared with '{mapping[before]}' already")
        mapping[before] = after
    return mapping
