"""``report.html``: one file, no network, readable without scripts and better with them.

The two tables are written here; the script adds filters, the arrow keys and
the panel behind each cell, which it fills from JSON at the end of the page.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import string
from collections.abc import Iterator
from functools import cache
from html import escape
from importlib import resources

from conformance.model import INFRASTRUCTURE, RED, Judged, Raw, printable
from conformance.report.journal import Row, Run
from conformance.report.profiles import PROFILES
from conformance.report.results import LEVELS, results, words

#: Bytes above which streams are shortened; whoever sends the page by mail will thank us.
SIZE_LIMIT = 2_000_000
#: From this many paths on the matrix starts with icons alone, so that all of it fits on a screen.
_MANY = 8
#: Characters of a stream, tried in this order until the page is small enough; results.json has all of them.
_STREAM_LIMITS = (8192, 2048, 512, 0)

#: outcome -> word in a cell, and what it means
WORDS: dict[str, tuple[str, str]] = {
    Judged.PASSED: ("passed", "The rule holds."),
    Judged.FAILED: ("failed", "The rule does not hold, and nobody expected that."),
    Judged.EXPECTED_FAILURE: ("expected", "Fails exactly as a known, documented failure does."),
    Judged.UNEXPECTED_PASS: ("unexpected pass", "A failure was expected; the expectation is out of date."),
    Judged.FIXED: ("fixed", "A failure was expected; it passes with the binary that was brought."),
    Judged.NOTED: ("noted", "An observation of this project that did not hold. No source asks for it."),
    Judged.INCONCLUSIVE: ("unclear", "The verdict would rest on an exit code that this path does not deliver."),
    Judged.ERROR: ("error", "The harness or the node failed. Says nothing about the runtime."),
    Judged.NOT_RUN: ("not run", "Planned, but the run ended before it."),
    Judged.SKIPPED: ("skipped", "Not tried: unsupported here, unavailable on this node, or switched off."),
}

#: answer -> icon and tone
_ANSWERS = {
    "yes": ("passed", "good"),
    "with care": ("noted", "warn"),
    "with gaps": ("failed", "bad"),
    "no": ("failed", "bad"),
    "not tested": ("skipped", "dim"),
}

_VERDICTS = {
    0: ("passed", "good", "Nothing unexpected"),
    1: ("failed", "bad", "Not conformant"),
    2: ("error", "odd", "Interrupted"),
    3: ("error", "odd", "Incomplete"),
}

_TONES: dict[str, str] = {
    Judged.PASSED: "good",
    Judged.FAILED: "bad",
    Judged.EXPECTED_FAILURE: "warn",
    Judged.UNEXPECTED_PASS: "bad",
    Judged.FIXED: "news",
    Judged.NOTED: "dim",
    Judged.INCONCLUSIVE: "warn",
    Judged.ERROR: "odd",
    Judged.NOT_RUN: "odd",
    Judged.SKIPPED: "dim",
}


def document(run: Run, previous: Run | None = None) -> str:
    """The run as one HTML page.

    Args:
        run: from :func:`conformance.report.journal.read`.
        previous: an earlier run; cells whose verdict changed since then are marked and can be filtered.

    Returns:
        A page that loads nothing. Streams are shortened where it would grow past :data:`SIZE_LIMIT`.
    """
    merged = results(run)
    changes = _changes(merged, previous)
    page = ""
    for limit in _STREAM_LIMITS:
        page = _page(merged, changes, previous, limit)
        if len(page.encode("utf-8")) < SIZE_LIMIT:
            break
    return page


def _page(merged: Row, changes: dict[str, str], previous: Run | None, stream_limit: int) -> str:
    style, script = _asset("report.css"), _asset("report.js")
    icon, tone, verdict = _VERDICTS[merged["exit_status"]]
    run = merged["run"]
    tried = {record["requirement"] for record in merged["records"]}
    areas = dict.fromkeys(rule["area"] for name, rule in merged["requirements"].items() if name in tried)
    return string.Template(_asset("report.html.template")).substitute(
        policy=f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src '{_hash(script)}'",
        title=_text(
            f"{verdict}: {', '.join(name for name, path in merged['paths'].items() if path['guest'] == 'wasm')}"
        ),
        style=style,
        script=script,
        verdict=f'<span class="chip {tone}">{_icon(icon)}{_text(verdict)}</span>',
        facts="".join(
            f"<div><dt>{_text(key)}</dt><dd>{_text(value)}</dd></div>"
            for key, value in _run_facts(merged, changes, previous)
        ),
        command=_text(" ".join(run.get("argv", []))),
        notes="".join(f'<li class="note">{_text(note)}</li>' for note in merged["notes"]),
        session="".join(_session(merged)),
        profiles="".join(
            f'<th scope="col" role="columnheader">{_text(name.capitalize())}<small>{_text(what)}</small></th>'
            for name, what in PROFILES.items()
        ),
        overview="".join(_overview(merged)),
        paths="".join(_heading(merged, name) for name in merged["paths"]),
        matrix="".join(_matrix(merged, changes)),
        areas="".join(f'<option value="{_text(area)}">{_text(area)}</option>' for area in areas),
        changed="" if previous else "hidden",
        several="" if len(_choosable(merged)) > 1 else "hidden",
        compact="checked" if len(merged["paths"]) >= _MANY else "",
        layers="".join(f'<option value="{_text(layer)}">{_text(layer)}</option>' for layer in _choosable(merged)),
        legend="".join(
            f'<div><dt><span class="cell {_TONES[outcome]}">{_icon(outcome)}{word}</span></dt><dd>{meaning}</dd></div>'
            for outcome, (word, meaning) in WORDS.items()
        ),
        nodes="".join(_nodes(merged)),
        data=_data(merged, changes, stream_limit),
    )


def _run_facts(merged: Row, changes: dict[str, str], previous: Run | None) -> Iterator[tuple[str, str]]:
    run = merged["run"]
    yield "Run", run["id"]
    yield "Started", str(run["started"]).replace("T", " ").replace("Z", " UTC")
    yield "Testbed", run["testbed"]
    yield "Harness", run["harness"] + (f" ({run['harness_commit']})" if run.get("harness_commit") else "")
    if run.get("strict"):
        yield "Mode", "strict: expectations are ignored"
    for name, brought in (run.get("brought") or {}).items():
        yield "Brought", f"{name} from {brought.get('file', '?')} (sha256 {str(brought.get('sha256'))[:12]}…)"
    if previous:
        yield "Compared", f"with {previous.run['id']}: {len(changes)} of {len(merged['records'])} verdicts changed"


def _session(merged: Row) -> Iterator[str]:
    """What has no place in the matrix: trouble before any path could be tried."""
    for number, record in enumerate(merged["records"]):
        if record["path"] not in merged["paths"] or record["requirement"] not in merged["requirements"]:
            yield f'<li class="note">{_cell(number, record, {}, {})} {_text(record["reason"] or record["id"])}</li>'


def _overview(merged: Row) -> Iterator[str]:
    """One row per path: can I use this?"""
    controls = {path.get("control") for path in merged["paths"].values()}
    numbers = _failing(merged)
    for name, path in merged["paths"].items():
        facts = path["facts"] or {}
        versions = ", ".join(f"{key} {value}" for key, value in facts.get("components", {}).items())
        broken = (
            f'<p class="broken">{_icon("failed")}broken: {_text(path["broken"]["reason"])}</p>'
            if path["broken"]
            else ""
        )
        kind = " control" if name in controls else ""
        layers = " › ".join(_text(layer) for layer in path["layers"])
        about = ("native control · " if kind else "") + (versions or path.get("summary", ""))
        yield f'<tr role="row" class="path{kind}"><th scope="row" role="rowheader"><b>{_text(name)}</b>'
        yield f'<span class="layers">{layers}</span><small>{_text(about)}</small>{broken}</th>'
        for profile, use in path["profiles"].items():
            answer = _answer(use, numbers.get(name, {}), merged["requirements"])
            yield f'<td role="cell" data-label="{_text(profile)}">{answer}</td>'
        yield f'<td role="cell" data-label="raw conformance">{_bars(path["tally"]["conformance"])}</td>'
        yield f'<td role="cell" data-label="outcomes" class="counts">{_counts(path)}</td></tr>'


def _choosable(merged: Row) -> list[str]:
    """Layers that some of the paths have and others do not."""
    layers = [set(path["layers"]) for path in merged["paths"].values()]
    return [layer for layer in sorted(set().union(*layers)) if not all(layer in one for one in layers)]


def _failing(merged: Row) -> dict[str, dict[str, int]]:
    """path -> requirement -> number of a record that shows that it does not hold."""
    found: dict[str, dict[str, int]] = {}
    for number, record in enumerate(merged["records"]):
        if record["raw"] == Raw.FAILED or record["judged"] == Judged.INCONCLUSIVE:
            found.setdefault(record["path"], {}).setdefault(record["requirement"], number)
    return found


def _answer(use: Row, numbers: dict[str, int], requirements: Row) -> str:
    icon, tone = _ANSWERS[use["answer"]]
    answer = f'<span class="chip {tone}">{_icon(icon)}{use["answer"]}</span>'
    if not use["tried"]:
        return answer
    answer += f"<small>{use['passed']} of {use['tried']} checks hold</small>"
    # Where nothing holds a list of everything helps nobody.
    if not use["passed"] or not use["broken"]:
        return answer
    rules = "".join(
        f'<li><button type="button" class="link" data-record="{numbers[rule]}">{_text(rule)}</button></li>'
        for rule in use["broken"]
        if rule in numbers
    )
    levels = [requirements[rule]["level"] for rule in use["broken"]]
    counts = ", ".join(f"{levels.count(level)} {level}" for level in LEVELS if level in levels)
    return f"{answer}<details><summary>{counts} broken</summary><ul>{rules}</ul></details>"


def _bars(conformance: Row) -> str:
    """How much holds before anybody's expectations; the numbers say it, the bar only repeats it."""
    rows = (
        f'<span class="share"><span>{level}</span><i style="--share:{share["passed"] / share["of"]:.4f}"></i>'
        f"<span>{share['passed']} of {share['of']}</span></span>"
        for level, share in conformance.items()
    )
    return "".join(rows) or '<small class="dim">no rule was tried</small>'


