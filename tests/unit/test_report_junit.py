"""junit.xml is valid, is read alike by everybody, and has no pass that is not one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import junitparser
import pytest
from lxml import etree

from conformance.model import Judged
from conformance.report import journal, junit
from conformance.report.results import results
from tests.unit import sample_run

Row = dict[str, Any]
SCHEMA = Path(junit.__file__).with_name("junit.xsd")

#: judged outcome -> element in the test case
ELEMENTS = {
    Judged.PASSED: None,
    Judged.FIXED: None,
    Judged.FAILED: "failure",
    Judged.UNEXPECTED_PASS: "failure",
    Judged.ERROR: "error",
    Judged.NOT_RUN: "error",
    Judged.SKIPPED: "skipped",
    Judged.EXPECTED_FAILURE: "skipped",
    Judged.NOTED: "skipped",
    Judged.INCONCLUSIVE: "skipped",
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> journal.Run:
    return journal.read(sample_run.write(tmp_path_factory.mktemp("run")))


@pytest.fixture(scope="module")
def xml(run: journal.Run) -> str:
    return junit.document(run)


@pytest.fixture(scope="module")
def root(xml: str) -> ElementTree.Element:
    return ElementTree.fromstring(xml.encode())


def as_jenkins_reads(root: ElementTree.Element) -> Counter[str]:
    """Outcomes by Jenkins' rules: error and failure are failures, skipped needs its element, the rest passed."""
    outcomes: Counter[str] = Counter()
    for case in root.iter("testcase"):
        if case.find("skipped") is not None:
            outcomes["skipped"] += 1
        elif case.find("error") is not None or case.find("failure") is not None:
            outcomes["failed"] += 1
        else:
            outcomes["passed"] += 1
    return outcomes


def case_of(root: ElementTree.Element, path: str, requirement: str) -> ElementTree.Element:
    check = next(row["check"] for row in sample_run.checks() if row["requirement"] == requirement)
    name = f"{check.rpartition('::')[2]}[{path}]"
    return next(case for case in root.iter("testcase") if case.get("name") == name)


def validate(xml: str) -> None:
    etree.XMLSchema(etree.parse(SCHEMA)).assertValid(etree.fromstring(xml.encode()))


def test_it_follows_the_schema(xml: str) -> None:
    validate(xml)


def test_each_outcome_is_the_element_that_it_should_be(run: journal.Run, root: ElementTree.Element) -> None:
    cases = {(case.get("name"), case.get("classname")): case for case in root.iter("testcase")}
    assert len(cases) == len(run.records)
    for record in run.records:
        case = next(c for (name, _), c in cases.items() if name == record["id"].rpartition("::")[2])
        elements = [child.tag for child in case if child.tag in ("failure", "error", "skipped")]
        wanted = ELEMENTS[Judged(record["judged"])]
        assert elements == ([wanted] if wanted else []), record["id"]


def test_nothing_but_a_pass_is_without_message_and_text(root: ElementTree.Element) -> None:
    for case in root.iter("testcase"):
        for child in case:
            if child.tag in ("failure", "error", "skipped"):
                assert child.get("message")
                assert child.get("type")
                assert (child.text or "").strip()


def test_three_readers_count_alike(run: journal.Run, xml: str, root: ElementTree.Element, tmp_path: Path) -> None:
    judged = Counter(ELEMENTS[Judged(record["judged"])] for record in run.records)
    assert {key: int(root.attrib[key]) for key in ("tests", "failures", "errors", "skipped")} == {
        "tests": len(run.records),
        "failures": judged["failure"],
        "errors": judged["error"],
        "skipped": judged["skipped"],
    }
    jenkins = as_jenkins_reads(root)
    assert jenkins == {
        "passed": judged[None],
        "failed": judged["failure"] + judged["error"],
        "skipped": judged["skipped"],
    }
    (tmp_path / "junit.xml").write_text(xml, encoding="utf-8")
    parsed = junitparser.JUnitXml.fromfile(str(tmp_path / "junit.xml"))
    kinds: Counter[str | None] = Counter()
    for suite in parsed:
        for case in suite:
            kinds[type(case.result[0]).__name__.lower() if case.result else None] += 1
    assert kinds == judged
    recount = junitparser.JUnitXml.fromstring(xml.encode())
    recount.update_statistics()
    totals = (recount.tests, recount.failures, recount.errors, recount.skipped)
    assert totals == (parsed.tests, parsed.failures, parsed.errors, parsed.skipped)


