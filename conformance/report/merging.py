"""One run made of many: the jobs of a CI pipeline, each with a path or a part of the suite. Pure.

A path that was tried on several testbeds becomes one path for each of them, ``NAME@TESTBED``. Anything
else that would count a check twice is refused, except for a path that only runs along (a control, or
the path one layer down): there the worse verdict stays.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from conformance.errors import UsageError
from conformance.model import Judged, Raw
from conformance.report import results
from conformance.report.journal import VERSION, Row, Run
from conformance.verdict import CONFORMANT, INFRASTRUCTURE_FAILED, INTERRUPTED, NOT_CONFORMANT

#: From the best to the worst.
_RANK = [
    Judged.PASSED, Judged.FIXED, Judged.SKIPPED, Judged.NOTED, Judged.EXPECTED_FAILURE, Judged.INCONCLUSIVE,
    Judged.UNEXPECTED_PASS, Judged.FAILED, Judged.NOT_RUN, Judged.ERROR,
]  # fmt: skip
#: The first that any of the runs ended with.
_STATUS = (INTERRUPTED, INFRASTRUCTURE_FAILED, NOT_CONFORMANT, CONFORMANT)


@dataclass(frozen=True)
class Merged:
    """The lines of the new journal, and its plan.

    Attributes:
        header: of the new run; ``run.merged`` lists the runs it was made of.
        facts: one ``path`` line per path that was opened.
        planned: rows of ``plan.json``.
        records: without those that have no result.
        end: the last line; None where one of the runs has none.
        status: what the new run ends with: the gravest of its runs.
    """

    header: Row
    facts: tuple[Row, ...]
    planned: tuple[Row, ...]
    records: tuple[Row, ...]
    end: Row | None
    status: int


@dataclass(frozen=True)
class _Renamed:
    """A run with the names that its paths have in the merged one."""

    run: Run
    names: dict[str, str]

    def path(self, name: str) -> Row:
        """The header's description, with the new names of control and path below."""
        row = self.run.paths[name]
        return row | {key: self.names.get(row.get(key) or "", row.get(key)) for key in ("control", "below")}

    def record(self, record: Row) -> Row:
        """A record with the new name of its path; one of the session is marked with its run."""
        name = record["path"]
        if name not in self.names:
            return record | {"id": f"{record['id']}[{self.run.run['id']}]"}
        brackets = record["id"].removeprefix(record["check"])
        new = self.names[name]
        return record | {"path": new, "id": record["check"] + brackets.replace(f"[{name}", f"[{new}", 1)}

    def along(self) -> set[str]:
        """New names of paths that are the control of another path here, or the one below it."""
        rows = [self.path(name) for name in self.run.paths]
        return {row[key] for row in rows for key in ("control", "below") if row[key]}


def merge(runs: Sequence[Run], new_id: str) -> Merged:
    """Make one run of many.

    Args:
        runs: as read, in the order in which their records are to appear.
        new_id: id of the new run.

    Raises:
        UsageError: a run is given twice; some are strict and some are not; a path, a rule, a version or a binary
            that was brought is not the same in two runs; a check of a path was asked for in two runs.
    """
    _refuse_mixtures(runs)
    renamed = [_Renamed(run, names) for run, names in zip(runs, _names(runs), strict=True)]
    paths = _paths(renamed)
    facts = _facts(renamed)
    _refuse_other_binaries(renamed)
    records = _records(renamed)
    ended = [run.end for run in runs]
    status = next(code for code in _STATUS if code in {_status(run) for run in runs})
    end = None
    if all(ended):
        finished = max(str(row.get("finished") or "") for row in ended if row)
        interrupted = any(bool(row.get("interrupted")) for row in ended if row)
        end = {"kind": "end", "finished": finished, "exit_status": status, "interrupted": interrupted}
    return Merged(
        header={
            "kind": "header", "version": VERSION, "run": _run(runs, new_id), "paths": paths,
            "requirements": _requirements(runs),
        },
        facts=tuple(facts.values()),
        planned=tuple({key: row[key] for key in ("id", "check", "path", "requirement")} for row in records.values()),
        records=tuple(row for row in records.values() if row["started"] is not None or row["raw"] != Raw.NOT_RUN),
        end=end,
        status=status,
    )  # fmt: skip


def plain_name(text: str) -> str:
    """``text`` as a word for a path's or a file's name: ``ssh://root@10.0.0.2:22`` is ``ssh-root-10-0-0-2-22``."""
    return re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-")


def _refuse_mixtures(runs: Sequence[Run]) -> None:
    seen: dict[str, Run] = {}
    for run in runs:
        for part in run.run.get("merged") or [run.run]:
            if part["id"] in seen:
                raise UsageError(f"{run.directory}: run {part['id']} is in {seen[part['id']].directory} already")
            seen[part["id"]] = run
        if bool(run.run.get("strict")) != bool(runs[0].run.get("strict")):
            raise UsageError(
                f"{run.directory}: one run is strict and {runs[0].directory} is not, or the other way round"
            )


def _names(runs: Sequence[Run]) -> list[dict[str, str]]:
    """For each run the new names of its paths."""
    testbeds: dict[str, set[str]] = {}
    for run in runs:
        for name in run.paths:
            testbeds.setdefault(name, set()).add(str(run.run["testbed"]))
    return [
        {
            name: f"{name}@{plain_name(str(run.run['testbed']))}" if len(testbeds[name]) > 1 else name
            for name in run.paths
        }
        for run in runs
    ]


