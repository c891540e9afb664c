"""``junit.xml``, as continuous integration systems read it.

Made with the junit-xml library. What it cannot do is set right in its result,
see :func:`_repaired`; ``junit.xsd`` beside this file describes the outcome and
``docs/reports.md`` has the mapping.
"""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import junit_xml

from conformance.model import Judged, printable
from conformance.report.journal import Row, Run
from conformance.report.results import results, words

#: Characters of one stream; the whole is in results.json.
STREAM_LIMIT = 8 * 1024
#: Characters of a failure's text. GitHub shows 65 535 bytes of an annotation.
TEXT_LIMIT = 16 * 1024
_MESSAGE_LIMIT = 500


def document(run: Run) -> str:
    """The run as JUnit XML: one test suite per path, one test case per check.

    Nothing but a raw pass that was judged ``passed`` or ``fixed`` is without a failure, error or skipped element.

    Args:
        run: from :func:`conformance.report.journal.read`.
    """
    merged = results(run)
    suites = []
    # Paths of the header first; a record that belongs to none of them is not lost.
    for name in dict.fromkeys([*merged["paths"], *(record["path"] for record in merged["records"])]):
        records = [record for record in merged["records"] if record["path"] == name]
        if records:
            suites.append(_suite(merged, name, [_case(merged, record) for record in records]))
    if merged["exit_status"] in (2, 3) and not any(case.is_error() for suite in suites for case in suite.test_cases):
        suites.append(_suite(merged, "-", [_incomplete(merged)]))
    for position, suite in enumerate(suites):
        suite.id = str(position)  # as text: the library takes 0 for "none"
    return _repaired(junit_xml.to_xml_report_string(suites, prettyprint=False, encoding="utf-8"))


def _suite(merged: Row, name: str, cases: list[Any]) -> Any:
    facts = merged["paths"].get(name, {}).get("facts") or {}
    shown = "session" if name == "-" else name
    return junit_xml.TestSuite(
        _clean(shown),
        test_cases=cases,
        hostname=_clean(str(facts.get("node", {}).get("hostname") or "localhost")),
        package="conformance." + _clean(shown),
        timestamp=str(merged["run"]["started"])[:19],  # the schema allows neither a zone nor fractions
        properties={_clean(key): _clean(value) for key, value in _properties(merged, name).items()},
    )


def _properties(merged: Row, name: str) -> dict[str, str]:
    """What a vendor needs to know about where these results come from."""
    run = merged["run"]
    path = merged["paths"].get(name, {})
    facts = path.get("facts") or {}
    properties = {
        "run": run["id"],
        "harness.version": run["harness"],
        "harness.commit": run.get("harness_commit"),
        "testbed": run["testbed"],
        "strict": run.get("strict"),
        "corpus": run.get("corpus"),
        "command": " ".join(run.get("argv", [])),
    }
    properties |= {f"path.{key}": path[key] for key in _PATH_PROPERTIES if path.get(key)}
    properties |= {f"node.{key}": value for key, value in facts.get("node", {}).items()}
    properties |= {f"component.{key}": value for key, value in facts.get("components", {}).items()}
    properties |= {f"sha256.{key}": value for key, value in facts.get("digests", {}).items()}
    properties |= {f"canary.{key}": value for key, value in (facts.get("canary") or {}).items()}
    properties |= {f"brought.{key}": value.get("sha256") for key, value in (run.get("brought") or {}).items()}
    for level, share in path.get("tally", {}).get("conformance", {}).items():
        properties[f"conformance.{level}"] = f"{share['passed']} of {share['of']}"
    return {key: words(value) for key, value in properties.items() if value is not None}


_PATH_PROPERTIES = ("summary", "layers", "launcher", "guest", "engine", "request", "below", "control")


def _case(merged: Row, record: Row) -> Any:
    """One check. The path is part of class name and name: some readers look at one of them only."""
    where, _, function = record["id"].rpartition("::")
    module = where.removesuffix(".py").replace("/", ".").replace("::", ".") or "session"
    details = _details(merged, record)
    case = junit_xml.TestCase(
        _clean(function),
        classname=_clean(module if record["path"] == "-" else f"{record['path']}.{module}"),
        elapsed_sec=record["times"].get("check_seconds"),
        stdout="\n".join([*details, *_stream(record, "stdout")]),
        stderr="\n".join(_stream(record, "stderr")),
    )
    message = _message(record)
    text = _bounded("\n".join(filter(None, [_shown(record["message"]), *details])), TEXT_LIMIT)
    match record["judged"]:
        case Judged.PASSED | Judged.FIXED if record["raw"] == "passed":
            pass
        case Judged.SKIPPED | Judged.EXPECTED_FAILURE | Judged.NOTED | Judged.INCONCLUSIVE:
            case.add_skipped_info(message, text)
        case Judged.ERROR | Judged.NOT_RUN:
            case.add_error_info(message, text, "infrastructure" if record["judged"] == Judged.ERROR else "not-run")
        case Judged.FAILED:
            case.add_failure_info(message, text, "non-conformance")
        case Judged.UNEXPECTED_PASS:
            case.add_failure_info(message, text, "unexpected-pass")
        case other:
            # A "passed" that is none, or a word this version does not know: never green.
            case.add_error_info(f"judged {other}, but raw {record['raw']}", text, "infrastructure")
    return case


