"""List the components: version, what each is made of, whether it is built, its size and time.

The time is what building it here took; in brackets, what its recipe says it takes from an empty cache.
"""

from __future__ import annotations

import argparse

from rich.console import Console
from rich.table import Table

from conformance.build import component


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """See :class:`conformance.cli.Command`."""


def run(options: argparse.Namespace) -> int:
    """See :class:`conformance.cli.Command`."""
    table = Table(box=None, pad_edge=False)
    for title, justify in (
        ("component", "left"), ("version", "left"), ("made of", "left"), ("cached", "left"), ("MiB", "right"),
        ("seconds", "right"), ("needs", "left"),
    ):  # fmt: skip
        table.add_column(title, justify=justify, overflow="fold")  # type: ignore[arg-type]
    for name, recipe in component.recipes().items():
        built = component.cached(name)
        made_of = [f"{source.name} {source.version} ({source.kind})" for source in recipe.sources]
        made_of += [f"{recipe.directory} (a crate of ours)"] if recipe.directory else []
        table.add_row(
            name, recipe.version, ", ".join(made_of),
            built.digest[:12] if built else "-", f"{built.mib:.1f}" if built else "-",
            f"{built.seconds:.0f}" if built else f"({recipe.about_seconds})", ", ".join(recipe.needs) or "-",
        )  # fmt: skip
    Console(width=None if Console().is_terminal else 160).print(table)
    return 0