def _paths(runs: Sequence[_Renamed]) -> dict[str, Row]:
    found: dict[str, Row] = {}
    first: dict[str, tuple[Row, Run]] = {}
    for one in runs:
        for name, new in one.names.items():
            described, where = first.setdefault(new, (one.run.paths[name], one.run))
            if described != one.run.paths[name]:
                raise UsageError(
                    f"path '{new}' is described differently in {where.directory} and {one.run.directory}: "
                    "merge runs of one suite"
                )
            found.setdefault(new, one.path(name))
    return found


def _requirements(runs: Sequence[Run]) -> dict[str, Row]:
    found: dict[str, Row] = {}
    for run in runs:
        for name, rule in run.requirements.items():
            if found.setdefault(name, rule) != rule:
                raise UsageError(
                    f"{run.directory}: requirement '{name}' has another text there: merge runs of one suite"
                )
    return found


def _facts(runs: Sequence[_Renamed]) -> dict[str, Row]:
    """Facts by path; of several runs those of the first, after a look at versions and digests."""
    found: dict[str, tuple[Row, Run]] = {}
    for one in runs:
        for name, facts in one.run.facts.items():
            new = one.names.get(name, name)
            first, where = found.setdefault(new, (facts | {"path": new}, one.run))
            for part in ("components", "digests"):
                for key in sorted({*first.get(part, {}), *facts.get(part, {})}):
                    a, b = first.get(part, {}).get(key), facts.get(part, {}).get(key)
                    if a != b:
                        raise UsageError(
                            f"path '{new}': {key} is {a} in {where.directory} and {b} in {one.run.directory}: "
                            "use conformance compare for two versions"
                        )
    return {name: facts for name, (facts, _) in found.items()}


def _refuse_other_binaries(runs: Sequence[_Renamed]) -> None:
    """A component that was brought counts for all paths that use it, so all runs of these must have it."""
    for one in runs:
        for component, binary in (one.run.run.get("brought") or {}).items():
            for other in runs:
                same = (other.run.run.get("brought") or {}).get(component, {}).get("sha256") == binary.get("sha256")
                if not same and set(binary.get("paths", ())) & set(other.run.paths):
                    raise UsageError(
                        f"{component} was brought in {one.run.directory}, and in {other.run.directory} it is another: "
                        "use conformance compare for two binaries"
                    )


def _records(runs: Sequence[_Renamed]) -> dict[str, Row]:
    found: dict[str, tuple[Row, _Renamed]] = {}
    for one in runs:
        along = one.along()
        for record in map(one.record, one.run.records):
            if record["id"] not in found:
                found[record["id"]] = (record, one)
                continue
            first, where = found[record["id"]]
            if record["path"] not in along and record["path"] not in where.along():
                raise UsageError(
                    f"{record['id']} is in {where.run.directory} and in {one.run.directory}: a check counts once"
                )
            found[record["id"]] = _one_of((first, where), (record, one))
    return {key: record for key, (record, _) in found.items()}


def _one_of(first: tuple[Row, _Renamed], second: tuple[Row, _Renamed]) -> tuple[Row, _Renamed]:
    """Of two records of a path that runs along the worse one, which then says what the other was."""
    better, worse = sorted((first, second), key=lambda pair: _rank(pair[0]["judged"]))
    if better[0]["judged"] == worse[0]["judged"]:
        return first
    note = f"{better[0]['judged']} in run {better[1].run.run['id']}"
    reason = "; ".join(part for part in (worse[0]["reason"], note) if part)
    return worse[0] | {"reason": reason}, worse[1]


def _rank(judged: str) -> int:
    """How bad an outcome is; a word that this version does not know is the worst."""
    return _RANK.index(Judged(judged)) if judged in _RANK else len(_RANK)


def _status(run: Run) -> int:
    """What a run ended with, or what its records mean where that is graver or it did not end."""
    own = results.exit_status(list(run.records), interrupted=bool((run.end or {}).get("interrupted")))
    recorded = (run.end or {}).get("exit_status", own)
    return min((own, recorded), key=_STATUS.index) if recorded in _STATUS else own


def _run(runs: Sequence[Run], new_id: str) -> Row:
    headers = [run.run for run in runs]
    brought = {name: binary for header in headers for name, binary in (header.get("brought") or {}).items()}
    corpora = {header.get("corpus") for header in headers}
    return {
        "id": new_id,
        "started": min(str(header["started"]) for header in headers),
        "harness": _joined(header["harness"] for header in headers),
        "harness_commit": _joined(header.get("harness_commit") for header in headers) or None,
        "argv": ["conformance", "merge", *(run.directory.name for run in runs)],
        "testbed": _joined(header["testbed"] for header in headers),
        "strict": bool(headers[0].get("strict")),
        "workers": sum(int(header.get("workers", 1)) for header in headers),
        "brought": brought,
        "corpus": corpora.pop() if len(corpora) == 1 else None,
        "merged": [part for run in runs for part in _parts(run)],
    }


def _parts(run: Run) -> list[Row]:
    """What is kept of a run's own header; of one that was merged already, what that had kept."""
    header = run.run
    if header.get("merged"):
        return list(header["merged"])
    keys = ("id", "started", "harness", "harness_commit", "argv", "testbed", "workers", "corpus")
    kept = {key: header.get(key) for key in keys}
    return [kept | {"finished": (run.end or {}).get("finished"), "exit_status": _status(run), "notes": list(run.notes)}]


def _joined(words: Iterator[str | None]) -> str:
    return ", ".join(dict.fromkeys(word for word in words if word))
