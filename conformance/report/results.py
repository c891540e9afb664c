"""One run as one document: ``results.json``. All other reports are views of it."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import jsonschema

from conformance import verdict
from conformance.errors import InfrastructureError
from conformance.model import Judged, Raw, SkipReason
from conformance.report import profiles
from conformance.report.journal import Row, Run

VERSION = 1
LEVELS = ("MUST", "SHOULD", "MAY")
_TRIED = (Raw.PASSED, Raw.FAILED)


@dataclass(frozen=True)
class Share:
    """``passed`` of ``of`` checks, before anybody's expectations."""

    passed: int
    of: int

    def __str__(self) -> str:
        return f"{self.passed} of {self.of}"


@dataclass(frozen=True)
class Tally:
    """Counts over some records.

    Attributes:
        judged: number of records per judged outcome, zeros included.
        skipped: number of skipped records per reason code, zeros included.
        conformance: per level, checks that hold of those tried; project observations are left out, an
            inconclusive check counts as not passed. Levels without a check are left out.
        seconds: sum of the checks' own times.
    """

    judged: dict[str, int]
    skipped: dict[str, int]
    conformance: dict[str, Share]
    seconds: float


def tally(records: list[Row], requirements: dict[str, Row]) -> Tally:
    """Count ``records``.

    Args:
        records: of one path, or of the whole run.
        requirements: by id; they give level and basis.
    """
    judged = Counter(record["judged"] for record in records)
    skipped = Counter(record["skip_reason"] for record in records if record["judged"] == Judged.SKIPPED)
    passed: Counter[str] = Counter()
    tried: Counter[str] = Counter()
    for record in records:
        requirement = requirements.get(record["requirement"])
        if requirement is None or requirement["basis"] == "project" or record["raw"] not in _TRIED:
            continue
        tried[requirement["level"]] += 1
        passed[requirement["level"]] += record["raw"] == Raw.PASSED and record["judged"] != Judged.INCONCLUSIVE
    return Tally(
        judged={outcome.value: judged[outcome] for outcome in Judged},
        skipped={reason.value: skipped[reason] for reason in SkipReason},
        conformance={level: Share(passed[level], tried[level]) for level in LEVELS if tried[level]},
        seconds=round(sum(record["times"].get("check_seconds") or 0.0 for record in records), 6),
    )


def exit_status(records: list[Row], *, interrupted: bool) -> int:
    """What ``pytest`` exits with: 2 interrupted, 3 infrastructure, 1 non-conformance, 0.

    Args:
        records: all records of the run, those without a result included.
        interrupted: somebody pressed Ctrl-C.
    """
    executed = sum(record["raw"] in _TRIED for record in records)
    # a word that nobody knows is no verdict
    judged = (Judged(r["judged"]) if r["judged"] in set(Judged) else Judged.ERROR for r in records)
    return verdict.exit_status(judged, executed=executed, interrupted=interrupted)


def results(run: Run) -> Row:
    """Merge everything a run left into one document.

    Args:
        run: from :func:`conformance.report.journal.read`.

    Returns:
        A value for JSON as ``results.schema.json`` describes it. Paths are ordered so that a control follows the
        first path it belongs to.
    """
    records = _compared(run)
    by_path = {name: [r for r in records if r["path"] == name] for name in _ordered(run.paths)}
    end = run.end or {}
    status = exit_status(records, interrupted=bool(end.get("interrupted")))
    recorded = end.get("exit_status")
    notes = [*run.notes, *(note for facts in run.facts.values() for note in facts.get("notes", ()))]
    notes += [f"{r['id']} was tried again: {race}" for r in records for race in r["observations"].get("races", ())]
    if recorded is not None and recorded != status:
        notes.append(f"the run ended with exit status {recorded}; its records mean {status}")
    return {
        "version": VERSION,
        "run": run.run | {"finished": end.get("finished"), "interrupted": bool(end.get("interrupted"))},
        "exit_status": status,
        "recorded_exit_status": recorded,
        "notes": notes,
        "paths": {name: _path(run, name, rows) for name, rows in by_path.items()},
        "requirements": {
            name: requirement | {"profiles": list(profiles.of(requirement))}
            for name, requirement in run.requirements.items()
        },
        "differing": _differing(run, records),
        "records": records,
        # Levels of different paths do not add up to anything, so the total has none.
        "tally": dataclasses.asdict(dataclasses.replace(tally(records, run.requirements), conformance={})),
    }


def text(document: Row) -> str:
    """``document`` as the text of ``results.json``, checked against the schema.

    Args:
        document: from :func:`results`.

    Raises:
        InfrastructureError: a record is not as the format says; the message names the place.
    """
    error = next(iter(_validator().iter_errors(document)), None)
    if error is not None:
        raise InfrastructureError(
            f"results.json: {error.json_path}: {error.message[:300]}",
            hint="the journal is intact; correct what writes this field, then conformance render",
        )
    return json.dumps(document, indent=1, allow_nan=False) + "\n"


