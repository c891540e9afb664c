"""The run in a few lines: for a terminal, and as Markdown for a job summary."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable

from conformance.model import Judged, Raw, printable
from conformance.report.journal import Row, Run
from conformance.report.results import results

WIDTH = 100
#: Rows with the same cause that are listed one by one; a node that is down fails them all.
_ALIKE = 3

#: heading of a column -> outcomes it counts
_COLUMNS: dict[str, tuple[Judged, ...]] = {
    "passed": (Judged.PASSED,),
    "failed": (Judged.FAILED, Judged.UNEXPECTED_PASS),
    "expected": (Judged.EXPECTED_FAILURE,),
    "fixed": (Judged.FIXED,),
    "noted": (Judged.NOTED,),
    "unclear": (Judged.INCONCLUSIVE,),
    "errors": (Judged.ERROR, Judged.NOT_RUN),
    "skipped": (Judged.SKIPPED,),
}

#: outcome -> how it is called in front of a line; in this order
_PROBLEMS = {
    Judged.ERROR: "ERROR",
    Judged.NOT_RUN: "NOT RUN",
    Judged.FAILED: "FAILED",
    Judged.UNEXPECTED_PASS: "PASSED?",
    Judged.FIXED: "FIXED",
}


def terminal(run: Run) -> str:
    """A table with one row per path, then what needs somebody's attention.

    Args:
        run: from :func:`conformance.report.journal.read`.

    Returns:
        Plain text without control characters, no line longer than :data:`WIDTH`.
    """
    merged = results(run)
    lines = [*_table(merged), *_problems(merged), *_expected(merged)]
    lines += [part for note in merged["notes"] for part in _wrapped("note: ", note)]
    return "\n".join(lines) + "\n"


def _table(merged: Row) -> list[str]:
    shown = {name: path for name, path in merged["paths"].items() if sum(path["tally"]["judged"].values())}
    widest = min(28, max(map(len, [*shown, "path"])))
    headings = ["checks", *_COLUMNS]
    lines = [f"{'path':<{widest}}" + "".join(f" {heading:>{len(heading)}}" for heading in headings) + "  seconds"]
    for name, path in shown.items():
        tally = path["tally"]
        counts = [sum(tally["judged"].values()), *_counts(tally).values()]
        cells = "".join(f" {count or '-':>{len(heading)}}" for heading, count in zip(headings, counts, strict=True))
        lines.append(f"{_cut(printable(name), widest):<{widest}}{cells}  {tally['seconds']:7.1f}")
        lines += _wrapped("    ", "; ".join(filter(None, [raw_conformance(path), _skips(tally)])))
        if path["broken"]:
            lines += _wrapped("    ", f"broken: {path['broken']['reason']} {_proof(path['broken'])}")
    return lines


def _counts(tally: Row) -> dict[str, int]:
    return {heading: sum(tally["judged"][outcome] for outcome in group) for heading, group in _COLUMNS.items()}


def raw_conformance(path: Row) -> str:
    """``raw: MUST 61 of 68 · SHOULD 3 of 4``: what holds before anybody's expectations.

    Args:
        path: a value of ``paths`` in the merged results.
    """
    shares = path["tally"]["conformance"].items()
    return "raw: " + (" · ".join(f"{level} {s['passed']} of {s['of']}" for level, s in shares) or "no rule was tried")


def _skips(tally: Row) -> str:
    reasons = ", ".join(f"{count} {reason}" for reason, count in tally["skipped"].items() if count)
    return f"skipped: {reasons}" if reasons else ""


def _problems(merged: Row) -> Iterable[str]:
    """Each record that is red, an error or fixed, in two lines."""
    for outcome, word in _PROBLEMS.items():
        alike: dict[tuple[str, str], list[Row]] = {}
        for record in merged["records"]:
            if record["judged"] == outcome:
                cause = "" if outcome in (Judged.FAILED, Judged.UNEXPECTED_PASS, Judged.FIXED) else why(record)
                alike.setdefault((record["path"] if cause else record["id"], cause), []).append(record)
        for records in alike.values():
            for record in records[:_ALIKE]:
                yield ""
                # An id is for copying: whole, also where it takes a line of its own.
                alone = len(record["id"]) > WIDTH - 8
                yield from [word, *_wrapped("", record["id"])] if alone else _wrapped(f"{word:<8}", record["id"])
                yield from _wrapped("        ", f"{_rule(merged, record)}{why(record)}{_elsewhere(record)}", lines=2)
            if len(records) > _ALIKE:
                yield f"        and {len(records) - _ALIKE} more on {printable(records[0]['path'])} for the same reason"


def why(record: Row) -> str:
    """The reason of a verdict in one line; for a failure what the assertion said."""
    message = (record["message"].strip().splitlines() or [""])[0]
    if record["judged"] == Judged.UNEXPECTED_PASS and record["expectation"]:
        return f"passed, but {record['expectation']['id']} expects: {record['expectation']['reason']}"
    said = (message, record["reason"]) if record["judged"] == Judged.FAILED else (record["reason"], message)
    return next(filter(None, said), "no reason recorded")


def _elsewhere(record: Row) -> str:
    """What the control and the path below say about the same rule."""
    parts = []
    if record["lost_here"]:
        parts.append(f"holds in {record['below']['path']}, lost above it")
    if record["also_fails_natively"]:
        parts.append(f"also fails natively ({record['control']['path']})")
    elif record["differs_from_native"] and record["raw"] == Raw.FAILED:
        parts.append(f"{record['control']['path']} passes")
    return "".join(f"; {part}" for part in parts)


def _rule(merged: Row, record: Row) -> str:
    requirement = merged["requirements"].get(record["requirement"])
    return f"{record['requirement']} ({requirement['level']}, {requirement['basis']}): " if requirement else ""


def _expected(merged: Row) -> Iterable[str]:
    """One line for each expectation that was met; those that cover a whole path are in the table already."""
    entries = _met(merged)
    if entries:
        yield ""
        yield "expected failures"
    for expectation, records in entries:
        times = f" ({len(records)} checks)" if len(records) > 1 else ""
        line = f"{records[0]['path']} {records[0]['requirement']}{times}: {expectation['reason']}"
        # A link that is cut is none, so it moves to a line of its own where it does not fit.
        yield from _wrapped("  ", f"{line}; {_proof(expectation)}", lines=3)


def _met(merged: Row) -> list[tuple[Row, list[Row]]]:
    """Expectations that were met, with the records that met them."""
    entries: dict[tuple[str, str], tuple[Row, list[Row]]] = {}
    for record in merged["records"]:
        expectation = record["expectation"]
        broken = merged["paths"].get(record["path"], {}).get("broken")
        if record["judged"] == Judged.EXPECTED_FAILURE and expectation and not broken:
            entries.setdefault((record["path"], expectation["id"]), (expectation, []))[1].append(record)
    return list(entries.values())


def _proof(expectation: Row) -> str:
    if expectation.get("issue"):
        return str(expectation["issue"])
    return f"see reproduction in {expectation['id']}"


def _wrapped(first: str, text: str, *, lines: int | None = None) -> list[str]:
    indent = " " * len(first)
    # Made visible before it is measured: an escape is longer than what it stands for.
    return textwrap.wrap(
        printable(text),
        WIDTH,
        initial_indent=first,
        subsequent_indent=indent,
        max_lines=lines,
        placeholder=" [...]",
        break_on_hyphens=False,
    )


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def markdown(run: Run) -> str:
    """The run for a job summary: versions, table, failing checks with their rules, expected failures, nodes.

    Args:
        run: from :func:`conformance.report.journal.read`.
    """
    merged = results(run)
    info = merged["run"]
    verdict = {0: "conformant, as far as expected", 1: "not conformant", 2: "interrupted", 3: "incomplete"}
    parts = [
        f"# WebAssembly conformance: {verdict[merged['exit_status']]}",
        md(
            f"Run {info['id']}, started {info['started']}, testbed {info['testbed']}, "
            f"harness {info['harness']} ({info.get('harness_commit') or 'no commit'})."
        ),
        md_table(
            ["path", "components", "raw conformance", *_COLUMNS, "seconds"],
            (
                [
                    md(name) + (" **(broken)**" if path["broken"] else ""),
                    md(_versions(path)),
                    md(raw_conformance(path).removeprefix("raw: ")),
                    *map(str, _counts(path["tally"]).values()),
                    f"{path['tally']['seconds']:.1f}",
                ]
                for name, path in merged["paths"].items()
                if sum(path["tally"]["judged"].values())
            ),
        ),
        *_md_problems(merged),
    ]
    broken = [(name, path["broken"]) for name, path in merged["paths"].items() if path["broken"]]
    entries = [(expectation, records[0]["path"], records) for expectation, records in _met(merged)]
    entries += [(e, name, [r for r in merged["records"] if r["expectation"] == e]) for name, e in broken]
    if entries:
        parts += [
            "## Expected failures",
            md_table(
                ["path", "rules", "reason", "issue or reproduction"],
                (
                    [
                        md(path),
                        md(
                            ", ".join(sorted({r["requirement"] for r in records})[:4])
                            + (", …" if len(records) > 4 else "")
                        ),
                        md(expectation["reason"]),
                        _md_link(expectation["issue"])
                        if expectation.get("issue")
                        else md_code(expectation.get("reproduction") or ""),
                    ]
                    for expectation, path, records in entries
                ),
            ),
        ]
    if merged["differing"]:
        parts += [
            "## Where paths differ",
            md_table(
                ["rule", "level", "holds on", "does not hold on"],
                (
                    [
                        md(f"{rule}: {merged['requirements'][rule]['title']}"),
                        merged["requirements"][rule]["level"],
                        md(", ".join(sides["holds"])),
                        md(", ".join(sides["fails"])),
                    ]
                    for rule, sides in merged["differing"].items()
                ),
            ),
        ]
    nodes = {name: path["facts"]["node"] for name, path in merged["paths"].items() if (path["facts"] or {}).get("node")}
    if nodes:
        keys = [k for k in _NODE_FACTS if any(k in node for node in nodes.values())]
        rows = ([md(name), *(md(str(node.get(key, ""))) for key in keys)] for name, node in nodes.items())
        parts += ["## Nodes", md_table(["path", *(key.replace("_", " ") for key in keys)], rows)]
    parts += [md(f"Note: {note}.") for note in merged["notes"]]
    return "\n\n".join(parts) + "\n"


_NODE_FACTS = ("distribution", "kernel", "architecture", "init", "cgroup_mode", "cpus", "memory_mib", "apparmor")


def _md_problems(merged: Row) -> Iterable[str]:
    for outcome, word in _PROBLEMS.items():
        records = [record for record in merged["records"] if record["judged"] == outcome]
        if not records:
            continue
        yield f"## {word.replace('?', ' unexpectedly').capitalize()} ({len(records)})"
        shown = records if outcome in (Judged.FAILED, Judged.UNEXPECTED_PASS, Judged.FIXED) else records[:10]
        items = []
        for record in shown:
            requirement = merged["requirements"].get(record["requirement"])
            item = f"- {md_code(record['id'])}<br>{md(why(record) + _elsewhere(record))}"
            if requirement:
                rule = f"{record['requirement']} ({requirement['level']}, {requirement['basis']})"
                item += f"<br>{_md_link(requirement['url'], rule)}: {md(requirement['text'])}"
            items.append(item)
        if len(records) > len(shown):
            items.append(f"- and {len(records) - len(shown)} more")
        yield "\n".join(items)


def _versions(path: Row) -> str:
    components = (path["facts"] or {}).get("components", {})
    return ", ".join(f"{name} {version}" for name, version in components.items())


def md_table(headings: list[str], rows: Iterable[list[str]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def md(text: str) -> str:
    """``text`` as Markdown that shows it and does nothing else."""
    line = " ".join(printable(text).split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _MARKUP.sub(r"\\\g<0>", line)


#: An underscore between letters means nothing, and names are easier to read without a backslash.
_MARKUP = re.compile(r"[\\`*\[\]|~]|(?<!\w)_|_(?!\w)")


def md_code(text: str) -> str:
    """``text`` as code; a backtick would end the code, and a bar the cell that it is in."""
    line = " ".join(printable(text).split())
    if "`" in line or "|" in line:
        return f"<code>{md(line)}</code>"
    return f"`{line}`" if line else ""


def _md_link(url: str, text: str = "") -> str:
    """A link, or only its text where ``url`` is something else."""
    shown = md(text or url)
    safe = url.startswith(("https://", "http://")) and not set(url) & set(" ()<>\"'\\\n|")
    return f"[{shown}]({url})" if safe else shown
