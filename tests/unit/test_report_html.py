"""What can be said about report.html without a browser; the rest is in tests/endtoend."""

from __future__ import annotations

import base64
import gzip
import json
import random
import re
from pathlib import Path
from typing import Any

import pytest
from lxml import html as parser

from conformance.report import html, journal
from conformance.report.render import render
from tests.unit import sample_run

Row = dict[str, Any]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    return html.document(journal.read(sample_run.write(tmp_path_factory.mktemp("run"))))


def data_of(page: str) -> Any:
    return json.loads(gzip.decompress(base64.b64decode(parser.fromstring(page).get_element_by_id("data").text)))


def test_hostile_words_cannot_leave_their_place(tmp_path: Path) -> None:
    hostile = {"message": sample_run.HOSTILE, "reason": sample_run.HOSTILE, "sentence": sample_run.HOSTILE}
    page = html.document(journal.read(sample_run.write(tmp_path, lambda row: row | hostile)))
    assert len(re.findall(r"<script\b", page)) == 2
    assert "<b>\u202e" not in page
    assert data_of(page)["records"][0]["message"] == sample_run.HOSTILE
    page.encode("utf-8")


def test_the_policy_names_the_one_script_and_no_host(page: str) -> None:
    policy = parser.fromstring(page).xpath("//meta[@http-equiv='Content-Security-Policy']/@content")[0]
    assert policy.startswith("default-src 'none'")
    assert re.search(r"script-src 'sha256-[A-Za-z0-9+/]{43}='$", policy)
    assert not re.findall(r"""(?:src|srcset|action)=["']?https?:|@import|url\(""", page)


def test_every_record_has_its_cell(page: str) -> None:
    tree = parser.fromstring(page)
    numbers = {int(number) for number in tree.xpath("//table[contains(@class,'matrix')]//button/@data-record")}
    assert numbers == set(range(len(sample_run.records())))


def test_an_outcome_is_a_word_and_an_icon_never_a_colour_alone(page: str) -> None:
    for cell in parser.fromstring(page).xpath("//table[contains(@class,'matrix')]//button[@data-record]"):
        assert cell.text_content().strip()
        assert cell.xpath(".//*[local-name()='svg' and @aria-hidden='true']")


def test_a_broken_path_is_one_message(page: str) -> None:
    tree = parser.fromstring(page)
    row = next(row for row in tree.xpath("//table[@class='overview']//tr") if "youki" in row.text_content())
    assert "broken: one known cause" in row.text_content()
    assert "71 expected" not in row.text_content()


def test_changes_against_an_earlier_run_are_marked(tmp_path: Path) -> None:
    run = journal.read(sample_run.write(tmp_path / "now"))
    before = journal.read(
        sample_run.write(
            tmp_path / "before",
            lambda row: row | {"raw": "passed", "judged": "passed"} if row["requirement"] == "OCI-TERMINAL" else row,
        )
    )
    tree = parser.fromstring(html.document(run, before))
    changed = tree.xpath("//button[contains(@data-flags,'changed')]")
    assert {cell.text_content() for cell in changed} == {"failed≠ nativewas passed", "brokenwas passed"}
    assert not tree.xpath("//label[@hidden]/input[@name='changed']")
    assert not parser.fromstring(html.document(run)).xpath("//button[contains(@data-flags,'changed')]")


def test_a_huge_run_stays_small(tmp_path: Path) -> None:
    text = random.Random(1).randbytes(30_000).hex()
    streams = {name: {"text": text, "bytes": len(text), "truncated": False} for name in ("stdout", "stderr")}
    page = html.document(journal.read(sample_run.write(tmp_path, lambda row: row | {"streams": streams})))
    assert len(page.encode()) < html.SIZE_LIMIT
    assert "characters are in results.json" in data_of(page)["records"][0]["streams"]["stdout"]["text"]


def test_a_killed_run_and_a_session_error_are_shown(tmp_path: Path) -> None:
    directory = sample_run.write(tmp_path, lambda row: None, status=None)
    with journal.Journal(directory) as file:
        file.write({"kind": "record", "id": "session::prepare", "raw": "error", "judged": "error", "reason": "no disk"})
    notes = parser.fromstring(html.document(journal.read(directory))).xpath("//li[@class='note']")
    shown = " ".join(note.text_content() for note in notes)
    assert "it was killed" in shown
    assert "no disk" in shown


def test_render_compares_with_an_earlier_run(tmp_path: Path) -> None:
    now, before = sample_run.write(tmp_path / "now"), sample_run.write(tmp_path / "before")
    assert "0 of 355 verdicts changed" in render(now, before)[-1].read_text(encoding="utf-8")
