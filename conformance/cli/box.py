"""Build the Vagrant box, unless it is built already; print where it is.

The Vagrantfile asks with --describe, which builds nothing, and with --stage.
"""

from __future__ import annotations

import argparse
import json
import sys
import time

from conformance.build import box
from conformance.build.accelerator import accelerator
from conformance.build.staging import stage


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """See :class:`conformance.cli.Command`."""
    parser.add_argument("--disk", action="store_true", help="print only where its disk is, for plain QEMU")
    parser.add_argument("--describe", action="store_true", help="print what the Vagrantfile needs; build no box")
    parser.add_argument("--stage", metavar="MACHINE", help="lay out what MACHINE is provisioned with, print where")


def run(options: argparse.Namespace) -> int:
    """See :class:`conformance.cli.Command`."""
    if options.stage:
        print(stage(options.stage))
        return 0
    if options.describe:
        print(json.dumps(description()))
        return 0
    started = time.monotonic()

    def progress(message: str) -> None:
        print(f"[{time.monotonic() - started:5.1f} s] {message}", file=sys.stderr, flush=True)

    built = box.box(progress)
    if options.disk:
        print(built.disk)
        return 0
    accelerator(progress)
    print(f"{box.BOX_NAME} {built.version} {built.directory / 'conformance.box'}")
    return 0


def description() -> dict[str, str]:
    """Name, version and catalog of the box that the recipes make now; the last is empty when it is not built."""
    built = box.current()
    return {
        "name": box.BOX_NAME,
        "version": built.version if built else "",
        "catalog": f"file://{built.directory / 'catalog.json'}" if built else "",
        "accelerator": accelerator(),
    }
