"""Two runs side by side: what is a regression, what a fix, and what the node explains."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from lxml import html as parser

from conformance.cli import main
from conformance.errors import UsageError
from conformance.report import comparison_pages, journal
from conformance.report.comparison import Change, Comparison, Kind, compare
from tests.unit import edited_run, sample_run

Row = dict[str, Any]

PASSED: Row = {"raw": "passed", "judged": "passed", "reason": "", "message": "", "expectation": None}
FAILED: Row = PASSED | {"raw": "failed", "judged": "failed", "message": "assert 0 == 42"}
ENTRY: Row = {"id": "known.yaml:3", "reason": "known", "issue": "", "reproduction": "true", "affects": {}}
EXPECTED: Row = FAILED | {"judged": "expected-failure", "reason": "known", "expectation": ENTRY | {"observed": {}}}
ON_V1: Row = EXPECTED | {"expectation": ENTRY | {"when": {"cgroup_mode": "v1"}}}
ERROR: Row = PASSED | {"raw": "error", "judged": "error", "reason": "the node is gone", "message": "the node is gone"}
NOT_RUN: Row = PASSED | {"raw": "not-run", "judged": "not-run", "reason": "no result"}
SKIPPED: Row = PASSED | {"raw": "skipped", "judged": "skipped", "observations": {}}
NO_CPUSET: Row = SKIPPED | {
    "skip_reason": "unavailable",
    "reason": "unavailable: the node has no cgroup:cpuset, apparmor",
}
NO_FEATURE: Row = SKIPPED | {"skip_reason": "unsupported", "reason": "unsupported: crun-wasmedge has no pause"}
#: A rule that the sample run keeps, and one that is only this project's.
RULE, PROJECT = "OCI-PROC-ARGS", "OCI-PROC-EXIT-256"


def one_change(tmp_path: Path, before: Row, after: Row, *, rule: str = RULE, node: Row | None = None) -> Change | None:
    """What ``compare`` says about a check of which all else is the same."""
    for name, outcome, facts in (("a", before, None), ("b", after, node)):
        edited_run.write(tmp_path / name, id_=name, change=edited_run.with_outcomes({rule: outcome}), node=facts)
    changes = compare(journal.read(tmp_path / "a"), journal.read(tmp_path / "b")).changes
    assert len(changes) <= 1
    return changes[0] if changes else None


@pytest.mark.parametrize(
    ("before", "after", "kind"),
    [
        (PASSED, FAILED, Kind.REGRESSION),
        (PASSED, ERROR, Kind.REGRESSION),
        (PASSED, NOT_RUN, Kind.REGRESSION),
        (PASSED, EXPECTED, Kind.REGRESSION),  # the rule held, and an entry written since cannot hide that
        (PASSED, PASSED | {"judged": "inconclusive", "reason": "42 arrives as 0"}, Kind.REGRESSION),
        (EXPECTED, FAILED | {"observations": {"exit_code": 7}}, Kind.REGRESSION),
        (EXPECTED, ERROR, Kind.REGRESSION),
        (EXPECTED, FAILED, Kind.OTHER),  # only the entry went away
        (PASSED, NO_FEATURE, Kind.OTHER),
        (NO_FEATURE, FAILED, Kind.OTHER),
        (FAILED, ERROR, Kind.OTHER),
        (FAILED, EXPECTED, Kind.OTHER),
        (ERROR, EXPECTED, Kind.OTHER),
        (PASSED, PASSED | {"observations": {"exit_code": 3}}, Kind.OTHER),
        (PASSED, PASSED | {"judged": "unexpected-pass", "expectation": ENTRY, "reason": "?"}, Kind.OTHER),
        (FAILED, PASSED, Kind.FIX),
        (EXPECTED, PASSED | {"judged": "fixed", "expectation": ENTRY}, Kind.FIX),
        (ERROR, PASSED, Kind.FIX),
        (NO_FEATURE, PASSED, Kind.OTHER),
    ],
)
def test_what_a_difference_is(tmp_path: Path, before: Row, after: Row, kind: Kind) -> None:
    change = one_change(tmp_path, before, after)
    assert change is not None
    assert (change.kind, change.before, change.after) == (kind, before["judged"], after["judged"])


def test_an_observation_of_the_project_is_never_a_regression(tmp_path: Path) -> None:
    change = one_change(tmp_path, PASSED, FAILED | {"judged": "noted"}, rule=PROJECT)
    assert change is not None
    assert change.kind is Kind.OTHER


@pytest.mark.parametrize(
    ("before", "after", "node", "kind"),
    [
        (ON_V1, PASSED, {"cgroup_mode": "v2"}, Kind.EXPLAINED),
        (ON_V1, PASSED, {"kernel": "6.12"}, Kind.FIX),  # the entry applies on both nodes
        (ON_V1, FAILED | {"observations": {"exit_code": 7}}, {"cgroup_mode": "v2"}, Kind.REGRESSION),  # red stays red
        (PASSED, NO_CPUSET, {"controllers": ["memory"]}, Kind.EXPLAINED),
        (PASSED, NO_CPUSET, {"apparmor": True}, Kind.EXPLAINED),
        (PASSED, NO_CPUSET, {"kernel": "6.12"}, Kind.OTHER),  # nodes that do not differ in it explain nothing
        (FAILED, NO_CPUSET, {"controllers": ["memory"]}, Kind.OTHER),
        (NO_CPUSET, EXPECTED, {"controllers": ["memory"]}, Kind.EXPLAINED),
    ],
)
def test_a_node_fact_explains_what_it_is_named_for(
    tmp_path: Path, before: Row, after: Row, node: Row, kind: Kind
) -> None:
    change = one_change(tmp_path, before, after, node=node)
    assert change is not None
    assert change.kind is kind


def test_an_expectation_that_applies_on_the_second_node_only_explains(tmp_path: Path) -> None:
    when = EXPECTED | {"expectation": ENTRY | {"when": {"cgroup_mode": "v2"}}}
    change = one_change(tmp_path, PASSED, when, node={"cgroup_mode": "v2"})
    assert change is not None
    assert change.kind is Kind.EXPLAINED
    assert change.reason == "with cgroup_mode v2 known.yaml:3 expects a failure: known"


def test_a_race_that_struck_one_run_is_no_difference(tmp_path: Path) -> None:
    struck = PASSED | {"observations": {"races": ["messages in the wrong order"]}, "attempts": 2}
    assert one_change(tmp_path, PASSED | {"observations": {}}, struck) is None


def test_a_run_is_like_itself(tmp_path: Path) -> None:
    run = journal.read(edited_run.write(tmp_path))
    compared = compare(run, run)
    assert (compared.changes, compared.differences, compared.only_before, compared.only_after) == ((), (), (), ())
    assert compared.same == len(run.records)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two runs with something in every section, and hostile words in them."""
    place = tmp_path_factory.mktemp("pair")
    hostile = sample_run.HOSTILE

    def change(row: Row) -> Row | None:
        if row["requirement"] == "OCI-PROC-ENV":
            return None
        return edited_run.with_outcomes(
            {
                "OCI-PROC-ARGS": FAILED | {"message": hostile, "observations": {"exit_code": hostile}},
                "OCI-PROC-EXIT-42": PASSED,
                "OCI-STDOUT-NUL": NO_FEATURE,
                "OCI-USER-UID": NO_CPUSET,
            }
        )(row)

    node = {"kernel": "6.12.1", "controllers": ["memory"], "spawn_seconds": 0.7}
    before = edited_run.write(place / "a", id_="run-a", paths=("crun-wasmedge", "crun-native", "youki-wasmer"))
    after = edited_run.write(
        place / "b", id_="run-b", change=change, node=node, components={"crun": "1.22"}, testbed="vagrant",
        brought={"crun": {"file": "./crun", "sha256": "ab" * 32}},
    )  # fmt: skip
    return before, after


