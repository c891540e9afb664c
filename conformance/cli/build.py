"""Build what a run needs, unless it is cached: node and builder images, the corpus, components.

A run does this by itself; here it can be done before, for a CI cache or to go offline. Without
a name it builds the images and the corpus; 'conformance components' lists the components.
"""

from __future__ import annotations

import argparse
import fnmatch
import os
import time
from pathlib import Path

from conformance import documents
from conformance.build import component
from conformance.build.cache import Progress
from conformance.build.guests import corpus
from conformance.build.image import image
from conformance.errors import InfrastructureError, UsageError
from conformance.verdict import INFRASTRUCTURE_FAILED

THINGS = ("node", "builder", "corpus")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """See :class:`conformance.cli.Command`."""
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"of {', '.join(THINGS)} (default: these), a component or a glob"
    )
    parser.add_argument(
        "--cache-from", action="append", default=[], metavar="DIR|URL",
        help="take finished components from there where they are; repeatable",
    )  # fmt: skip
    parser.add_argument("--pack", type=Path, metavar="DIR", help="also write each component there, for --cache-from")


def run(options: argparse.Namespace) -> int:
    """See :class:`conformance.cli.Command`."""
    names = _chosen(options.names or THINGS)
    if options.cache_from:
        os.environ[component.CACHE_FROM] = " ".join(options.cache_from)
    started = time.monotonic()
    failed = []

    def progress(message: str) -> None:
        print(f"[{time.monotonic() - started:5.1f} s] {message}", flush=True)

    for name in names:
        try:
            progress(f"{name}: {_build(name, progress, options.pack)}")
        except InfrastructureError as error:
            failed.append(error)
            progress(f"{name}: {error}")
    if len(failed) > 1:
        progress(f"{len(failed)} of {len(names)} failed")
    return INFRASTRUCTURE_FAILED if failed else 0


def _chosen(wanted: list[str] | tuple[str, ...]) -> list[str]:
    known = [*THINGS, *component.recipes()]
    names: dict[str, None] = {}
    for pattern in wanted:
        matching = fnmatch.filter(known, pattern)
        if not matching:
            close = documents.nearest(pattern, known)
            raise UsageError(
                f"unknown thing to build '{pattern}'"
                + (f"; did you mean '{close}'?" if close else "")
                + f" (known: {', '.join(known)})"
            )
        names |= dict.fromkeys(matching)
    return list(names)


def _build(name: str, progress: Progress, pack: Path | None) -> str:
    if name == "corpus":
        built = corpus(progress)
        return f"{built.path} ({built.digest[:12]})"
    if name in THINGS:
        made = image(name, progress)
        return f"{made.path} ({made.digest[:12]})"
    one = component.component(name, progress)
    if pack is not None:
        component.pack(name, pack)
    return f"{one.place} ({one.digest[:12]})"
