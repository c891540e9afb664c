"""Build what a run needs, unless it is cached: node and builder images, the corpus.

A run does this by itself; here it can be done before, for a CI cache or to go offline.
"""

from __future__ import annotations

import argparse
import time

from conformance.build.guests import corpus
from conformance.build.image import image
from conformance.errors import UsageError

THINGS = ("node", "builder", "corpus")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """See :class:`conformance.cli.Command`."""
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(THINGS)} (default: all)")


def run(options: argparse.Namespace) -> int:
    """See :class:`conformance.cli.Command`."""
    for name in options.names:
        if name not in THINGS:
            raise UsageError(f"unknown thing to build '{name}' (known: {', '.join(THINGS)})")
    started = time.monotonic()

    def progress(message: str) -> None:
        print(f"[{time.monotonic() - started:5.1f} s] {message}", flush=True)

    for name in options.names or THINGS:
        built = corpus(progress) if name == "corpus" else image(name, progress)
        progress(f"{name}: {built.path} ({built.digest[:12]})")
    return 0
