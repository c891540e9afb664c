"""What a record keeps of what a guest said, however hostile."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from conformance.model import Completed, Raw
from conformance.record import STREAM_BYTES, bare, id_of, stream, timestamp


@pytest.mark.parametrize(
    ("said", "text"),
    [
        (b"plain \xc3\xa4\n\ttab", "plain ä\n\ttab"),
        (b"\x1b]0;title\x07\x1b[2J", r"\x1b]0;title\x07\x1b[2J"),
        (b"nul\0 cr\r del\x7f", r"nul\x00 cr\r del\x7f"),
        (b"\xff\xfe\x80", r"\xff\xfe\x80"),
        ("\u202e\u2028\x85\ufeff".encode(), r"\u202e\u2028\x85\ufeff"),
        (b"\xed\xa0\x80", r"\xed\xa0\x80"),
        (b"]]> & <x>", "]]> & <x>"),
    ],
)
def test_nothing_a_terminal_or_parser_acts_on_is_kept(said: bytes, text: str) -> None:
    kept = stream(said)
    assert kept == {"text": text, "bytes": len(said), "truncated": False}
    assert json.loads(json.dumps(kept)) == kept


def test_a_long_stream_keeps_beginning_end_and_length() -> None:
    said = b"first" + b"x" * 1_000_000 + b"last"
    kept = stream(said)
    assert kept["bytes"] == len(said)
    assert kept["truncated"]
    assert kept["text"].startswith("first")
    assert kept["text"].endswith("last")
    assert "\n[...]\n" in kept["text"]
    assert len(kept["text"]) < STREAM_BYTES + 20


def test_a_cut_in_the_middle_of_a_character_does_no_harm() -> None:
    kept = stream("ä".encode() * STREAM_BYTES + b"!")
    assert kept["truncated"]
    kept["text"].encode("ascii", "backslashreplace")


def test_what_a_failed_assertion_shows_is_printable() -> None:
    shown = repr(Completed(("a b",), 1, None, False, b"\x1b[2J\xff\n", b"\0", False, 0.5))
    assert "$ 'a b'" in shown
    assert all(c.isprintable() or c == "\n" for c in shown)


@pytest.mark.parametrize(
    ("node_id", "rootdir"),
    [
        ("suites/area/test_a.py::test_b[x/y::z]", "/checkout"),
        ("area/test_a.py::test_b[x/y::z]", "/checkout/suites"),
        ("test_a.py::test_b[x/y::z]", "/checkout/suites/area"),
        ("../checkout/suites/area/test_a.py::test_b[x/y::z]", "/elsewhere"),
    ],
)
def test_an_id_is_the_same_wherever_pytest_was_started(node_id: str, rootdir: str) -> None:
    assert id_of(node_id, Path("/checkout/suites"), Path(rootdir)) == "area/test_a.py::test_b[x/y::z]"


def test_a_record_without_a_container_says_what_went_wrong() -> None:
    row = bare("a.py::test_one_two[p]", "a.py::test_one_two", "p", Raw.ERROR, "first line\nsecond")
    assert (row["raw"], row["judged"], row["reason"], row["message"]) == (
        "error",
        "error",
        "first line",
        "first line\nsecond",
    )
    assert row["sentence"] == "one two"


def test_a_moment_is_written_in_utc_with_milliseconds() -> None:
    assert timestamp(0.9996) == "1970-01-01T00:00:00.999Z"