@cache
def _validator() -> jsonschema.Draft202012Validator:
    schema = resources.files(__package__).joinpath("results.schema.json").read_text(encoding="utf-8")
    return jsonschema.Draft202012Validator(json.loads(schema))


def _path(run: Run, name: str, records: list[Row]) -> Row:
    facts = run.facts.get(name)
    return run.paths[name] | {
        "facts": facts and {key: value for key, value in facts.items() if key not in ("kind", "path")},
        "broken": _broken(records),
        "profiles": {
            profile: {**dataclasses.asdict(use), "broken": list(use.broken)}
            for profile in profiles.PROFILES
            for use in [profiles.usability(profile, records, run.requirements)]
        },
        "tally": dataclasses.asdict(tally(records, run.requirements)),
    }


def _broken(records: list[Row]) -> Row | None:
    """The expectation that covers a whole path, where no guest ever starts.

    An ordinary entry is about one check, so one that explains several checks is about the path.
    """
    tried = [r for r in records if r["raw"] in _TRIED]
    entries = {
        r["expectation"]["id"] if r["judged"] == Judged.EXPECTED_FAILURE and r["expectation"] else None for r in tried
    }
    if len(entries) != 1 or None in entries or len({r["check"] for r in tried}) < 2:
        return None
    expectation: Row = tried[0]["expectation"]
    return expectation


def _ordered(paths: dict[str, Row]) -> list[str]:
    """Names with each control right after the first path that it belongs to."""
    controls = {row.get("control") for row in paths.values()}
    order: list[str] = []
    for name in [n for n in paths if n not in controls] + list(paths):
        for one in (name, paths[name].get("control")):
            if one in paths and one not in order:
                order.append(one)
    return order


def _compared(run: Run) -> list[Row]:
    """All records with the verdicts of their control and of the path one layer down."""
    by_id = {record["id"]: record for record in run.records}
    by_check: dict[tuple[str, str], list[Row]] = {}
    by_requirement: dict[tuple[str, str], list[Row]] = {}
    for record in run.records:
        by_check.setdefault((record["path"], record["check"]), []).append(record)
        by_requirement.setdefault((record["path"], record["requirement"]), []).append(record)

    def verdict(record: Row, other: str | None) -> Row | None:
        if not other:
            return None
        # Parametrised checks differ in the brackets only, and there in the path's name.
        twin = record["check"] + record["id"].removeprefix(record["check"]).replace(record["path"], other)
        for candidates in (
            [by_id[twin]] if twin in by_id else [],
            by_check.get((other, record["check"]), []),
            by_requirement.get((other, record["requirement"]), []) if record["requirement"] else [],
        ):
            # A twin that was skipped says nothing: then another check of the same rule is asked.
            tried = sorted((c for c in candidates if c["raw"] in _TRIED), key=lambda c: c["raw"] != Raw.FAILED)
            if tried:
                return _verdict(tried[0])
        untried = by_check.get((other, record["check"]), [])
        return _verdict(untried[0]) if untried else None

    def with_comparison(record: Row) -> Row:
        path = run.paths.get(record["path"], {})
        control = verdict(record, path.get("control"))
        below = verdict(record, path.get("below"))
        failed = record["raw"] == Raw.FAILED
        return {key: value for key, value in record.items() if key != "kind"} | {
            "control": control,
            "differs_from_native": control is not None
            and {record["raw"], control["raw"]} == {Raw.PASSED.value, Raw.FAILED.value},
            "also_fails_natively": failed and control is not None and control["raw"] == Raw.FAILED,
            "below": below,
            "lost_here": failed and below is not None and below["raw"] == Raw.PASSED,
        }

    return [with_comparison(record) for record in run.records]


def _verdict(record: Row) -> Row:
    return {"path": record["path"], "judged": record["judged"], "raw": record["raw"], "record": record["id"]}


def _differing(run: Run, records: list[Row]) -> Row:
    """requirement -> the paths on which it holds and those on which it does not, where there are both.

    Native controls are left out: what differs from them is said on each record.
    """
    controls = {path.get("control") for path in run.paths.values()}
    outcomes: dict[str, dict[str, set[str]]] = {}
    for record in records:
        if record["raw"] in _TRIED and record["requirement"] and record["path"] not in controls:
            outcomes.setdefault(record["requirement"], {}).setdefault(record["path"], set()).add(record["raw"])
    found: Row = {}
    for requirement, by_path in outcomes.items():
        fails = [path for path, raws in by_path.items() if Raw.FAILED in raws]
        holds = [path for path in by_path if path not in fails]
        if fails and holds:
            found[requirement] = {"holds": holds, "fails": fails}
    return found


def words(value: Any) -> str:
    """A value for people: lists with commas, mappings as JSON, ``yes`` and ``no``."""
    match value:
        case bool():
            return "yes" if value else "no"
        case list() | tuple():
            return ", ".join(map(str, value))
        case dict():
            return json.dumps(value, sort_keys=True)
        case _:
            return str(value)
