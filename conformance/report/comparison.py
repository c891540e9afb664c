"""What differs between two runs, and whether a difference is a regression. Pure: two runs in, one value out."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from conformance.documents import nearest
from conformance.errors import UsageError
from conformance.model import INFRASTRUCTURE, RED, Judged, Raw, SkipReason
from conformance.report.journal import Row, Run
from conformance.report.results import tally, words
from conformance.report.summary import why

_TRIED = (Raw.PASSED, Raw.FAILED)
#: Node facts that are measured anew each time.
_MEASURED = ("spawn_seconds",)
#: What a header says that two runs may differ in.
_HEADER = ("testbed", "harness", "harness_commit", "strict", "corpus")


class Kind(StrEnum):
    """What a difference means; in the order in which a reader wants them."""

    #: held and does not any more, or failed as known and now in another way
    REGRESSION = "regression"
    #: did not hold and does now
    FIX = "fix"
    #: raw outcome, verdict, reason of a skip or observations are others, without a direction
    OTHER = "other"
    #: an expectation's ``when:`` or a skip names a node fact, and the nodes differ in it
    EXPLAINED = "explained"


@dataclass(frozen=True)
class Difference:
    """Something around the checks that is not the same.

    Attributes:
        paths: names in the first run that it was seen on; empty when it is about the whole run.
        what: ``component crun``, ``node kernel``, ``sha256 /usr/bin/crun``, ``run testbed``...
        before: value in the first run, as text; empty when there is none.
        after: the same for the second run.
    """

    paths: tuple[str, ...]
    what: str
    before: str
    after: str


@dataclass(frozen=True)
class Change:
    """One check on one path with two outcomes.

    Attributes:
        id: of the record in the second run.
        requirement: id of its rule.
        before: verdict in the first run.
        after: verdict in the second run.
        reason: why it is as it is now, or what explains it; one line.
        observed: each observation that is another one, as ``exit_code 0 -> 42``.
    """

    kind: Kind
    id: str
    requirement: str
    before: str
    after: str
    reason: str
    observed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Lone:
    """A check that only one of the runs has."""

    id: str
    judged: str


@dataclass(frozen=True)
class Comparison:
    """Two runs side by side.

    Attributes:
        before: id of the first run.
        after: id of the second run.
        pairs: compared paths, each with its name in either run.
        unpaired: names of paths that only the first, and only the second, run has.
        conformance: for each pair the raw conformance per level: level, before, after.
        differences: of headers, versions, digests and node facts.
        changes: regressions first.
        only_before: checks that only the first run has, on paths that both have.
        only_after: the same for the second run.
        same: number of checks without any difference.
    """

    before: str
    after: str
    pairs: tuple[tuple[str, str], ...]
    unpaired: tuple[tuple[str, ...], tuple[str, ...]]
    conformance: tuple[tuple[tuple[str, str], tuple[tuple[str, str, str], ...]], ...]
    differences: tuple[Difference, ...]
    changes: tuple[Change, ...]
    only_before: tuple[Lone, ...]
    only_after: tuple[Lone, ...]
    same: int

    def of(self, kind: Kind) -> tuple[Change, ...]:
        """The changes of one kind."""
        return tuple(change for change in self.changes if change.kind is kind)

    def count(self, kind: Kind) -> int:
        """How many changes there are of one kind."""
        return len(self.of(kind))


def compare(before: Run, after: Run, mapping: Mapping[str, str] | None = None) -> Comparison:
    """Compare two runs by check and path.

    Args:
        before: the run that is the measure.
        after: the run that is judged by it.
        mapping: name of a path in ``before`` to the name of the one in ``after`` it is compared with; only these
            are looked at. Without it every path that both runs have.

    Raises:
        UsageError: a named path is not in its run, or there is no check that both runs have.
    """
    pairs = tuple(mapping.items()) if mapping else tuple((name, name) for name in before.paths if name in after.paths)
    for name, run in [(a, before) for a, _ in pairs] + [(b, after) for _, b in pairs]:
        if name not in run.paths:
            close = nearest(name, run.paths)
            guess = f"; did you mean '{close}'?" if close else f" (it has: {', '.join(run.paths)})"
            raise UsageError(f"{run.directory}: has no path '{name}'{guess}")
    changes: list[Change] = []
    only_before: list[Lone] = []
    only_after: list[Lone] = []
    same = 0
    # "-" is the path of what happens before any path is opened
    for a, b in (*pairs, *((("-", "-"),) if not mapping else ())):
        old, new = _by_check(before, a), _by_check(after, b)
        nodes = _facts(before, a).get("node", {}), _facts(after, b).get("node", {})
        for key, record in new.items():
            if key not in old:
                only_after.append(Lone(record["id"], record["judged"]))
            elif change := _change(old[key], record, nodes):
                changes.append(change)
            else:
                same += 1
        only_before += [Lone(record["id"], record["judged"]) for key, record in old.items() if key not in new]
    if not changes and not same:
        raise UsageError(f"nothing to compare: no check on a path is in both {before.directory} and {after.directory}")
    return Comparison(
        before=str(before.run["id"]),
        after=str(after.run["id"]),
        pairs=pairs,
        unpaired=((), ()) if mapping else (_missing(before, after), _missing(after, before)),
        conformance=tuple((pair, _conformance(before, after, pair)) for pair in pairs),
        differences=tuple(_differences(before, after, pairs)),
        changes=tuple(sorted(changes, key=lambda change: list(Kind).index(change.kind))),
        only_before=tuple(only_before),
        only_after=tuple(only_after),
        same=same,
    )


def _by_check(run: Run, path: str) -> dict[tuple[str, str], Row]:
    """Records of a path by check and what else is in the brackets (the name of a user's module)."""
    found = {}
    for record in run.records:
        if record["path"] == path:
            brackets = record["id"].removeprefix(record["check"]).strip("[]")
            found[record["check"], brackets.removeprefix(path).strip("-")] = record
    return found


def _missing(run: Run, other: Run) -> tuple[str, ...]:
    return tuple(name for name in run.paths if name not in other.paths)


def _facts(run: Run, path: str) -> Row:
    return run.facts.get(path, {})


# ---- one check


def _change(before: Row, after: Row, nodes: tuple[Row, Row]) -> Change | None:
    # a check that was not tried on one side has nothing to show there
    tried = before["raw"] in _TRIED and after["raw"] in _TRIED
    observed = tuple(_observed(before["observations"], after["observations"])) if tried else ()
    keys = ("raw", "judged", "skip_reason")
    if not observed and all(before[key] == after[key] for key in keys):
        return None
    explanation = _explanation(before, after, nodes)
    if explanation:
        kind = Kind.EXPLAINED
    elif _worse(before, after, bool(observed)):
        kind = Kind.REGRESSION
    elif _holds(after) and not _holds(before) and not _says_nothing(before):
        kind = Kind.FIX
    else:
        kind = Kind.OTHER
    reason = explanation or ("" if after["judged"] == Judged.PASSED else why(after))
    return Change(kind, after["id"], after["requirement"], before["judged"], after["judged"], reason, observed)


def _observed(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    for key in [*before, *(key for key in after if key not in before)]:
        # whether a known race struck is chance, and the check was tried again
        if key != "races" and before.get(key) != after.get(key):
            yield f"{key} {_shown(before.get(key))} -> {_shown(after.get(key))}"


def _shown(value: Any) -> str:
    """A value as one line that is not much longer than a line."""
    text = str(value) if isinstance(value, (str, int, float)) else "-" if value is None else repr(value)
    text = " ".join(text.split())
    return text if len(text) <= 80 else f"{text[:60]}[...{len(text) - 60} more]"


def _holds(record: Row) -> bool:
    return bool(record["raw"] == Raw.PASSED and record["judged"] != Judged.INCONCLUSIVE)


def _says_nothing(record: Row) -> bool:
    """Skipped, or an observation that no rule asks for."""
    return record["judged"] in (Judged.SKIPPED, Judged.NOTED)


def _worse(before: Row, after: Row, otherwise: bool) -> bool:
    """Whether what was in order is not any more.

    A check that held and fails now is worse also where somebody expects the failure by now. One that
    failed as expected is worse when it fails in another way or gives no result; where only the
    expectation went away nothing happened to the runtime.
    """
    if _says_nothing(after):
        return False
    if _holds(before):
        return not _holds(after)
    in_order = before["raw"] in _TRIED and before["judged"] not in RED | INFRASTRUCTURE
    out_of_order = after["judged"] == Judged.FAILED or after["judged"] in INFRASTRUCTURE
    return in_order and out_of_order and bool(otherwise or before["raw"] != after["raw"])


def _explanation(before: Row, after: Row, nodes: tuple[Row, Row]) -> str:
    """The node fact that accounts for a difference, in one line; empty when none does.

    What is red or an error on either side is never explained: no entry covers it.
    """
    if {before["judged"], after["judged"]} & (RED | INFRASTRUCTURE):
        return ""
    for record, other in ((after, nodes[0]), (before, nodes[1])):
        entry = record["expectation"] or {}
        apart = {key: value for key, value in (entry.get("when") or {}).items() if other.get(key) != value}
        if record["judged"] == Judged.EXPECTED_FAILURE and apart:
            facts = ", ".join(f"{key} {_words(value)}" for key, value in apart.items())
            return f"with {facts} {entry['id']} expects a failure: {entry['reason']}"
        if record["skip_reason"] == SkipReason.UNAVAILABLE and _lacking(record) & _apart(*nodes):
            return str(record["reason"])
    return ""


def _lacking(record: Row) -> set[str]:
    """Names of the node facts that a skip speaks of: ``the node has no cgroup:cpuset, apparmor``."""
    named = re.search(r"the node has no (.+)", record["reason"])
    names = {name.strip().partition(":")[0] for name in named[1].split(",")} if named else set()
    return {"controllers" if name == "cgroup" else name for name in names}


def _apart(before: Row, after: Row) -> set[str]:
    """Names of facts in which two nodes differ."""
    return {key for key in {*before, *after} if before.get(key) != after.get(key)}


# ---- what surrounds the checks


def _conformance(before: Run, after: Run, pair: tuple[str, str]) -> tuple[tuple[str, str, str], ...]:
    old, new = (
        tally([record for record in run.records if record["path"] == name], run.requirements).conformance
        for run, name in zip((before, after), pair, strict=True)
    )
    levels = dict.fromkeys([*old, *new])
    return tuple((level, str(old.get(level, "none tried")), str(new.get(level, "none tried"))) for level in levels)


def _differences(before: Run, after: Run, pairs: tuple[tuple[str, str], ...]) -> Iterator[Difference]:
    for key in _HEADER:
        a, b = before.run.get(key), after.run.get(key)
        if a != b:
            yield Difference((), f"run {key.replace('_', ' ')}", _words(a), _words(b))
    a, b = (run.run.get("brought") or {} for run in (before, after))
    for name in dict.fromkeys([*a, *b]):
        digests = [str(brought.get(name, {}).get("sha256", "")) for brought in (a, b)]
        if digests[0] != digests[1]:
            yield Difference((), f"brought {name}", digests[0][:12], digests[1][:12])
    found: dict[tuple[str, str, str], list[str]] = {}
    for pair in pairs:
        for difference in _path_differences(_facts(before, pair[0]), _facts(after, pair[1])):
            found.setdefault(difference, []).append(pair[0])
    # what all paths share was said once by the node; the order is that of the first path
    for (what, old, new), paths in found.items():
        yield Difference(tuple(paths), what, old, new)


def _path_differences(before: Row, after: Row) -> Iterator[tuple[str, str, str]]:
    for part, word in (("components", "component"), ("node", "node"), ("canary", "canary"), ("digests", "sha256")):
        a, b = before.get(part) or {}, after.get(part) or {}
        for key in dict.fromkeys([*a, *b]):
            if a.get(key) != b.get(key) and key not in _MEASURED:
                values = [_words(side.get(key)) for side in (a, b)]
                values = [value[:12] for value in values] if part == "digests" else values
                yield f"{word} {key.replace('_', ' ') if part == 'node' else key}", values[0], values[1]


def _words(value: Any) -> str:
    """A value for people; nothing for what is not there."""
    return "" if value is None else words(value)