@pytest.fixture(scope="module")
def compared(pair: tuple[Path, Path]) -> Comparison:
    return compare(journal.read(pair[0]), journal.read(pair[1]))


def test_versions_and_nodes_are_told_once_for_all_paths(compared: Comparison) -> None:
    told = {one.what: (one.before, one.after) for one in compared.differences}
    assert told == {
        "run testbed": ("sandbox", "vagrant"),
        "brought crun": ("", "abababababab"),
        "component crun": ("1.21-1", "1.22"),
        "node kernel": ("6.1.0-41-amd64", "6.12.1"),
        "node controllers": ("cpu, cpuset, memory, pids", "memory"),
    }
    assert all(len(one.paths) in (0, 2) for one in compared.differences)
    assert compared.unpaired == (("youki-wasmer",), ())


def test_checks_of_one_run_are_listed_and_no_regression(compared: Comparison) -> None:
    assert [one.id.rpartition("[")[2] for one in compared.only_before] == ["crun-wasmedge]", "crun-native]"]
    assert compared.only_after == ()
    assert comparison_pages.verdict(compared).startswith(
        "1 regression, 1 fix, 1 other change, 1 explained by the node, 2 in one run only, "
    )


def test_the_terminal_shows_regressions_before_anything_about_checks(compared: Comparison) -> None:
    text = comparison_pages.terminal([compared])
    headings = [line for line in text.splitlines() if re.fullmatch(r"[a-z][\w -]+( \(\d+\))?", line)]
    assert headings == [
        "versions and nodes", "raw conformance", "regressions (1)", "fixes (1)", "other changes (1)",
        "explained by the node (1)", "only in run-a (2)",
    ]  # fmt: skip
    assert all(character.isprintable() or character == "\n" for character in text)
    assert "node kernel: 6.1.0-41-amd64 -> 6.12.1\n" in text
    assert "Not compared, only in run-a: youki-wasmer" in text