def _message(record: Row) -> str:
    """One line: what was expected and what happened, or why it counts as it does."""
    reason = record["reason"] or (record["message"].strip().splitlines() or ["no reason recorded"])[0]
    expectation = record["expectation"] or {}
    match record["judged"]:
        case Judged.FAILED:
            actual = (record["message"].strip().splitlines() or [record["reason"] or "no message"])[0]
            message = f"expected: {record['sentence']}; actual: {actual}{_observed(record)}"
        case Judged.UNEXPECTED_PASS:
            message = f"expected: failure as in {expectation.get('id', 'an expectation')} "
            message += f"({expectation.get('reason', reason)}); actual: passed{_observed(record)}"
        case Judged.EXPECTED_FAILURE:
            proof = expectation.get("issue") or expectation.get("reproduction")
            message = f"expected failure: {expectation.get('reason') or reason}" + (f" ({proof})" if proof else "")
        case Judged.SKIPPED:
            message = f"{record['skip_reason'] or 'skipped'}: {reason}"
        case Judged.ERROR:
            message = reason
        case judged:
            message = f"{judged}: {reason}"
    line = _clean(message)
    return line if len(line) <= _MESSAGE_LIMIT else line[: _MESSAGE_LIMIT - 6] + " [...]"


def _observed(record: Row) -> str:
    shown = ", ".join(f"{key} {words(value)}" for key, value in record["observations"].items() if value is not None)
    return f" [{shown}]" if shown else ""


def _details(merged: Row, record: Row) -> list[str]:
    """The lines that every test case has, whatever its outcome."""
    requirement = merged["requirements"].get(record["requirement"])
    control = record["control"]
    lines = [f"check: {record['id']}"]
    if requirement:
        lines.append(f"requirement: {record['requirement']} ({requirement['level']}, {requirement['basis']})")
        lines += [f"rule: {requirement['text']}", f"source: {requirement['url']}"]
    lines.append(
        f"raw: {record['raw']}; judged: {record['judged']}" + (f": {record['reason']}" if record["reason"] else "")
    )
    if record["judged"] == Judged.FIXED:
        lines.append("fixed: this was expected to fail and passes on the binary that was brought")
    if expectation := record["expectation"]:
        lines.append(f"expectation: {expectation['id']}: {expectation['reason']}")
        lines += [f"{key}: {expectation[key]}" for key in ("issue", "reproduction") if expectation.get(key)]
    if control:
        same = "; also fails natively" if record["also_fails_natively"] else ""
        lines.append(f"control: {control['path']}: {control['raw']}{same}")
    if record["lost_here"]:
        lines.append(f"below: {record['below']['path']}: passed; lost in the layer above it")
    if record["requirement"] in merged["paths"].get(record["path"], {}).get("glue", ()):
        lines.append("glue: also rests on this project's own code between the library and the engine")
    if asked := (record["guest"] or {}).get("request"):
        lines.append(f"asked for by: {asked}")
    lines += [f"observed: {key} = {words(value)}" for key, value in record["observations"].items()]
    lines += [f"$ {command}" for command in record["commands"]]
    return [_shown(line) for line in lines]


def _stream(record: Row, name: str) -> list[str]:
    stream = record["streams"].get(name)
    if not stream or not stream["text"]:
        return []
    cut = ", truncated" if stream["truncated"] else ""
    return [f"--- {name} ({stream['bytes']} bytes{cut})", _shown(stream["text"])]


def _incomplete(merged: Row) -> Any:
    """The error of a run that has none of its own but says nothing: without it the file would be green."""
    case = junit_xml.TestCase("exit-status", classname="session", elapsed_sec=0)
    why = "the run was interrupted" if merged["exit_status"] == 2 else "no check was executed"
    case.add_error_info(why, f"{why}; exit status {merged['exit_status']}", "not-run")
    return case


def _repaired(xml: str) -> str:
    """The library's document in the shape of ``junit.xsd``.

    It writes an attribute ``disabled`` that no schema knows, puts a suite's streams first and leaves empty ones
    out, leaves out times of 0 and writes small ones as 1e-05, and forgets ``skipped`` in the root.
    """
    root = ElementTree.fromstring(xml.encode("utf-8"))  # noqa: S314 - our own text
    suites = root.findall("testsuite")
    root.set("skipped", str(sum(int(suite.get("skipped", 0)) for suite in suites)))
    for suite in suites:
        if suite.find("properties") is None:
            suite.insert(0, ElementTree.Element("properties"))
        for name in ("system-out", "system-err"):
            ElementTree.SubElement(suite, name)
    for element in root.iter():
        element.attrib.pop("disabled", None)
        if element.tag in ("testsuites", "testsuite", "testcase"):
            element.set("time", f"{float(element.get('time', 0)):.6f}")
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _clean(text: str) -> str:
    """``text`` in one line, what XML forbids made visible: the library deletes some of it, the rest it chokes on."""
    return " ".join(printable(text).split())


def _shown(text: str) -> str:
    """``text`` with its lines, visible and bounded. Cut before as well: a stream of megabytes takes seconds."""
    return _bounded(printable(_bounded(text.replace("\r\n", "\n"), STREAM_LIMIT)), STREAM_LIMIT)


def _bounded(text: str, limit: int) -> str:
    """``text`` cut in the middle: beginnings say what was asked, ends say how it went."""
    if len(text) <= limit:
        return text
    return f"{text[: limit // 2]}\n[... {len(text) - limit} characters left out ...]\n{text[-(limit // 2) :]}"