def _counts(path: Row) -> str:
    tally = path["tally"]
    counts = {outcome: count for outcome, count in tally["judged"].items() if count and outcome != Judged.SKIPPED}
    if path["broken"]:
        shown = f'<span class="count bad">{_icon("failed")}broken: one known cause</span>'
    else:
        shown = "".join(
            f'<span class="count {_TONES[outcome]}">{_icon(outcome)}{count} {WORDS[outcome][0]}</span>'
            for outcome, count in counts.items()
        )
    reasons = ", ".join(f"{count} {reason}" for reason, count in tally["skipped"].items() if count)
    skipped = f"skipped: {reasons} · " if reasons else ""
    return f"<div>{shown}</div><small>{skipped}{tally['seconds']:.1f} s</small>"


def _heading(merged: Row, name: str) -> str:
    of = [other for other, path in merged["paths"].items() if path.get("control") == name]
    kind = ' class="control"' if of else ""
    role = "native control" if of else (merged["paths"][name].get("engine") or merged["paths"][name]["guest"])
    shown = _text(name).replace("-", "-<wbr>")
    layers = _text(" ".join(merged["paths"][name]["layers"]))
    return (
        f'<th scope="col" role="columnheader"{kind} data-layers="{layers}">'
        f"<span>{shown}<small>{_text(role)}</small></span></th>"
    )


