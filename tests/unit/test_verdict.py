"""What an outcome means, and what the harness exits with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from conformance.model import Expectation, Judged, Raw, Requirement
from conformance.verdict import Situation, applicable, exit_status, judge

RULE = Requirement("A-RULE", "a rule", "MUST", "parity", "text", "https://example.org", "x")
OBSERVATION = replace(RULE, basis="project")
KNOWN = Expectation(
    check="a.py::test_a", paths=("crun-*",), observed={"exit_code": 0, "marker": "present"}, reason="codes are lost",
    reviewed="2026-01-01", affects={"crun": "<1.22"}, when={"cgroup_mode": "v1"}, issue="https://example.org/1",
    file=Path("known.yaml"), line=3,
)  # fmt: skip
HERE = Situation(
    path="crun-wasmedge", components={"crun": "1:1.21-1+b2"}, facts={"cgroup_mode": "v1"}, canary={"exit_42": 42},
)  # fmt: skip
ALL_OF_IT = replace(KNOWN, check="*", observed={"starts": False, "exit_42": 101})
DEAD = {"canary": {"starts": False, "exit_42": 101, "trap": 101}}
AS_KNOWN = {"exit_code": 0, "marker": "present", "more": True}


@pytest.mark.parametrize(
    ("raw", "rule", "observed", "situation", "known", "judged"),
    [
        (Raw.PASSED, RULE, {}, {}, (), Judged.PASSED),
        (Raw.FAILED, RULE, {}, {}, (), Judged.FAILED),
        (Raw.ERROR, RULE, {}, {}, (KNOWN,), Judged.ERROR),
        (Raw.NOT_RUN, RULE, {}, {}, (KNOWN,), Judged.NOT_RUN),
        (Raw.SKIPPED, RULE, {}, {}, (KNOWN,), Judged.SKIPPED),
        # a known failure
        (Raw.FAILED, RULE, AS_KNOWN, {}, (KNOWN,), Judged.EXPECTED_FAILURE),
        (Raw.FAILED, RULE, AS_KNOWN, {"brought": True}, (KNOWN,), Judged.EXPECTED_FAILURE),
        (Raw.FAILED, RULE, AS_KNOWN, {"strict": True}, (KNOWN,), Judged.FAILED),
        (Raw.FAILED, RULE, AS_KNOWN | {"exit_code": 1}, {}, (KNOWN,), Judged.FAILED),
        (Raw.FAILED, RULE, {}, {}, (KNOWN,), Judged.FAILED),
        (Raw.FAILED, RULE, AS_KNOWN, {"path": "youki-wasmedge"}, (KNOWN,), Judged.FAILED),
        (Raw.FAILED, RULE, AS_KNOWN, {"components": {"crun": "1.22"}}, (KNOWN,), Judged.FAILED),
        (Raw.FAILED, RULE, AS_KNOWN, {"components": {}}, (KNOWN,), Judged.FAILED),
        (Raw.FAILED, RULE, AS_KNOWN, {"facts": {"cgroup_mode": "v2"}}, (KNOWN,), Judged.FAILED),
        (Raw.FAILED, RULE, AS_KNOWN, {}, (replace(KNOWN, check="b.py::test_b"),), Judged.FAILED),
        # no guest of the path starts, as the canary shows
        (Raw.FAILED, RULE, {}, DEAD, (ALL_OF_IT,), Judged.EXPECTED_FAILURE),
        (Raw.FAILED, RULE, AS_KNOWN | {"exit_code": 1}, DEAD, (KNOWN, ALL_OF_IT), Judged.EXPECTED_FAILURE),
        (Raw.FAILED, RULE, {"unproven": True}, DEAD, (ALL_OF_IT,), Judged.FAILED),
        (Raw.FAILED, RULE, {}, DEAD | {"strict": True}, (ALL_OF_IT,), Judged.FAILED),
        (Raw.FAILED, RULE, {}, {}, (ALL_OF_IT,), Judged.FAILED),
        (Raw.FAILED, RULE, {}, {"canary": {"exit_42": 1, "starts": False}}, (ALL_OF_IT,), Judged.FAILED),
        (Raw.PASSED, RULE, {}, DEAD, (KNOWN, ALL_OF_IT), Judged.PASSED),
        # it passes where a failure is known
        (Raw.PASSED, RULE, {}, {}, (KNOWN,), Judged.UNEXPECTED_PASS),
        (Raw.PASSED, RULE, {}, {"brought": True}, (KNOWN,), Judged.FIXED),
        (Raw.PASSED, RULE, {}, {"strict": True}, (KNOWN,), Judged.PASSED),
        (Raw.PASSED, RULE, {}, {"components": {"crun": "1.22"}}, (KNOWN,), Judged.PASSED),
        # an observation of the project is never red
        (Raw.FAILED, OBSERVATION, {}, {}, (), Judged.NOTED),
        (Raw.FAILED, OBSERVATION, {}, {"strict": True}, (), Judged.NOTED),
        (Raw.FAILED, OBSERVATION, AS_KNOWN, {}, (KNOWN,), Judged.EXPECTED_FAILURE),
        (Raw.FAILED, OBSERVATION, AS_KNOWN | {"exit_code": 1}, {}, (KNOWN,), Judged.NOTED),
        (Raw.PASSED, OBSERVATION, {}, {}, (KNOWN,), Judged.PASSED),
        # only the exit code speaks, and it is not delivered
        (Raw.PASSED, RULE, {"evidence": "exit-code-only"}, {}, (), Judged.PASSED),
        (Raw.PASSED, RULE, {"evidence": "exit-code-only"}, {"canary": {"exit_42": 0}}, (), Judged.INCONCLUSIVE),
        (Raw.PASSED, RULE, {"evidence": "exit-code-only"}, {"canary": {}}, (), Judged.INCONCLUSIVE),
        (Raw.PASSED, RULE, {"evidence": "output"}, {"canary": {"exit_42": 0}}, (), Judged.PASSED),
        (Raw.FAILED, RULE, {"evidence": "exit-code-only"}, {"canary": {"exit_42": 0}}, (), Judged.FAILED),
    ],
)  # fmt: skip
def test_each_outcome_means_one_thing(
    raw: Raw, rule: Requirement, observed: dict[str, Any], situation: dict[str, Any], known: tuple[Expectation, ...],
    judged: Judged,
) -> None:  # fmt: skip
    assert judge(raw, "a.py::test_a", rule, observed, known, replace(HERE, **situation)).judged is judged


def test_another_way_of_failing_says_what_differs() -> None:
    verdict = judge(Raw.FAILED, "a.py::test_a", RULE, AS_KNOWN | {"exit_code": 1}, (KNOWN,), HERE)
    assert verdict.reason == "fails in another way than known.yaml:3 expects: exit_code is 1, expected 0"
    assert verdict.expectation is KNOWN


def test_true_is_not_taken_for_1() -> None:
    entry = replace(KNOWN, observed={"exit_code": 1})
    verdict = judge(Raw.FAILED, "a.py::test_a", RULE, {"exit_code": True}, (entry,), HERE)
    assert verdict.judged is Judged.EXPECTED_FAILURE  # JSON and YAML keep them apart; no observation is of both kinds


def test_the_first_entry_that_applies_decides() -> None:
    other = replace(KNOWN, affects={"crun": ">=1.22"}, line=9)
    assert applicable((other, KNOWN), "a.py::test_a", HERE, {}) is KNOWN
    assert applicable((other,), "a.py::test_a", HERE, {}) is None


def test_an_entry_about_one_spec_says_nothing_about_another() -> None:
    one, two = (replace(KNOWN, observed={"spec": name, "at": "x.go:1"}) for name in "ab")
    assert applicable((one, two), "a.py::test_a", HERE, {"spec": "b"}) is two
    assert applicable((one, two), "a.py::test_a", HERE, {"spec": "c"}) is None
    assert applicable((one, KNOWN), "a.py::test_a", HERE, {}) is KNOWN


@pytest.mark.parametrize(
    ("outcomes", "executed", "interrupted", "status"),
    [
        ([Judged.PASSED], 1, False, 0),
        (
            [Judged.PASSED, Judged.EXPECTED_FAILURE, Judged.NOTED, Judged.FIXED, Judged.SKIPPED, Judged.INCONCLUSIVE],
            5,
            False,
            0,
        ),
        ([Judged.PASSED, Judged.FAILED], 2, False, 1),
        ([Judged.PASSED, Judged.UNEXPECTED_PASS], 2, False, 1),
        ([Judged.FAILED, Judged.ERROR], 1, False, 3),
        ([Judged.FAILED, Judged.NOT_RUN], 1, False, 3),
        ([], 0, False, 3),
        ([Judged.SKIPPED], 0, False, 3),
        ([Judged.FAILED, Judged.ERROR], 1, True, 2),
        ([], 0, True, 2),
    ],
)
def test_the_exit_code_is_the_first_that_applies(
    outcomes: list[Judged], executed: int, interrupted: bool, status: int
) -> None:
    assert exit_status(outcomes, executed=executed, interrupted=interrupted) == status
