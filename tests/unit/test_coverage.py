"""The coverage table: complete, summed up, cross-checked, and as written in docs/coverage.md."""

from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from conformance import catalogue, coverage
from conformance.cli import main
from conformance.errors import UsageError
from tests.conftest import REPOSITORY

DOCUMENT = REPOSITORY / "docs" / "coverage.md"
LOW, SPEC = "coverage/low-level.yaml", "coverage/runtime-spec.yaml"


@pytest.fixture(scope="module")
def ours() -> coverage.Coverage:
    return coverage.read(catalogue.read(REPOSITORY / "suites"))


@pytest.fixture
def copy(ours: coverage.Coverage, tmp_path: Path) -> catalogue.Catalogue:
    """This repository's suites with lists of their own, to make a mistake in."""
    shutil.copytree(REPOSITORY / "suites" / "coverage", tmp_path / "coverage")
    return replace(ours.catalogue, root=tmp_path)


def mistake(copy: catalogue.Catalogue, file: str, old: str, new: str) -> str:
    """What is said about the copy after one change."""
    text = (copy.root / file).read_text()
    assert old in text
    (copy.root / file).write_text(text.replace(old, new, 1))
    with pytest.raises(UsageError) as caught:
        coverage.read(copy)
    assert "\n" not in str(caught.value)
    return str(caught.value).replace(f"{copy.root}/", "").replace(f"{REPOSITORY}/", "")


def test_each_line_of_a_checklist_is_there_once(ours: coverage.Coverage) -> None:
    for checklist, lines in ours.checklists.items():
        assert [line.number for line in lines] == list(range(1, checklist.lines + 1))


def test_each_line_has_checks_or_a_reason(ours: coverage.Coverage) -> None:
    lines = [line for lines in ours.checklists.values() for line in lines]
    silent = [line.number for line in lines if not ours.checks_of(line.requirements) and not line.reason]
    assert silent == []


def test_the_counts_of_each_chapter_make_its_number(ours: coverage.Coverage) -> None:
    made, stated = Counter[str](), Counter[str]()
    for rule in ours.specification.rules:
        made[f"{rule.chapter} {coverage.WORDS[rule.level]}"] += rule.count
    for chapter in ours.specification.chapters:
        stated[f"{chapter.name} musts"], stated[f"{chapter.name} required"] = chapter.musts, chapter.required
        assert chapter.counted
    assert +made == +stated


def test_paraphrases_are_short_and_no_shouting(ours: coverage.Coverage) -> None:
    said = [rule.says for rule in ours.specification.rules]
    assert [text for text in said if len(text.split()) > 15 or "MUST" in text] == []


def test_each_requirement_that_rests_on_a_specification_is_named(ours: coverage.Coverage) -> None:
    requirements = ours.catalogue.requirements.values()
    listed = [one for one in requirements if one.basis == "spec" and "/image-spec/" not in one.url]
    assert [one.id for one in listed if not ours.named_by(one.id)] == []


def test_the_document_is_current(ours: coverage.Coverage) -> None:
    # not one assert on both texts: a difference of a thousand lines helps nobody
    current = DOCUMENT.read_text(encoding="utf-8") == coverage.render(ours)
    assert current, "make coverage"


def test_the_document_has_each_line_rule_and_requirement(ours: coverage.Coverage) -> None:
    text = coverage.render(ours)
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    missing = [
        (checklist.name, line.number)
        for checklist, lines in ours.checklists.items()
        for line in lines
        if not any(row.startswith(f"| {line.number} | {line.what}") for row in rows)
    ]
    assert missing == []
    assert [rule.says for rule in ours.specification.rules if f"| {rule.says} |" not in text] == []
    assert [one for one in ours.catalogue.requirements if f"| [{one}] |" not in text] == []


def test_each_name_in_brackets_leads_somewhere(ours: coverage.Coverage) -> None:
    text = coverage.render(ours)
    named = {*ours.catalogue.requirements, *(rule.section for rule in ours.specification.rules)}
    assert [name for name in named if text.count(f"\n[{name}]: https://") != 1] == []