def test_markdown_shows_hostile_words_and_does_nothing_else(compared: Comparison) -> None:
    text = comparison_pages.markdown([compared])
    assert text.startswith("# Comparison: regressions\n")
    assert text.index("## Regressions (1)") < text.index("## Fixes (1)") < text.index("## Explained by the node (1)")
    assert "<script" not in text
    assert all(line.count("|") == 5 for line in text.splitlines() if line.startswith("| "))


def test_the_page_loads_nothing_and_runs_nothing(compared: Comparison) -> None:
    page = comparison_pages.html([compared])
    tree = parser.fromstring(page)
    assert tree.xpath("//script") == []
    assert not re.findall(r"""(?:src|srcset|action)=["']?https?:|@import|url\(""", page)
    assert tree.xpath("//meta[@http-equiv='Content-Security-Policy']/@content")[0].startswith("default-src 'none'")
    headings = [heading.text_content().strip() for heading in tree.xpath("//h2")]
    assert headings[:4] == ["Versions and nodes", "Raw conformance", "Regressions (1)", "Fixes (1)"]
    assert len(page) < 100_000


def test_of_several_runs_each_is_compared_with_the_one_before(
    pair: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = map(str, pair)
    assert main(["compare", old, new, new]) == 1
    said = capsys.readouterr().out
    assert said.count("raw conformance") == 2
    assert "0 regressions, 0 fixes, 0 other changes" in said
    assert main(["compare", new, new, new, "--format", "html", "--to", str(tmp_path / "three.html")]) == 0
    tree = parser.fromstring((tmp_path / "three.html").read_text())
    assert [heading.text_content() for heading in tree.xpath("//main/h1")] == ["run-b → run-b"] * 2


def test_paths_can_be_mapped(tmp_path: Path) -> None:
    run = journal.read(edited_run.write(tmp_path, paths=("crun-wasmedge", "crun-native", "youki-wasmer")))
    compared = compare(run, run, {"crun-wasmedge": "youki-wasmer"})
    assert compared.pairs == (("crun-wasmedge", "youki-wasmer"),)
    assert compared.count(Kind.REGRESSION) > 50
    assert all(change.id.endswith("[youki-wasmer]") for change in compared.changes)
    assert not compared.only_before
    assert "component crun" in {one.what for one in compared.differences}
    with pytest.raises(UsageError, match=r"has no path 'youki-wasmedge'; did you mean 'youki-wasmer'\?"):
        compare(run, run, {"crun-wasmedge": "youki-wasmedge"})


def test_a_user_s_modules_are_compared_each_by_its_name(tmp_path: Path) -> None:
    def change(row: Row) -> Row:
        return row | {"id": row["id"].replace("]", f"-{row['requirement']}]"), "check": "workloads/test_it.py::test_it"}

    first = journal.read(edited_run.write(tmp_path / "a", change=change))
    assert compare(first, first).same == len(first.records)


def test_runs_without_a_common_check_are_not_compared(tmp_path: Path) -> None:
    first = journal.read(edited_run.write(tmp_path / "a", paths=("crun-wasmedge",)))
    second = journal.read(edited_run.write(tmp_path / "b", paths=("youki-wasmer",)))
    with pytest.raises(UsageError, match="nothing to compare"):
        compare(first, second)


def test_the_command_s_exit_code_and_file(
    pair: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before, after = map(str, pair)
    assert main(["compare", before, after]) == 1
    assert capsys.readouterr().out.startswith("run-a -> run-b\n")
    assert main(["compare", before, before]) == 0
    for form, start in (("markdown", "# Comparison"), ("html", "<!doctype html>"), ("terminal", "run-a -> run-b")):
        file = tmp_path / form
        capsys.readouterr()
        assert main(["compare", before, after, "--format", form, "--to", str(file)]) == 1
        assert capsys.readouterr().out.startswith("1 regression, ")
        assert file.read_text().startswith(start)


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["--map", "crun-wasmedge"], 4, "--map crun-wasmedge: expected A=B"),
        (["--map", "a=b", "--map", "a=c"], 4, "'a' is compared with 'b' already"),
        (["--map", "crun-wasmedge=crun-wasmegde"], 4, "did you mean 'crun-wasmedge'?"),
        (["--to", "/nowhere/file"], 3, "/nowhere/file: cannot be written"),
    ],
)
def test_words_that_do_not_fit(
    pair: tuple[Path, Path], words: list[str], code: int, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", *map(str, pair), *words]) == code
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1
