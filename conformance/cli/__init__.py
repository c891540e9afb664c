"""The console script ``conformance``. One module per command, found by its name.

A command module offers ``add_arguments(parser)`` and ``run(options) -> exit code``; the
first line of its docstring is its help.
"""

from __future__ import annotations

import argparse
import importlib
import pkgutil
import sys
from collections.abc import Sequence
from typing import NoReturn, Protocol, cast

from conformance.errors import InfrastructureError, UsageError
from conformance.verdict import INFRASTRUCTURE_FAILED, INTERRUPTED, USAGE


class Command(Protocol):
    """What a module in this package offers."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Say which words the command takes."""
        ...

    def run(self, options: argparse.Namespace) -> int:
        """Do it and give back the exit code.

        Raises:
            UsageError: the words do not fit what is there.
            InfrastructureError: this machine or the node is at fault.
        """
        ...


class Parser(argparse.ArgumentParser):
    """A parser whose complaint is one line, and exit code 4 as everywhere in the harness."""

    def error(self, message: str) -> NoReturn:
        self.exit(USAGE, f"{self.prog}: {message}\n")


def commands() -> dict[str, Command]:
    """Every command by name."""
    names = sorted(m.name for m in pkgutil.iter_modules(__path__))
    return {name: cast(Command, importlib.import_module(f"{__name__}.{name}")) for name in names}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; its errors become one line and an exit code.

    Args:
        arguments: without the program's name; None for those of this process.
    """
    parser = Parser(prog="conformance", description="Tools around 'pytest suites/ --runtime=PATH'.")
    chosen = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    found = commands()
    for name, command in found.items():
        text = (command.__doc__ or "").strip()
        own = chosen.add_parser(
            name, help=text.partition("\n")[0], description=text, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        command.add_arguments(own)
    options = parser.parse_args(arguments)
    try:
        return found[options.command].run(options)
    except UsageError as error:
        return _said(options.command, error, USAGE)
    except InfrastructureError as error:
        return _said(options.command, error, INFRASTRUCTURE_FAILED)
    except KeyboardInterrupt:
        return INTERRUPTED


def _said(command: str, error: Exception, status: int) -> int:
    print(f"conformance {command}: {error}", file=sys.stderr)
    return status