def test_what_a_path_does_is_told_from_features_and_expectations(ours: coverage.Coverage) -> None:
    text = coverage.render(ours)
    low_level = text[text.index("### low-level") : text.index("### pods")]
    rows = {line.split(" | ")[0]: line.split(" | ") for line in low_level.splitlines()}
    columns = rows["| No"]
    wasm, runc = columns.index("crun-wasmedge"), next(i for i, c in enumerate(columns) if c.startswith("runc-native"))
    assert rows["| 25"][wasm] == "**known failure**"
    assert rows["| 25"][runc].startswith("passes")
    assert rows["| 1"][runc].startswith("skipped: needs")
    assert rows["| 40"][wasm] == "none"


@pytest.mark.parametrize(
    ("file", "old", "new", "says"),
    [
        (LOW, "what: the", "waht: the", "unknown key 'waht'; did you mean 'what'?"),
        (LOW, "code: later", "code: latre", "'code' is 'latre'; allowed: unsupported, unavailable"),
        (LOW, "number: 7\n", "number: 6\n", "number 6 is there twice"),
        (LOW, "number: 7\n", "number: 76\n", "number 76 is not in 1 to 75"),
        (LOW, "[CRUN-SUFFIX,", "[CRUN-SUFIX,", "unknown requirement 'CRUN-SUFIX'; did you mean 'CRUN-SUFFIX'?"),
        (SPEC, "says: an id", "syas: an id", "unknown key 'syas'; did you mean 'says'?"),
        (SPEC, "covered: [OCI-START-TWICE]", "covered: [OCI-START-TWCE]", "did you mean 'OCI-START-TWICE'?"),
        (SPEC, "section: bundle.md#", "section: bundel.md#", "unknown chapter 'bundel.md'; did you mean 'bundle.md'?"),
        (SPEC, "musts: 51", "musts: 52", "runtime.md: the entries' counts make 51, 'musts' says 52"),
        (SPEC, "required: 21", "required: 20", "config.md: the entries' counts make 21, 'required' says 20"),
        (SPEC, "not_applicable: Windows", "not_yet: ''", "give 'covered', 'not_yet', or both; or else"),
        (SPEC, "count: 5", "count: 0", "count 0 is not positive"),
    ],
)
def test_a_mistake_is_told_with_file_and_line(
    copy: catalogue.Catalogue, file: str, old: str, new: str, says: str
) -> None:
    told = mistake(copy, file, old, new)
    assert told.startswith(f"{file}:")
    assert says in told


def test_a_typo_is_told_with_its_line(copy: catalogue.Catalogue) -> None:
    line = (copy.root / LOW).read_text().split("area:")[0].count("\n") + 1
    assert mistake(copy, LOW, "area:", "aera:") == f"{LOW}:{line}: unknown key 'aera'; did you mean 'area'?"


def test_a_line_without_checks_and_reason_is_a_mistake(copy: catalogue.Catalogue) -> None:
    told = mistake(copy, LOW, "  requirements: [CRUN-HANDLER-WASM]\n", "")
    assert "number 1 needs 'requirements' or a 'reason'" in told


def test_a_missing_line_is_named(copy: catalogue.Catalogue) -> None:
    text = (copy.root / LOW).read_text()
    entry = "- number: 41\n" + text.split("- number: 41\n")[1].split("- number: 42\n")[0]
    assert mistake(copy, LOW, entry, "") == f"{LOW}: number 41 is missing"


def test_a_requirement_of_the_specification_that_nobody_names_is_a_mistake(copy: catalogue.Catalogue) -> None:
    told = mistake(copy, LOW, "[OCI-APPARMOR]", "[OCI-USER]")
    assert told.startswith("suites/requirements/identity.yaml:")
    assert "requirement 'OCI-APPARMOR' rests on a specification, and none of" in told


def test_the_command_writes_checks_and_counts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "coverage.md"
    assert main(["coverage", "--write", str(file)]) == 0
    assert "low-level checklist: of 75 lines" in capsys.readouterr().out
    assert main(["coverage", "--check", str(file)]) == 0
    capsys.readouterr()

    file.write_text(file.read_text() + "by hand\n")
    assert main(["coverage", "--check", str(file)]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == f"conformance coverage: {file} is out of date: conformance coverage --write {file}\n"


def test_a_file_that_is_not_there_is_a_usage_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["coverage", "--check", str(tmp_path / "none.md")]) == 4
    assert capsys.readouterr().err.count("\n") == 1