def _matrix(merged: Row, changes: dict[str, str]) -> Iterator[str]:
    """One body per area, one row per rule, one cell per path."""
    cells: dict[tuple[str, str], list[tuple[int, Row]]] = {}
    for number, record in enumerate(merged["records"]):
        cells.setdefault((record["requirement"], record["path"]), []).append((number, record))
    tried = {requirement for requirement, _ in cells}
    controls = {path.get("control") for path in merged["paths"].values()}
    areas: dict[str, list[str]] = {}
    for name, requirement in merged["requirements"].items():
        if name in tried:
            areas.setdefault(requirement["area"], []).append(name)
    width = len(merged["paths"]) + 1
    for area, names in areas.items():
        yield f'<tbody role="rowgroup" data-area="{_text(area)}"><tr role="row" class="area">'
        yield f'<th scope="rowgroup" role="rowheader" colspan="{width}"><span>{_text(area)}</span></th></tr>'
        for name in names:
            requirement = merged["requirements"][name]
            level = requirement["level"]
            yield f'<tr role="row" data-rule="{_text(name)}" data-level="{level}">'
            yield f'<th scope="row" role="rowheader"><span class="title">{_text(requirement["title"])}</span>'
            yield f'<span class="rule"><b class="level">{level}</b> <code>{_text(name)}</code></span></th>'
            for path in merged["paths"]:
                kind = ' class="control"' if path in controls else ""
                inside = "".join(
                    _cell(number, record, changes, merged["paths"], between=name in merged["differing"])
                    for number, record in cells.get((name, path), [])
                )
                yield f'<td role="cell"{kind} data-label="{_text(path)}">{inside or _NOTHING}</td>'
            yield "</tr>"
        yield "</tbody>"


_NOTHING = '<span class="none">no check</span>'


