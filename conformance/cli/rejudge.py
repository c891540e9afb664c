"""Judge a stored run again, with other expectations or with none.

Nothing is run: raw outcomes and observations are taken as recorded. The result is a run
directory of its own beside the old one; the exit code is what that run means.
"""

from __future__ import annotations

import argparse
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from packaging.specifiers import InvalidSpecifier
from rich.console import Console
from rich.table import Table

from conformance import record as records
from conformance.cli.replay import REPOSITORY
from conformance.documents import fill, load
from conformance.errors import UsageError
from conformance.model import Expectation, Judged, Raw, Requirement
from conformance.report import journal, results
from conformance.report.render import render
from conformance.verdict import Situation, judge


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """See :class:`conformance.cli.Command`."""
    parser.add_argument("directory", type=Path, metavar="DIR", help="a run's directory")
    parser.add_argument(
        "--expectations", type=Path, default=REPOSITORY / "suites" / "expectations", metavar="DIR",
        help="holds the YAML files to judge by (default: suites/expectations)",
    )  # fmt: skip
    parser.add_argument("--strict", action="store_true", help="judge without any expectation")


def run(options: argparse.Namespace) -> int:
    """See :class:`conformance.cli.Command`."""
    old = journal.read(options.directory.resolve())
    expectations = () if options.strict else read_expectations(options.expectations)
    judged = list(_judged(old, expectations, options.strict))
    _show(old, judged)
    directory = _beside(old.directory)
    _write(old, judged, directory, options.strict)
    render(directory)
    print(f"{directory}/")
    return results.exit_status(judged, interrupted=bool(old.end and old.end["interrupted"]))


def read_expectations(directory: Path) -> tuple[Expectation, ...]:
    """The entries of a directory, on their own: a stored run may hold few of the checks they name.

    Raises:
        UsageError: no such directory, or a mistake in a file.
    """
    if not directory.is_dir():
        raise UsageError(f"--expectations: {directory} is not a directory")
    return tuple(fill(Expectation, row, file) for file in sorted(directory.glob("*.yaml")) for row in load(file))


def _judged(old: journal.Run, expectations: tuple[Expectation, ...], strict: bool) -> Iterator[journal.Row]:
    for row in old.records:
        rule = old.requirements.get(row["requirement"])
        if rule is None:
            yield row  # preparation of the node: an error stays one
            continue
        try:
            verdict = judge(
                Raw(row["raw"]), row["check"], Requirement(id=row["requirement"], **_fields(rule)), row["observations"],
                expectations, _situation(old, row["path"], strict),
            )  # fmt: skip
        except InvalidSpecifier as error:
            raise UsageError(f"--expectations: {error}") from error
        yield row | {
            "judged": verdict.judged.value,
            "reason": verdict.reason or row["message"].partition("\n")[0] or row["reason"] * (row["raw"] != Raw.PASSED),
            "expectation": records.of_expectation(verdict.expectation),
        }


def _fields(rule: journal.Row) -> dict[str, Any]:
    wanted = Requirement.__dataclass_fields__
    return {key: tuple(value) if key == "profiles" else value for key, value in rule.items() if key in wanted}


def _situation(old: journal.Run, path: str, strict: bool) -> Situation:
    facts = old.facts.get(path, {})
    return Situation(
        path=path,
        components=facts.get("components", {}),
        facts=facts.get("node", {}),
        canary=facts.get("canary", {}),
        brought=any(path in one.get("paths", ()) for one in old.run["brought"].values()),
        strict=strict,
    )


def _show(old: journal.Run, judged: list[journal.Row]) -> None:
    changed = [(a, b) for a, b in zip(old.records, judged, strict=True) if a["judged"] != b["judged"]]
    if not changed:
        print("every verdict stays as it was")
        return
    table = Table("check", "was", "is", "why", box=None)
    for before, after in changed:
        table.add_row(*(_plain(text) for text in (after["id"], before["judged"], after["judged"], after["reason"])))
    # as wide as it needs to be where nobody sees a terminal: a log must not cut an id
    console = Console()
    console = console if console.is_terminal else Console(width=400)
    console.print(table)
    counts = Counter(Judged(row["judged"]).value for row in judged)
    print(", ".join(f"{count} {name}" for name, count in counts.items()))


def _plain(text: str) -> str:
    return text.replace("[", "\\[")  # not one of rich's tags


def _beside(directory: Path) -> Path:
    number = 1
    while True:
        place = directory.with_name(f"{directory.name}-rejudged-{number}")
        try:
            place.mkdir()
        except FileExistsError:
            number += 1
            continue
        return place


def _write(old: journal.Run, judged: list[journal.Row], directory: Path, strict: bool) -> None:
    if (old.directory / journal.PLAN).exists():
        shutil.copyfile(old.directory / journal.PLAN, directory / journal.PLAN)
    with journal.Journal(directory) as written:
        header = {"kind": "header", "version": journal.VERSION, "paths": old.paths, "requirements": old.requirements}
        written.write(header | {"run": old.run | {"strict": strict}})
        for facts in old.facts.values():
            written.write(facts)
        for row in judged:
            if row["started"] is not None or row["raw"] != Raw.NOT_RUN:
                written.write(row)
        if old.end is not None:
            status = results.exit_status(judged, interrupted=bool(old.end["interrupted"]))
            written.write(old.end | {"exit_status": status})
