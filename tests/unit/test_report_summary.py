"""The terminal's table and the job summary."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from conformance.report import journal
from conformance.report.summary import WIDTH, markdown, terminal
from tests.unit import sample_run

TABLE = """\
path                 checks passed failed expected fixed noted unclear errors skipped  seconds
crun-wasmedge            71     57      4        3     1     1       1      1       3      3.1
    raw: MUST 49 of 53 · SHOULD 6 of 9 · MAY 2 of 2; skipped: 1 unsupported, 1 unavailable, 1
    disabled
crun-native              71     68      1        -     -     -       -      -       2      3.1
    raw: MUST 53 of 53 · SHOULD 8 of 9 · MAY 3 of 3; skipped: 1 unsupported, 1 unavailable
podman-crun-wasmedge     71     65      2        1     -     -       -      1       2      3.1
    raw: MUST 52 of 54 · SHOULD 8 of 9 · MAY 2 of 2; skipped: 2 unsupported
podman-crun-native       71     70      1        -     -     -       -      -       -      3.2
    raw: MUST 55 of 55 · SHOULD 8 of 9 · MAY 3 of 3
youki-wasmer             71      -      -       71     -     -       -      -       -      3.2
    raw: MUST 0 of 55 · SHOULD 0 of 9 · MAY 0 of 3
    broken: youki 0.7.0 with Wasmer panics on every module
    https://github.com/youki-dev/youki/issues/3672
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> journal.Run:
    return journal.read(sample_run.write(tmp_path_factory.mktemp("run")))


def test_the_table_is_as_it_was(run: journal.Run) -> None:
    assert terminal(run).startswith(TABLE)


def test_no_line_is_too_long(run: journal.Run) -> None:
    assert max(map(len, terminal(run).splitlines())) <= WIDTH


def test_each_problem_is_named_with_its_rule_and_reason(run: journal.Run) -> None:
    shown = terminal(run)
    assert (
        "FAILED  process/test_exit_codes.py::test_exit_code_42_reaches_the_caller[crun-wasmedge]\n"
        "        OCI-PROC-EXIT-42 (MUST, parity): assert 0 == 42; crun-native passes\n"
    ) in shown
    assert f"NOT RUN\n{sample_run.MISSING}\n" in shown
    assert "also fails natively" in shown
    assert "holds in\n        crun-wasmedge, lost above it" in shown
    for record in run.records:
        red = record["judged"] in ("failed", "unexpected-pass", "error", "not-run", "fixed")
        assert (record["id"] in shown) == red


def test_expected_failures_have_their_proof(run: journal.Run) -> None:
    shown = terminal(run).partition("expected failures\n")[2]
    assert "  crun-wasmedge OCI-PROC-TRAP (2 checks): crun's WasmEdge handler returns success" in shown
    assert "https://github.com/containers/crun/issues/0000" in shown
    assert "see reproduction in crun-wasmedge.yaml:21" in " ".join(shown.split())
    assert "youki" not in shown


def test_a_node_that_is_down_does_not_fill_the_screen(tmp_path: Path) -> None:
    run = journal.read(sample_run.write(tmp_path, lambda row: None, status=None))
    shown = terminal(run)
    assert shown.count("\nNOT RUN") == 3 * len(sample_run.PATHS)
    assert "and 68 more on crun-wasmedge for the same reason" in shown
    assert "note: the run has no end" in shown


@pytest.mark.parametrize("field", ["message", "reason", "sentence"])
def test_hostile_words_do_not_reach_the_terminal(tmp_path: Path, field: str) -> None:
    hostile = "\x1b]0;title\x07" + sample_run.HOSTILE * 10
    run = journal.read(
        sample_run.write(tmp_path, lambda row: row | {field: hostile, "raw": "failed", "judged": "failed"})
    )
    shown = terminal(run)
    assert all(line.isprintable() and len(line) <= WIDTH for line in shown.splitlines())


def test_markdown_has_versions_rules_and_links(run: journal.Run) -> None:
    shown = markdown(run)
    assert shown.startswith("# WebAssembly conformance: incomplete\n")
    assert "| crun-wasmedge | crun 1.21-1, libwasmedge0 0.14.1+dfsg-1 | MUST 49 of 53 · SHOULD 6 of 9" in shown
    assert "`process/test_exit_codes.py::test_exit_code_42_reaches_the_caller[crun-wasmedge]`" in shown
    assert "[OCI-PROC-EXIT-42 (MUST, parity)](https://github.com/containers/crun/blob/1.21/" in shown
    assert "youki-wasmer **(broken)**" in shown
    assert "`conformance reproduce OCI-FILE-DAC --runtime crun-wasmedge`" in shown
    assert "Debian GNU/Linux 13 (trixie)" in shown


def test_markdown_tables_keep_their_columns(run: journal.Run) -> None:
    for table in re.findall(r"(?:^\|.*\n?)+", markdown(run), flags=re.M):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.strip().splitlines()}) == 1


def test_hostile_words_are_only_text_in_markdown(tmp_path: Path) -> None:
    hostile = "a|b `c` [d](javascript:alert(1)) <img src=x> **e**"
    run = journal.read(sample_run.write(tmp_path, lambda row: row | {"message": hostile}))
    shown = markdown(run)
    assert "<img" not in shown
    assert r"a\|b \`c\` \[d\](javascript:alert(1)) &lt;img src=x&gt; \*\*e\*\*" in shown