def _cell(number: int, record: Row, changes: dict[str, str], paths: Row, *, between: bool = False) -> str:
    """A button with icon and word; the script opens the record behind it.

    Args:
        between: paths differ on this rule.
    """
    marks = []
    flags = []
    word, tone, icon = WORDS[record["judged"]][0], _TONES[record["judged"]], record["judged"]
    if record["judged"] == Judged.EXPECTED_FAILURE and paths.get(record["path"], {}).get("broken"):
        # One cause is one message: sixty of them would drown the rest.
        word, tone, icon = "broken", "dim", "failed"
    if record["raw"] not in (Raw.PASSED, Raw.SKIPPED):
        flags.append("fails")
    if record["judged"] in RED | INFRASTRUCTURE:
        flags.append("unexpected")
    if record["differs_from_native"]:
        flags.append("differs")
        marks.append("≠ native")
    if between:
        flags.append("between")
    if record["lost_here"]:
        flags.append("lost")
        marks.append(f"lost above {paths[record['below']['path']]['layers'][0]}")
    if record["id"] in changes:
        flags.append("changed")
        marks.append(changes[record["id"]])
    variant = record["id"].removeprefix(record["check"]).strip("[]").removeprefix(record["path"]).strip("-")
    small = "".join(f"<small>{_text(mark)}</small>" for mark in [*filter(None, [variant]), *marks])
    return (
        f'<button type="button" class="cell {tone}" data-record="{number}" data-flags="{" ".join(flags)}">'
        f'<span>{_icon(icon)}<span class="word">{word}</span></span>{small}</button>'
    )


def _nodes(merged: Row) -> Iterator[str]:
    """Machine and versions of each path."""
    for name, path in merged["paths"].items():
        facts = path["facts"]
        yield f"<details><summary><b>{_text(name)}</b> "
        if facts is None:
            yield '<span class="dim">never opened</span></summary></details>'
            continue
        node = facts.get("node", {})
        shown = [
            node.get("distribution"),
            node.get("kernel"),
            node.get("architecture"),
            f"cgroup {node.get('cgroup_mode', '?')}",
        ]
        yield f'<span class="dim">{_text(" · ".join(str(word) for word in shown if word))}</span></summary>'
        for heading, values in (
            ("Components", facts.get("components")),
            ("Node", node),
            ("Canary", facts.get("canary")),
            ("SHA-256", facts.get("digests")),
        ):
            if values:
                rows = "".join(f"<div><dt>{_text(k)}</dt><dd>{_text(words(v))}</dd></div>" for k, v in values.items())
                yield f'<h3>{heading}</h3><dl class="pairs">{rows}</dl>'
        yield "</details>"


def _changes(merged: Row, previous: Run | None) -> dict[str, str]:
    """record id -> what it was in ``previous``, where it is something else now."""
    if previous is None:
        return {}
    before = {record["id"]: record["judged"] for record in previous.records}
    return {
        record["id"]: f"was {WORDS[before[record['id']]][0]}" if record["id"] in before else "new"
        for record in merged["records"]
        if before.get(record["id"]) != record["judged"]
    }


_RECORD_KEYS = (
    "id", "sentence", "path", "requirement", "raw", "judged", "reason", "skip_reason", "message", "observations",
    "commands", "times", "memory_peak_bytes", "guest", "attempts", "control", "also_fails_natively",
    "differs_from_native", "below", "lost_here", "started",
)  # fmt: skip


def _data(merged: Row, changes: dict[str, str], stream_limit: int) -> str:
    """What the panel shows: JSON, compressed (paths say much the same) and in letters that cannot end its element.

    Empty values are left out and expectations are listed once: a path where nothing starts repeats one on each check.
    """
    expectations: list[Row] = []
    rows = []
    for record in merged["records"]:
        row = {key: record[key] for key in _RECORD_KEYS if record[key] not in (None, "", [], {}, False)}
        row["message"] = _cut(record["message"], 4096)
        row["streams"] = {
            name: {**stream, "text": _cut(stream["text"], stream_limit)} for name, stream in record["streams"].items()
        }
        if record["id"] in changes:
            row["change"] = changes[record["id"]]
        if record["expectation"]:
            if record["expectation"] not in expectations:
                expectations.append(record["expectation"])
            row["expectation"] = expectations.index(record["expectation"])
        rows.append(row)
    data = {
        "words": {outcome: [word, meaning, _TONES[outcome]] for outcome, (word, meaning) in WORDS.items()},
        "requirements": merged["requirements"],
        "paths": {
            name: {
                key: path.get(key)
                for key in ("summary", "layers", "guest", "engine", "request", "control", "glue", "facts")
            }
            for name, path in merged["paths"].items()
        },
        "expectations": expectations,
        "records": rows,
    }
    packed = gzip.compress(json.dumps(data, separators=(",", ":")).encode(), mtime=0)
    return base64.b64encode(packed).decode("ascii")


def _cut(text: str, limit: int) -> str:
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]}\n[... {len(text) - 2 * half} characters are in results.json ...]\n{text[len(text) - half :]}"


def _text(text: str) -> str:
    """``text`` for an element or an attribute in quotes."""
    return escape(printable(text))


def _icon(name: str) -> str:
    return f'<svg class="icon" aria-hidden="true"><use href="#i-{name}"/></svg>'


@cache
def _asset(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _hash(script: str) -> str:
    """How a Content-Security-Policy names this script: what a stream may smuggle in does not run."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
