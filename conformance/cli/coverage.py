"""Show what the suites cover, and write or check docs/coverage.md.

Nothing is run: the tables come from suites/coverage, the checks, the requirements and the
expectations. Without options the counts are printed.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from conformance import catalogue, coverage
from conformance.cli.replay import REPOSITORY
from conformance.errors import UsageError

OUT_OF_DATE = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """See :class:`conformance.cli.Command`."""
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument("--write", type=Path, metavar="FILE", help="write the tables: docs/coverage.md")
    chosen.add_argument("--check", type=Path, metavar="FILE", help="exit with 1 if that file is out of date")
    parser.add_argument(
        "--suites", type=Path, default=REPOSITORY / "suites", metavar="DIR", help="suite directory (default: suites)"
    )


def run(options: argparse.Namespace) -> int:
    """See :class:`conformance.cli.Command`."""
    read = coverage.read(catalogue.read(options.suites.resolve()))
    text = coverage.render(read)
    try:
        if options.write is not None:
            options.write.write_text(text, encoding="utf-8")
        if options.check is not None and options.check.read_text(encoding="utf-8") != text:
            again = f"conformance coverage --write {options.check}"
            print(f"conformance coverage: {options.check} is out of date: {again}", file=sys.stderr)
            return OUT_OF_DATE
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{options.write or options.check}: {error}") from error
    print("\n".join(coverage.summary(read)))
    return 0