def test_suites_are_paths_with_what_a_vendor_asks_for(root: ElementTree.Element) -> None:
    suites = {suite.get("name"): suite for suite in root.iter("testsuite")}
    assert set(suites) == set(sample_run.PATHS)
    properties = {p.get("name"): p.get("value") for p in suites["crun-wasmedge"].iter("property")}
    assert properties["component.crun"] == "1.21-1"
    assert properties["component.libwasmedge0"] == "0.14.1+dfsg-1"
    assert properties["node.kernel"] == "6.1.0-41-amd64"
    assert properties["node.distribution"] == "Debian GNU/Linux 13 (trixie)"
    assert properties["node.architecture"] == "x86_64"
    assert properties["node.cgroup_mode"] == "v1"
    assert properties["harness.version"] == "0.1.0"
    assert properties["testbed"] == "sandbox"
    assert properties["path.engine"] == "wasmedge"
    assert properties["path.layers"] == "crun, wasmedge"
    assert len(properties["sha256./usr/bin/crun"] or "") == 64
    assert properties["conformance.MUST"] == "49 of 53"


def test_names_are_unique_alone_and_with_their_class(root: ElementTree.Element) -> None:
    names = [case.get("name") for case in root.iter("testcase")]
    assert len(set(names)) == len(names)
    case = case_of(root, "crun-wasmedge", "OCI-PROC-EXIT-42")
    assert case.get("classname") == "crun-wasmedge.process.test_exit_codes"


def test_a_failure_says_what_was_expected_and_what_happened(root: ElementTree.Element) -> None:
    failure = case_of(root, "podman-crun-wasmedge", "OCI-PROC-EXIT-42").find("failure")
    assert failure is not None
    assert failure.get("type") == "non-conformance"
    message = failure.get("message") or ""
    assert message.startswith("expected: exit code 42 reaches the caller; actual: assert 0 == 42 [exit_code 0")
    text = failure.text or ""
    assert "requirement: OCI-PROC-EXIT-42 (MUST, parity)" in text
    assert "$ podman run" in text
    assert "control: podman-crun-native: passed" in text


def test_messages_of_the_other_outcomes(root: ElementTree.Element) -> None:
    def message(path: str, requirement: str, tag: str) -> str:
        element = case_of(root, path, requirement).find(tag)
        assert element is not None
        return element.get("message") or ""

    trap = message("crun-wasmedge", "OCI-PROC-TRAP", "skipped")
    assert trap.startswith("expected failure: crun's WasmEdge handler returns success after a trap (https://")
    assert message("crun-wasmedge", "WASI-PANIC-GO", "skipped").startswith("inconclusive: ")
    assert message("crun-wasmedge", "OCI-PROC-EXIT-256", "skipped").startswith("noted: ")
    assert message("crun-wasmedge", "CRUN-PAUSE", "skipped") == "unsupported: this launcher does not pause"
    assert message("crun-wasmedge", "OCI-STDIN-EOF", "failure").startswith("expected: failure as in crun-wasmedge.yaml")
    assert message("crun-wasmedge", "OCI-LIMIT-CPU", "error").startswith("node: connection closed")
    assert message("podman-crun-wasmedge", "WASI-SOCKETS", "error").startswith("not-run: ")
    fixed = case_of(root, "crun-wasmedge", "OCI-STDOUT-TRAP").find("system-out")
    assert fixed is not None
    assert "\nfixed: " in (fixed.text or "")


