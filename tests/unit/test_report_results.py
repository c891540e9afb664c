"""results.json: counting, comparing, and what the schema refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from conformance import documents
from conformance.errors import InfrastructureError, UsageError
from conformance.model import Judged
from conformance.report import journal, profiles
from conformance.report.render import render
from conformance.report.results import exit_status, results, tally, text
from tests.unit import sample_run

Row = dict[str, Any]


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> Row:
    return results(journal.read(sample_run.write(tmp_path_factory.mktemp("run"))))


def find(document: Row, path: str, requirement: str) -> Row:
    found = [r for r in document["records"] if (r["path"], r["requirement"]) == (path, requirement)]
    assert len(found) == 1
    return dict(found[0])


def test_the_sample_has_every_outcome(document: Row) -> None:
    assert all(document["tally"]["judged"][outcome] for outcome in Judged)


def test_each_record_is_counted_once(document: Row) -> None:
    for name, path in document["paths"].items():
        assert sum(path["tally"]["judged"].values()) == len([r for r in document["records"] if r["path"] == name])
    assert sum(document["tally"]["judged"].values()) == len(document["records"])


def test_raw_conformance_ignores_expectations_and_project_observations(document: Row) -> None:
    rows = [r for r in sample_run.records() if r["path"] == "crun-wasmedge"]
    rules = sample_run.header()["requirements"]
    must = [r for r in rows if rules[r["requirement"]]["level"] == "MUST" and r["raw"] in ("passed", "failed")]
    holds = [r for r in must if r["raw"] == "passed"]
    assert document["paths"]["crun-wasmedge"]["tally"]["conformance"]["MUST"] == {"passed": len(holds), "of": len(must)}
    assert document["paths"]["youki-wasmer"]["tally"]["conformance"]["MUST"]["passed"] == 0


def test_an_inconclusive_pass_does_not_count_as_one() -> None:
    rule = sample_run.header()["requirements"]
    row = sample_run.records()[0]
    assert tally([row], rule).conformance["MUST"].passed == 1
    assert str(tally([row | {"judged": "inconclusive"}], rule).conformance["MUST"]) == "0 of 1"


def test_the_control_stands_beside_each_record(document: Row) -> None:
    lost = find(document, "crun-wasmedge", "OCI-PROC-EXIT-42")
    assert lost["control"]["path"] == "crun-native"
    assert (lost["control"]["raw"], lost["differs_from_native"], lost["also_fails_natively"]) == ("passed", True, False)
    both = find(document, "crun-wasmedge", "OCI-CONSOLE-SIZE")
    assert (both["differs_from_native"], both["also_fails_natively"]) == (False, True)
    assert find(document, "crun-native", "OCI-CONSOLE-SIZE")["control"] is None


def test_a_twin_that_was_skipped_leaves_the_word_to_another_check_of_the_rule(tmp_path: Path) -> None:
    directory = sample_run.write(tmp_path)
    native = next(r for r in sample_run.records() if r["path"] == "crun-native" and r["requirement"] == "CRUN-HANDLER")
    other = native | {"check": "annotations/test_selection.py::test_other", "raw": "failed", "judged": "failed"}
    with journal.Journal(directory) as file:
        file.write(other | {"id": "annotations/test_selection.py::test_other[crun-native]", "skip_reason": None})
    record = find(results(journal.read(directory)), "crun-wasmedge", "CRUN-HANDLER")
    assert record["control"]["raw"] == "failed"
    assert record["differs_from_native"]


def test_parametrised_checks_are_compared_with_their_own_twin(tmp_path: Path) -> None:
    directory = sample_run.write(tmp_path)
    base = sample_run.records()[0]
    with journal.Journal(directory) as file:
        for path, raw in (("crun-wasmedge", "passed"), ("crun-native", "failed")):
            for number in ("1", "2"):
                row = base | {"path": path, "id": f"{base['check']}[{path}-{number}]"}
                outcome = "passed" if number == "1" else raw
                file.write(row | {"raw": outcome, "judged": outcome})
    records = {r["id"]: r for r in results(journal.read(directory))["records"]}
    assert records[f"{base['check']}[crun-wasmedge-1]"]["control"]["raw"] == "passed"
    assert records[f"{base['check']}[crun-wasmedge-2]"]["control"]["raw"] == "failed"


def test_rules_on_which_paths_differ_name_both_sides_and_no_control(document: Row) -> None:
    sides = document["differing"]["OCI-PROC-ENV-ONLY"]
    assert "podman-crun-wasmedge" in sides["fails"]
    assert "crun-wasmedge" in sides["holds"]
    named = {path for one in document["differing"].values() for side in one.values() for path in side}
    assert "crun-native" not in named


def test_what_is_lost_above_a_lower_layer_is_said(document: Row) -> None:
    assert find(document, "podman-crun-wasmedge", "OCI-PROC-ENV-ONLY")["lost_here"]
    assert not find(document, "podman-crun-wasmedge", "OCI-PROC-EXIT-42")["lost_here"]


def test_a_path_on_which_nothing_starts_is_broken(document: Row) -> None:
    assert document["paths"]["youki-wasmer"]["broken"]["id"] == "youki-wasmer.yaml:1"
    assert document["paths"]["crun-wasmedge"]["broken"] is None


def test_a_control_follows_its_path(document: Row) -> None:
    assert list(document["paths"]) == [
        "crun-wasmedge",
        "crun-native",
        "podman-crun-wasmedge",
        "podman-crun-native",
        "youki-wasmer",
    ]


def test_profiles_answer_from_raw_outcomes(document: Row) -> None:
    answers = {name: {p: u["answer"] for p, u in path["profiles"].items()} for name, path in document["paths"].items()}
    assert answers["crun-wasmedge"]["job"] == "with gaps"
    assert answers["crun-native"] == {"job": "with care", "service": "yes", "side-car mix": "yes"}
    assert set(answers["youki-wasmer"].values()) == {"no"}
    assert document["paths"]["crun-wasmedge"]["profiles"]["job"]["broken"][0] == "OCI-FILE-DAC"


def test_every_requirement_of_the_suites_is_part_of_a_profile() -> None:
    directory = Path(journal.__file__).parents[2] / "suites" / "requirements"
    rows = [row for file in sorted(directory.glob("*.yaml")) for row in documents.load(file)]
    assert rows
    homeless = {row["area"] for row in rows if not profiles.of(row) and row["area"] not in profiles.AREAS}
    assert homeless == set(), "add the area to conformance/report/profiles.py"


@pytest.mark.parametrize(
    ("raw", "judged", "interrupted", "status"),
    [
        ([], [], False, 3),
        (["skipped"], ["skipped"], False, 3),
        (["passed"], ["passed"], False, 0),
        (["failed"], ["expected-failure"], False, 0),
        (["failed"], ["noted"], False, 0),
        (["passed"], ["fixed"], False, 0),
        (["passed"], ["unexpected-pass"], False, 1),
        (["passed", "failed"], ["passed", "failed"], False, 1),
        (["passed", "not-run"], ["failed", "not-run"], False, 3),
        (["passed", "error"], ["passed", "error"], True, 2),
    ],
)
def test_the_first_exit_status_that_applies(raw: list[str], judged: list[str], interrupted: bool, status: int) -> None:
    records = [{"raw": r, "judged": j} for r, j in zip(raw, judged, strict=True)]
    assert exit_status(records, interrupted=interrupted) == status


def test_a_recorded_exit_status_that_the_records_contradict_is_noted(tmp_path: Path) -> None:
    document = results(journal.read(sample_run.write(tmp_path, status=0)))
    assert document["exit_status"] == 3
    assert document["notes"] == ["the run ended with exit status 0; its records mean 3"]


def test_the_schema_is_one_and_the_document_follows_it(document: Row) -> None:
    schema = Path(journal.__file__).with_name("results.schema.json")
    jsonschema.Draft202012Validator.check_schema(json.loads(schema.read_text(encoding="utf-8")))
    assert json.loads(text(document)) == document


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"judged": "great"}, r"\.judged"),
        ({"unknown": 1}, r"records\[0\]"),
        ({"skip_reason": "bored"}, r"\.skip_reason"),
        ({"streams": {"stdout": "text"}}, r"\.streams\.stdout"),
        ({"commands": "crun run"}, r"\.commands"),
    ],
)
def test_a_record_of_another_form_is_refused_with_its_place(document: Row, change: Row, place: str) -> None:
    first, *others = document["records"]
    with pytest.raises(InfrastructureError, match=place):
        text(document | {"records": [first | change, *others]})


def test_render_writes_results_first_and_leaves_nothing_else(tmp_path: Path) -> None:
    directory = sample_run.write(tmp_path)
    before = {path.name for path in directory.iterdir()}
    written = render(directory)
    assert written[0].name == "results.json"
    assert {path.name for path in directory.iterdir()} - before == {path.name for path in written}
    first = [path.read_bytes() for path in written]
    assert [path.read_bytes() for path in render(directory)] == first


def test_render_of_no_run_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no run"):
        render(tmp_path)


def test_a_report_that_cannot_be_replaced_is_an_infrastructure_error(tmp_path: Path) -> None:
    directory = sample_run.write(tmp_path)
    (directory / "results.json").mkdir()
    (directory / "results.json" / "in-the-way").touch()
    with pytest.raises(InfrastructureError, match=r"results\.json: cannot be written"):
        render(directory)
    assert not list(directory.glob(".results.json.*"))
