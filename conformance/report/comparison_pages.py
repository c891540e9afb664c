"""Comparisons for people: on a terminal, as Markdown for a job summary, as a page."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from importlib import resources

from conformance.model import printable
from conformance.report.comparison import Change, Comparison, Difference, Kind, Lone
from conformance.report.summary import WIDTH, md, md_code, md_table

_HEADINGS = {
    Kind.REGRESSION: "Regressions",
    Kind.FIX: "Fixes",
    Kind.OTHER: "Other changes",
    Kind.EXPLAINED: "Explained by the node",
}
_TONES = {Kind.REGRESSION: "bad", Kind.FIX: "good", Kind.OTHER: "warn", Kind.EXPLAINED: "dim"}
_NOTHING = "-"


def verdict(comparison: Comparison) -> str:
    """The comparison in one line: ``1 regression, 2 fixes, 0 other changes, ...``.

    Args:
        comparison: from :func:`conformance.report.comparison.compare`.
    """
    singular = {
        Kind.REGRESSION: ("regression", "regressions"),
        Kind.FIX: ("fix", "fixes"),
        Kind.OTHER: ("other change", "other changes"),
        Kind.EXPLAINED: ("explained by the node", "explained by the node"),
    }
    parts = [f"{comparison.count(kind)} {words[comparison.count(kind) != 1]}" for kind, words in singular.items()]
    lone = len(comparison.only_before) + len(comparison.only_after)
    return ", ".join([*parts, f"{lone} in one run only", f"{comparison.same} the same"])


# ---- terminal


def terminal(comparisons: Sequence[Comparison]) -> str:
    """Plain text without control characters; only an id may make a line longer than 100.

    Args:
        comparisons: each from :func:`conformance.report.comparison.compare`.
    """
    return "\n".join(map(_terminal, comparisons))


def _terminal(comparison: Comparison) -> str:
    lines = [f"{comparison.before} -> {comparison.after}", verdict(comparison)]
    if comparison.differences:
        lines += ["", "versions and nodes"]
        for one in comparison.differences:
            lines += _wrapped("  ", f"{_difference(one)}{_where(comparison, one.paths)}")
    lines += ["", "raw conformance"]
    for pair, levels in comparison.conformance:
        lines += _wrapped(
            "  ", f"{_pair(pair)}: {' · '.join(_level(level) for level in levels) or 'no rule was tried'}"
        )
    for kind, heading in _HEADINGS.items():
        changes = comparison.of(kind)
        if changes:
            lines += ["", f"{heading.lower()} ({len(changes)})"]
            for change in changes:
                lines.append(printable(f"  {change.before} -> {change.after}  {change.id}"))
                lines += [line for text in _details(change) for line in _wrapped("      ", text, lines=3)]
    for heading, lone in _lone(comparison):
        lines += ["", f"{heading} ({len(lone)})", *(printable(f"  {one.judged}  {one.id}") for one in lone)]
    lines += [line for note in _notes(comparison) for line in ["", *_wrapped("", note)]]
    return "\n".join(lines) + "\n"


def _wrapped(indent: str, text: str, *, lines: int | None = None) -> list[str]:
    return textwrap.wrap(
        printable(text), WIDTH, initial_indent=indent, subsequent_indent=f"{indent}  ", max_lines=lines,
        placeholder=" [...]", break_on_hyphens=False, break_long_words=False,
    )  # fmt: skip


def _difference(one: Difference) -> str:
    return f"{one.what}: {one.before or _NOTHING} -> {one.after or _NOTHING}"


def _where(comparison: Comparison, paths: tuple[str, ...]) -> str:
    """Which paths a difference was seen on, where that is not all of them."""
    return f" ({', '.join(paths)})" if paths and len(paths) < len(comparison.pairs) else ""


def _pair(pair: tuple[str, str]) -> str:
    return pair[0] if pair[0] == pair[1] else f"{pair[0]} -> {pair[1]}"


def _level(level: tuple[str, str, str]) -> str:
    name, before, after = level
    return f"{name} {before}" if before == after else f"{name} {before} -> {after}"


def _details(change: Change) -> Iterator[str]:
    if change.reason:
        yield f"{change.requirement}: {change.reason}" if change.requirement else change.reason
    if change.observed:
        yield f"observed: {'; '.join(change.observed)}"


def _lone(comparison: Comparison) -> Iterator[tuple[str, tuple[Lone, ...]]]:
    for run, lone in ((comparison.before, comparison.only_before), (comparison.after, comparison.only_after)):
        if lone:
            yield f"only in {run}", lone


def _notes(comparison: Comparison) -> Iterator[str]:
    for run, names in zip((comparison.before, comparison.after), comparison.unpaired, strict=True):
        if names:
            yield f"Not compared, only in {run}: {', '.join(names)}"


# ---- Markdown


def markdown(comparisons: Sequence[Comparison]) -> str:
    """The comparisons for a job summary or an issue.

    Args:
        comparisons: each from :func:`conformance.report.comparison.compare`.
    """
    return "\n".join(map(_markdown, comparisons))


def _markdown(comparison: Comparison) -> str:
    regressed = comparison.count(Kind.REGRESSION)
    parts = [
        f"# Comparison: {'regressions' if regressed else 'no regression'}",
        md(f"{comparison.before} → {comparison.after}: {verdict(comparison)}."),
    ]
    if comparison.differences:
        parts += ["## Versions and nodes", md_table(["what", "before", "after", "paths"], _md_differences(comparison))]
    parts += [
        "## Raw conformance",
        md_table(
            ["path", "level", "before", "after"],
            ([md(_pair(pair)), *map(md, level)] for pair, levels in comparison.conformance for level in levels),
        ),
    ]
    for kind, heading in _HEADINGS.items():
        if changes := comparison.of(kind):
            parts += [f"## {heading} ({len(changes)})", "\n".join(map(_md_change, changes))]
    for heading, lone in _lone(comparison):
        items = "\n".join(f"- {md_code(one.id)}: {one.judged}" for one in lone)
        parts += [f"## {md(heading.capitalize())} ({len(lone)})", items]
    parts += [md(f"{note}.") for note in _notes(comparison)]
    return "\n\n".join(parts) + "\n"


def _md_differences(comparison: Comparison) -> Iterator[list[str]]:
    for one in comparison.differences:
        paths = ", ".join(one.paths) if _where(comparison, one.paths) else ""
        yield [md(one.what), md(one.before or _NOTHING), md(one.after or _NOTHING), md(paths)]


def _md_change(change: Change) -> str:
    details = "".join(f"<br>{md(text)}" for text in _details(change))
    return f"- {change.before} → **{change.after}** {md_code(change.id)}{details}"


# ---- page


def html(comparisons: Sequence[Comparison]) -> str:
    """The comparisons as one page that loads nothing, in the look of ``report.html``.

    Args:
        comparisons: each from :func:`conformance.report.comparison.compare`; at least one.
    """
    regressed = any(comparison.count(Kind.REGRESSION) for comparison in comparisons)
    word, tone = ("Regressions", "bad") if regressed else ("No regression", "good")
    style = resources.files(__package__).joinpath("report.css").read_text(encoding="utf-8")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
        "style-src 'unsafe-inline'\">\n"
        '<meta name="color-scheme" content="light dark">\n<meta name="referrer" content="no-referrer">\n'
        f'<title>{word}: {_text(comparisons[-1].after)}</title>\n<link rel="icon" href="data:,">\n'
        f"<style>{style}</style>\n</head>\n<body>\n<header>\n"
        f"<h1>WebAssembly in OCI runtimes <span>comparison of {_number(len(comparisons) + 1)} runs</span></h1>\n"
        f'<div class="verdict"><span class="chip {tone}">{word}</span></div>\n'
        f"{''.join(map(_facts, comparisons))}</header>\n<main>\n"
        f"{''.join(_pair_of_runs(one, alone=len(comparisons) == 1) for one in comparisons)}</main>\n</body>\n</html>\n"
    )


def _number(count: int) -> str:
    return {2: "two", 3: "three", 4: "four"}.get(count, str(count))


def _facts(comparison: Comparison) -> str:
    return (
        f'<dl class="facts"><div><dt>Before</dt><dd>{_text(comparison.before)}</dd></div>'
        f"<div><dt>After</dt><dd>{_text(comparison.after)}</dd></div>"
        f"<div><dt>Found</dt><dd>{_text(verdict(comparison))}</dd></div></dl>\n"
        f'<ul class="notes">{"".join(_item(note) for note in _notes(comparison))}</ul>\n'
    )


def _pair_of_runs(comparison: Comparison, *, alone: bool) -> str:
    heading = "" if alone else f"<h1>{_text(comparison.before)} → {_text(comparison.after)}</h1>\n"
    return heading + "".join(_sections(comparison))


def _sections(comparison: Comparison) -> Iterator[str]:
    if comparison.differences:
        rows = (
            (_text(one.what), _text(one.before or _NOTHING), _text(one.after or _NOTHING), _text(", ".join(one.paths)))
            for one in comparison.differences
        )
        yield _table("Versions and nodes", ("what", "before", "after", "paths"), rows)
    yield _table(
        "Raw conformance",
        ("path", "level", "before", "after"),
        (
            (_text(_pair(pair)), *(_text(word) for word in level))
            for pair, levels in comparison.conformance
            for level in levels
        ),
    )
    for kind, heading in _HEADINGS.items():
        if changes := comparison.of(kind):
            yield _table(
                f"{heading} ({len(changes)})", ("check", "before", "after", "why"), map(_row, changes), _TONES[kind]
            )
    for heading, lone in _lone(comparison):
        found = ((f"<code>{_text(one.id)}</code>", _text(one.judged)) for one in lone)
        yield _table(f"{heading.capitalize()} ({len(lone)})", ("check", "outcome"), found)


def _row(change: Change) -> tuple[str, ...]:
    details = "<br>".join(_text(text) for text in _details(change))
    return f"<code>{_text(change.id)}</code>", _text(change.before), _text(change.after), details


def _table(heading: str, columns: tuple[str, ...], rows: Iterable[tuple[str, ...]], tone: str = "") -> str:
    """A section with one table; cells are HTML already."""
    head = "".join(f'<th scope="col">{column}</th>' for column in columns)
    body = "".join(
        f'<tr><th scope="row">{first}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'
        for first, *cells in rows
    )
    chip = f' <span class="chip {tone}">{escape(heading)}</span>' if tone else escape(heading)
    return (
        f'<section><h2>{chip}</h2>\n<table class="overview"><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></section>\n"
    )


def _item(text: str) -> str:
    return f'<li class="note">{_text(text)}</li>'


def _text(text: str) -> str:
    return escape(printable(text))
