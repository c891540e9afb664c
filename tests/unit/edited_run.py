"""Variations of the sample run: another id, testbed, node, version, or some of its checks and paths only."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.unit import sample_run

Row = dict[str, Any]


def write(
    directory: Path,
    *,
    id_: str = "one",
    paths: tuple[str, ...] = ("crun-wasmedge", "crun-native"),
    change: Callable[[Row], Row | None] = lambda row: row,
    status: int | None = 3,
    node: Row | None = None,
    components: Row | None = None,
    **header: Any,
) -> Path:
    """Write a run with only these paths.

    Args:
        directory: made if it is not there.
        id_: of the run.
        paths: of the sample run; no others are in header, plan and records.
        change: gets every record of these; None leaves it out of plan and journal.
        status: in the end line; None for a run that was killed.
        node: facts of every path's node that are others.
        components: the same for versions.
        header: of the ``run`` part of the header.
    """
    directory.mkdir(parents=True, exist_ok=True)
    rows = [changed for row in sample_run.records() if row["path"] in paths and (changed := change(row))]
    first = sample_run.header()
    first["run"] |= {"id": id_, "brought": {}, **header}
    first["paths"] = {name: row for name, row in first["paths"].items() if name in paths}
    lines = [first]
    for path in paths:
        facts = sample_run.path_row(path)
        facts["node"] |= node or {}
        facts["components"] = {**facts["components"], **(components or {})}
        lines.append(facts)
    lines += rows
    if status is not None:
        lines.append(sample_run.end(status))
    planned = [{key: row[key] for key in ("id", "check", "path", "requirement")} for row in rows]
    (directory / "plan.json").write_text(json.dumps({"version": 1, "run": id_, "planned": planned}))
    (directory / "results.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return directory


def with_outcomes(outcomes: dict[str, Row]) -> Callable[[Row], Row]:
    """A change for :func:`write`: what is other in crun-wasmedge's records, by requirement."""

    def change(row: Row) -> Row:
        return row | outcomes.get(row["requirement"], {}) if row["path"] == "crun-wasmedge" else row

    return change