def test_a_verdict_that_also_rests_on_glue_of_ours_says_so(root: ElementTree.Element) -> None:
    said = [
        case.get("classname", "") for case in root.iter("testcase") if "glue: " in (case.findtext("system-out") or "")
    ]
    assert said == ["podman-crun-wasmedge.arguments.test_arguments"]


def test_hostile_streams_arrive_visible(root: ElementTree.Element, xml: str) -> None:
    case = case_of(root, "crun-wasmedge", "OCI-PROC-EXIT-42")
    for name in ("system-out", "system-err"):
        element = case.find(name)
        assert element is not None
        assert r"]]> \x1b[31mred\x1b[0m \x00 \ufffe \ud800 & <b>\u202edlrow\u202c é 漢字" in (element.text or "")
    assert "]]>" not in xml
    assert all(character.isprintable() or character == "\n" for character in xml)


@pytest.mark.parametrize("field", ["message", "reason", "sentence", "commands"])
def test_hostile_words_anywhere_leave_it_valid(tmp_path: Path, field: str) -> None:
    hostile: Any = [sample_run.HOSTILE] if field == "commands" else sample_run.HOSTILE + "\r\n\x85\u2028"
    run = journal.read(sample_run.write(tmp_path, lambda row: row | {field: hostile}))
    validate(junit.document(run))


def test_long_streams_are_cut_in_the_middle(tmp_path: Path) -> None:
    text = "first" + "x" * 60_000 + "last"
    streams = {"stderr": {"text": text, "bytes": 5_000_000, "truncated": True}}
    run = journal.read(sample_run.write(tmp_path, lambda row: row | {"streams": streams, "message": text}))
    xml = junit.document(run)
    assert len(xml) < len(run.records) * 40 * 1024
    assert "--- stderr (5000000 bytes, truncated)\nfirst" in xml
    assert "characters left out" in xml


def broken_pass(row: Row) -> Row:
    return row | {"raw": "failed", "judged": "passed"}


def unknown_word(row: Row) -> Row:
    return row | {"judged": "perfect"}


def no_words(row: Row) -> Row:
    return row | {"raw": "failed", "judged": "failed", "message": "", "reason": "", "observations": {}}


@pytest.mark.parametrize("change", [broken_pass, unknown_word, no_words])
def test_no_pass_that_is_not_one(tmp_path: Path, change: Callable[[Row], Row]) -> None:
    run = journal.read(sample_run.write(tmp_path, change))
    root = ElementTree.fromstring(junit.document(run))
    assert as_jenkins_reads(root)["passed"] == 0


@pytest.mark.parametrize("everything", ["skipped", "nothing"])
def test_a_run_that_tried_nothing_is_not_green(tmp_path: Path, everything: str) -> None:
    directory = sample_run.write(tmp_path, lambda row: row | {"raw": "skipped", "judged": "skipped"}, status=3)
    if everything == "nothing":
        (directory / journal.PLAN).write_text('{"planned": []}')
        (directory / journal.JOURNAL).unlink()
        with journal.Journal(directory) as file:
            file.write(sample_run.header())
            file.write(sample_run.end())
    xml = junit.document(journal.read(directory))
    validate(xml)
    assert as_jenkins_reads(ElementTree.fromstring(xml))["failed"] >= 1


def test_a_session_error_has_a_suite_of_its_own(tmp_path: Path) -> None:
    directory = sample_run.write(tmp_path)
    with journal.Journal(directory) as file:
        file.write(
            {
                "kind": "record",
                "id": "session::prepare",
                "path": "-",
                "requirement": "",
                "raw": "error",
                "judged": "error",
                "reason": "image node: build failed",
            }
        )
    run = journal.read(directory)
    xml = junit.document(run)
    validate(xml)
    case = ElementTree.fromstring(xml).find("testsuite[@name='session']/testcase")
    assert case is not None
    assert (case.get("classname"), case.get("name")) == ("session", "prepare")
    assert results(run)["records"][-1]["judged"] == "error"
