"""What is made of critest's report: a verdict for each spec, or the reason why there is none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from conformance import catalogue, cri_specs
from conformance.cri_specs import Group, Listed
from conformance.errors import InfrastructureError, UsageError
from conformance.model import Completed
from tests.conftest import REPOSITORY

GOOD, BAD, AWAY = "Pod runs [Conformance]", "Pod stops", "Pod sings"
KNOWN = Listed("1.0", (Group("pod", (GOOD, BAD, AWAY)),), file=Path("specs.yaml"))


def ended(exit_code: int) -> Completed:
    return Completed(("critest",), exit_code, None, False, b"", b"", False, 1.0)


def node(name: str, state: str, message: str = "", kind: str = "It") -> dict[str, Any]:
    context, _, leaf = name.partition(" ")
    failure = {"Message": message, "Location": {"FileName": "/src/pkg/pod.go", "LineNumber": 7}} if message else None
    return {
        "LeafNodeType": kind, "State": state, "RunTime": 1_500_000_000, "LeafNodeText": leaf,
        "ContainerHierarchyTexts": [f"[k8s.io] {context}"], **({"Failure": failure} if failure else {}),
    }  # fmt: skip


def report(*nodes: dict[str, Any], why: list[str] | None = None) -> bytes:
    return json.dumps([{"SpecReports": nodes, "SpecialSuiteFailureReasons": why}]).encode()


def judged(data: bytes, exit_code: int = 0, wanted: tuple[str, ...] = (GOOD, BAD)) -> dict[str, cri_specs.Spec]:
    return cri_specs.judged(data, wanted, KNOWN, ["critest"], ended(exit_code))


GREEN, RED, LEFT_OUT = node(GOOD, "passed"), node(BAD, "failed", "Expected 0\nto equal 1"), node(AWAY, "skipped")


def test_each_spec_has_its_own_verdict() -> None:
    found = judged(report(GREEN, RED, LEFT_OUT), 1)
    assert found[GOOD].failure == ""
    assert found[BAD].failure == "pod.go:7: Expected 0 to equal 1"
    assert found[BAD].seconds == 1.5
    assert list(found) == [GOOD, BAD]


def test_what_differs_from_run_to_run_is_left_out() -> None:
    words = "Timed out after 60.002s. <*url.Error | 0xf61c01ed8c0>: container 0123456789abcdef gone"
    found = judged(report(GREEN, node(BAD, "failed", words), LEFT_OUT), 1)
    assert found[BAD].said == "Timed out after …. <*url.Error | …>: container … gone"


def test_a_spec_that_skips_itself_says_why() -> None:
    found = judged(report(GREEN, node(BAD, "skipped", "no SELinux here"), LEFT_OUT))
    assert (found[BAD].state, found[BAD].said) == ("skipped", "no SELinux here")


@pytest.mark.parametrize(
    ("data", "exit_code", "says"),
    [
        (b"", 0, "critest's report is none: JSONDecodeError"),
        (b"[{}]", 0, "critest's report is none: KeyError"),
        (b"[]", 0, "0 not listed, 2 not there: Pod runs .*, Pod stops"),
        (report(GREEN, LEFT_OUT), 0, "0 not listed, 1 not there: Pod stops"),
        (report(GREEN, RED, LEFT_OUT, node("Pod flies", "passed")), 1, "1 not listed, 0 not there: Pod flies"),
        (report(GREEN, node(BAD, "skipped"), LEFT_OUT), 0, r"did not judge 1 specs: Pod stops \(skipped\)"),
        (report(GREEN, node(BAD, "interrupted", "x"), LEFT_OUT), 1, r"did not judge 1 specs: .* \(interrupted\)"),
        (report(GREEN, node(BAD, "panicked", "x"), LEFT_OUT), 1, r"did not judge 1 specs: .* \(panicked\)"),
        (report(GREEN, RED, LEFT_OUT, why=["Suite Timeout Elapsed"]), 1, "to its end: Suite Timeout Elapsed"),
        (report(node("all of it", "failed", "no socket", "BeforeSuite"), GREEN), 1, "to its end: no socket"),
        (report(GREEN, RED, LEFT_OUT), 0, "ended with exit 0, its report has other results"),
        (report(GREEN, node(BAD, "passed"), LEFT_OUT), 1, "ended with exit 1, its report has other results"),
    ],
)
def test_what_keeps_critest_from_a_verdict_is_an_error(data: bytes, exit_code: int, says: str) -> None:
    with pytest.raises(InfrastructureError, match=says):
        judged(data, exit_code)


def test_a_benchmark_is_no_spec_of_the_list() -> None:
    assert judged(report(GREEN, LEFT_OUT, node("Pod benchmark about pods", "skipped")), wanted=(GOOD,))


def test_the_list_of_ours_has_each_spec_once_and_the_version_of_the_component() -> None:
    known = cri_specs.listed(REPOSITORY / "suites" / "critest" / "specs.yaml")
    assert len(known.texts) == 117
    assert f"version: {known.version}\n" in (REPOSITORY / "vms" / "components" / "cri-tools.yaml").read_text()


def test_each_expectation_about_a_spec_names_one_of_the_list() -> None:
    texts = cri_specs.listed(REPOSITORY / "suites" / "critest" / "specs.yaml").texts
    known = {cri_specs.plain(text) for text in texts}
    entries = catalogue.read(REPOSITORY / "suites").expectations
    about = [one for one in entries if one.check.startswith("critest/")]
    assert [one.id for one in about if one.observed.get("spec") not in known] == []


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[]", "a list of specs is one mapping, found 0"),
        ("version: '1'\ngroups: [{name: a, specs: [b, b]}]", "the spec 'b' is there twice"),
        ("version: '1'\ngroups: [{name: a, specs: [pod]}]\nunavailable: {pods: x}", "did you mean 'pod'?"),
        ("version: '1'\ngroups: [{name: a, spec: [pod]}]", "unknown key 'spec'; did you mean 'specs'?"),
    ],
)
def test_a_mistake_in_the_list_is_told(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "specs.yaml"
    file.write_text(text)
    with pytest.raises(UsageError) as caught:
        cri_specs.listed(file)
    assert str(caught.value).startswith(f"{file}:")
    assert says in str(caught.value)


def test_an_unknown_group_is_told_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="no group 'pods'; did you mean 'pod'?"):
        KNOWN.of("pods")
