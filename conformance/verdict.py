"""From what happened to what it means. Pure: the same inputs give the same verdict,
so ``conformance rejudge`` can apply other expectations to an old run."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from packaging.specifiers import SpecifierSet

from conformance.catalogue import plain_version
from conformance.model import WHOLE_PATH, Expectation, Judged, Race, Raw, Requirement

#: Exit codes of the harness; the first that applies.
INTERRUPTED, USAGE, INFRASTRUCTURE_FAILED, NOT_CONFORMANT, CONFORMANT = 2, 4, 3, 1, 0


@dataclass(frozen=True)
class Situation:
    """What a verdict depends on besides the check itself.

    Attributes:
        path: name of the runtime path.
        components: component to version, as found on the node.
        facts: of the node.
        canary: whether exit codes and traps reach the caller here.
        brought: the user supplied this path's binary.
        strict: ignore expectations.
    """

    path: str
    components: Mapping[str, str]
    facts: Mapping[str, Any]
    canary: Mapping[str, Any]
    brought: bool = False
    strict: bool = False


@dataclass(frozen=True)
class Verdict:
    """A judged outcome, why, and the expectation that decided it."""

    judged: Judged
    reason: str = ""
    expectation: Expectation | None = None


def applicable(
    expectations: Iterable[Expectation], check: str, situation: Situation, observed: Mapping[str, Any]
) -> Expectation | None:
    """The first expectation about this check on this path, these versions and this node.

    One that pins a spec of critest's is about that spec only. One about the whole path goes before any
    other, as long as the path's canary shows what it pins.
    """
    here = [one for one in expectations if _is_about(one, situation)]
    for one in here:
        if one.check == WHOLE_PATH and not differences(one.observed, situation.canary):
            return one
    about = (one for one in here if one.check == check)
    return next((one for one in about if one.observed.get("spec", observed.get("spec")) == observed.get("spec")), None)


def race_met(races: Iterable[Race], situation: Situation, told: str) -> Race | None:
    """The known race that the runtime tells of in ``told``; none where expectations are ignored."""
    if situation.strict:
        return None
    return next((one for one in races if one.said in told and _is_about(one, situation)), None)


def _is_about(one: Expectation | Race, situation: Situation) -> bool:
    versions = situation.components
    return (
        any(fnmatch.fnmatchcase(situation.path, pattern) for pattern in one.paths)
        and all(
            name in versions and plain_version(versions[name]) in SpecifierSet(wanted)
            for name, wanted in one.affects.items()
        )
        and all(situation.facts.get(key) == value for key, value in one.when.items())
    )


def differences(expected: Mapping[str, Any], observed: Mapping[str, Any]) -> list[str]:
    """Each pinned observation that was another one this time, and a guest that is not proven.

    An expectation is about a guest that ran where the path says; a runtime that runs
    something else must not hide behind it.
    """
    spoke = ["a guest spoke that is not proven"] if observed.get("unproven") and "unproven" not in expected else []
    return spoke + [
        f"{key} is {observed.get(key)!r}, expected {value!r}"
        for key, value in expected.items()
        if observed.get(key) != value
    ]


def judge(
    raw: Raw, check: str, requirement: Requirement, observed: Mapping[str, Any],
    expectations: Iterable[Expectation], situation: Situation,
) -> Verdict:  # fmt: skip
    """Judge one raw outcome.

    Args:
        raw: what happened.
        check: id in the catalogue.
        requirement: the rule; its basis decides whether a failure can be red.
        observed: the check's observations; ``evidence: exit-code-only`` marks a verdict
            that rests on the exit code alone.
        expectations: all of them.
        situation: path, versions, node.
    """
    if raw in (Raw.ERROR, Raw.NOT_RUN, Raw.SKIPPED):
        return Verdict(Judged(raw.value))
    entry = None if situation.strict else applicable(expectations, check, situation, observed)
    if raw is Raw.PASSED:
        if observed.get("evidence") == "exit-code-only" and situation.canary.get("exit_42") != 42:
            code = situation.canary.get("exit_42")
            return Verdict(Judged.INCONCLUSIVE, f"the exit code is the only evidence, and here 42 arrives as {code}")
        if entry is None or entry.check == WHOLE_PATH or requirement.basis == "project":
            return Verdict(Judged.PASSED)
        if situation.brought:
            return Verdict(Judged.FIXED, f"fixed in the binary you brought: {entry.reason}", entry)
        return Verdict(Judged.UNEXPECTED_PASS, f"{entry.id} expects a failure: {entry.reason}", entry)
    if entry is not None:
        pinned = {} if entry.check == WHOLE_PATH else entry.observed  # what that one pins is the canary
        other = differences(pinned, observed)
        if not other:
            return Verdict(Judged.EXPECTED_FAILURE, entry.reason, entry)
        if requirement.basis != "project":
            return Verdict(Judged.FAILED, f"fails in another way than {entry.id} expects: {'; '.join(other)}", entry)
    if requirement.basis == "project":
        return Verdict(Judged.NOTED, "an observation, not a rule")
    return Verdict(Judged.FAILED)


def exit_status(judged: Iterable[Judged], *, executed: int, interrupted: bool = False) -> int:
    """The exit code of a run; see the table in the README.

    Args:
        judged: outcome of every planned check.
        executed: how many of them really ran.
        interrupted: the user stopped the run.
    """
    outcomes = set(judged)
    if interrupted:
        return INTERRUPTED
    if outcomes & {Judged.ERROR, Judged.NOT_RUN} or not executed:
        return INFRASTRUCTURE_FAILED
    if outcomes & {Judged.FAILED, Judged.UNEXPECTED_PASS}:
        return NOT_CONFORMANT
    return CONFORMANT
