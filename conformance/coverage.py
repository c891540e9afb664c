"""What the suites cover: of the checklists, and of the runtime specification's rules.

The lists are YAML files in ``suites/coverage``, cross-checked with the catalogue; ``docs/coverage.md``
is rendered from them. Nothing is run: what a path does is told by its features and by the expectations.
"""

from __future__ import annotations

import fnmatch
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from conformance.catalogue import Catalogue
from conformance.documents import fill, load, nearest
from conformance.errors import UsageError
from conformance.model import WHOLE_PATH, Check, Expectation, Feature, RuntimePath
from conformance.session import features_of

RUNTIME_SPEC = "runtime-spec.yaml"
#: What a rule of the specification can be, in the order of the tables.
STATUSES = ("covered", "partly", "not yet", "not applicable")
#: Keyword of a rule to the word that a chapter counts.
WORDS = {"MUST": "musts", "MUST NOT": "musts", "REQUIRED": "required"}


@dataclass(frozen=True)
class Checklist:
    """A list of behaviours that paths of one kind are asked about.

    Attributes:
        name: of its file, and for people.
        lines: how many it has.
        with_pods: whether it is about paths whose containers live in pods, or about the others.
    """

    name: str
    lines: int
    with_pods: bool

    @property
    def file(self) -> str:
        return f"{self.name}.yaml"


LOW_LEVEL, PODS = Checklist("low-level", 75, False), Checklist("pods", 57, True)
CHECKLISTS = (LOW_LEVEL, PODS)


@dataclass(frozen=True)
class Reason:
    """Why a line of the checklist has no check, or what its checks leave out."""

    code: Literal["unsupported", "unavailable", "disabled", "no-listener", "later"]
    text: str


@dataclass(frozen=True)
class Line:
    """One behaviour of a checklist.

    Attributes:
        number: from 1 to the number of lines.
        requirements: whose checks look at it.
        reason: given where there are none, or where they see a part only.
    """

    number: int
    what: str
    area: str
    requirements: tuple[str, ...] = ()
    reason: Reason | None = None
    file: Path = Path()
    line: int = 0


@dataclass(frozen=True)
class Chapter:
    """A file of the specification and how often the two words are in it.

    Attributes:
        counted: how these numbers came about.
    """

    name: str
    musts: int
    required: int
    counted: str
    file: Path = Path()
    line: int = 0


@dataclass(frozen=True)
class Rule:
    """One rule of the specification, or several alike.

    Attributes:
        section: ``config.md#process``.
        says: a paraphrase.
        count: occurrences of the keyword that it stands for.
        covered: requirements whose checks would see a violation.
        not_applicable: why no check of a runtime on Linux can be about it.
        not_yet: which check is missing.
    """

    section: str
    says: str
    level: Literal["MUST", "MUST NOT", "REQUIRED"]
    count: int = 1
    covered: tuple[str, ...] = ()
    not_applicable: str = ""
    not_yet: str = ""
    file: Path = Path()
    line: int = 0

    @property
    def chapter(self) -> str:
        """The file that the section is in."""
        return self.section.partition("#")[0]

    @property
    def status(self) -> str:
        """One of :data:`STATUSES`."""
        if self.not_applicable:
            return "not applicable"
        if self.covered:
            return "partly" if self.not_yet else "covered"
        return "not yet"


@dataclass(frozen=True)
class Specification:
    """The runtime specification at a tag, as far as we read it."""

    tag: str
    url: str
    chapters: tuple[Chapter, ...]
    rules: tuple[Rule, ...]
    file: Path = Path()
    line: int = 0


@dataclass(frozen=True)
class Coverage:
    """All lists, checked against each other and against the suites."""

    catalogue: Catalogue
    checklists: Mapping[Checklist, tuple[Line, ...]]
    specification: Specification

    def checks_of(self, requirements: Iterable[str]) -> list[Check]:
        """The checks that are bound to any of these requirements."""
        wanted = set(requirements)
        return [check for check in self.catalogue.checks.values() if check.requirement in wanted]

    def rules_of(self, chapter: str) -> list[Rule]:
        """The rules of one chapter."""
        return [rule for rule in self.specification.rules if rule.chapter == chapter]

    def named_by(self, requirement: str) -> str:
        """Which entries name a requirement: lines of the checklist, sections of the specification."""
        named = []
        for checklist, lines in self.checklists.items():
            numbers = [str(line.number) for line in lines if requirement in line.requirements]
            named += [f"{checklist.name} line {', '.join(numbers)}"] if numbers else []
        sections = dict.fromkeys(r.section for r in self.specification.rules if requirement in r.covered)
        return ", ".join([*named, *(f"[{name}]" for name in sections)])


def read(catalogue: Catalogue) -> Coverage:
    """Read all lists and cross-check them.

    Raises:
        UsageError: the first mistake found, with file and line.
    """
    directory = catalogue.root / "coverage"
    lists = {
        one: tuple(fill(Line, row, directory / one.file) for row in load(directory / one.file)) for one in CHECKLISTS
    }
    file = directory / RUNTIME_SPEC
    rows = load(file)
    if len(rows) != 1:
        raise UsageError(f"{file}:1: expected one specification, found {len(rows)}")
    coverage = Coverage(catalogue, lists, fill(Specification, rows[0], file))
    for checklist in CHECKLISTS:
        _check_lines(coverage, checklist, directory / checklist.file)
    _check_rules(coverage)
    _check_requirements(coverage)
    return coverage


def _check_lines(coverage: Coverage, checklist: Checklist, file: Path) -> None:
    seen: dict[int, Line] = {}
    for line in coverage.checklists[checklist]:
        where = f"{file}:{line.line}"
        if not 1 <= line.number <= checklist.lines:
            raise UsageError(f"{where}: number {line.number} is not in 1 to {checklist.lines}")
        if line.number in seen:
            raise UsageError(f"{where}: number {line.number} is there twice (first: line {seen[line.number].line})")
        if not line.requirements and line.reason is None:
            raise UsageError(f"{where}: number {line.number} needs 'requirements' or a 'reason'")
        seen[line.number] = line
    missing = [str(number) for number in range(1, checklist.lines + 1) if number not in seen]
    if missing:
        raise UsageError(f"{file}: number {', '.join(missing)} is missing")


def _check_rules(coverage: Coverage) -> None:
    known = [chapter.name for chapter in coverage.specification.chapters]
    for rule in coverage.specification.rules:
        where = f"{coverage.specification.file}:{rule.line}"
        if rule.chapter not in known:
            raise UsageError(f"{where}: unknown chapter '{rule.chapter}'{_nearest(rule.chapter, known)}")
        if bool(rule.not_applicable) == bool(rule.covered or rule.not_yet):
            raise UsageError(f"{where}: give 'covered', 'not_yet', or both; or else 'not_applicable'")
        if rule.count < 1:
            raise UsageError(f"{where}: count {rule.count} is not positive")
    for chapter in coverage.specification.chapters:
        sums = Counter[str]()
        for rule in coverage.rules_of(chapter.name):
            sums[WORDS[rule.level]] += rule.count
        for word in ("musts", "required"):
            if sums[word] != getattr(chapter, word):
                raise UsageError(
                    f"{coverage.specification.file}:{chapter.line}: {chapter.name}: the entries' counts make"
                    f" {sums[word]}, '{word}' says {getattr(chapter, word)}"
                )


def _check_requirements(coverage: Coverage) -> None:
    known = coverage.catalogue.requirements
    named = set()
    lines = [line for lines in coverage.checklists.values() for line in lines]
    entries: list[tuple[Line | Rule, tuple[str, ...]]] = [(one, one.requirements) for one in lines]
    entries += [(one, one.covered) for one in coverage.specification.rules]
    for entry, requirements in entries:
        for name in requirements:
            if name not in known:
                raise UsageError(f"{entry.file}:{entry.line}: unknown requirement '{name}'{_nearest(name, known)}")
            named.add(name)
    for one in known.values():
        # the image specification has no list yet: what is checked of it is in the table of requirements
        if one.basis == "spec" and "/image-spec/" not in one.url and one.id not in named:
            raise UsageError(
                f"{one.file}:{one.line}: requirement '{one.id}' rests on a specification, and none of"
                f" {', '.join(one.file for one in CHECKLISTS)} and {RUNTIME_SPEC} names it"
            )


def _nearest(word: str, known: Iterable[str]) -> str:
    close = nearest(word, known)
    return f"; did you mean '{close}'?" if close else ""


# ---- docs/coverage.md


def render(coverage: Coverage) -> str:
    """``docs/coverage.md``: the summary and its tables."""
    parts = (_summary, _checklists, _known_failures, _rules, _requirements, _addresses)
    return "".join(f"{line}\n" for part in parts for line in part(coverage))


def summary(coverage: Coverage) -> list[str]:
    """The counts, one line each."""
    counts = _counts(coverage.specification.rules)
    total = sum(counts.values())
    known = coverage.catalogue
    return [
        *(_counted(checklist, lines) for checklist, lines in coverage.checklists.items()),
        f"runtime specification {coverage.specification.tag}: of {total} MUST, MUST NOT and REQUIRED "
        + ", ".join(f"{counts[status]} {status}" for status in STATUSES),
        f"suites: {len(known.checks)} checks, {len(known.requirements)} requirements, {len(known.paths)} paths",
    ]


def _counted(checklist: Checklist, lines: Iterable[Line]) -> str:
    checked = [line for line in lines if line.requirements]
    partly = sum(line.reason is not None for line in checked)
    return (
        f"{checklist.name} checklist: of {checklist.lines} lines {len(checked)} have checks"
        f" ({partly} of them in part), {checklist.lines - len(checked)} a reason"
    )


def _summary(coverage: Coverage) -> Iterator[str]:
    yield "# What is covered"
    yield ""
    yield "Written by `conformance coverage --write docs/coverage.md` out of `suites/`; do not edit it by hand."
    yield ""
    yield from (f"- {line}" for line in summary(coverage))
    yield ""


def _checklists(coverage: Coverage) -> Iterator[str]:
    yield "## The checklists"
    yield ""
    yield (
        "What is known without a run: a check *passes* on a path where no expectation says otherwise, has a *known"
        " failure* where one does, and is *skipped* where the path lacks what it needs. A check of the project's own"
        " requirements is *recorded*: whatever it finds makes no run red."
    )
    yield ""
    for checklist in CHECKLISTS:
        yield from _checklist(coverage, checklist)


def _checklist(coverage: Coverage, checklist: Checklist) -> Iterator[str]:
    paths = [
        path
        for path in coverage.catalogue.paths.values()
        if (Feature.PODS in features_of(path)) == checklist.with_pods and not path.brought
    ]
    yield f"### {checklist.name}"
    yield ""
    yield from _head("No", "What", "Area", "Requirements", "Checks", *(path.name for path in paths))
    for line in sorted(coverage.checklists[checklist], key=lambda one: one.number):
        checks = coverage.checks_of(line.requirements)
        what = line.what + (f" ({line.reason.code}: {line.reason.text})" if line.reason else "")
        cells = [_on_path(coverage, checks, path) for path in paths]
        yield _row(line.number, what, line.area, _links(line.requirements), len(checks) or "none", *cells)
    yield ""


def _on_path(coverage: Coverage, checks: Iterable[Check], path: RuntimePath) -> str:
    known = Counter(_known(coverage, check, path) for check in checks)
    if len(known) == 1:
        return next(iter(known))
    return "<br>".join(f"{count} x {what}" for what, count in known.most_common()) or "none"


def _known(coverage: Coverage, check: Check, path: RuntimePath) -> str:
    lacking = sorted(check.needs - features_of(path))
    if lacking:
        return f"skipped: needs {', '.join(lacking)}"
    if any(_applies(one, check, path) for one in coverage.catalogue.expectations):
        return "**known failure**"
    node = ", ".join(fact.replace("cgroup:", "cgroup ") for fact in check.needs_node)
    word = "recorded" if coverage.catalogue.requirements[check.requirement].basis == "project" else "passes"
    return word + (f" (node: {node})" if node else "")


def _applies(expectation: Expectation, check: Check, path: RuntimePath) -> bool:
    if expectation.check not in (WHOLE_PATH, check.id):
        return False
    return any(fnmatch.fnmatchcase(path.name, pattern) for pattern in expectation.paths)


def _known_failures(coverage: Coverage) -> Iterator[str]:
    yield "## Known failures"
    yield ""
    yield from _head("Check", "Paths", "Why", "Seen by")
    for one in coverage.catalogue.expectations:
        check = coverage.catalogue.checks.get(one.check)
        name = f"[{check.sentence}](../suites/{check.id.partition('::')[0]})" if check else "every check"
        seen = f"[issue]({one.issue})" if one.issue else f"`{one.reproduction}`"
        yield _row(name, ", ".join(one.paths), one.reason, seen)
    yield ""


def _rules(coverage: Coverage) -> Iterator[str]:
    specification = coverage.specification
    yield f"## Rules of the runtime specification, {specification.tag}"
    yield ""
    yield "Numbers count occurrences of the words MUST (with MUST NOT) and REQUIRED; an entry can stand for several."
    yield ""
    yield from _head("Chapter", "MUST", "REQUIRED", *STATUSES)
    for chapter in specification.chapters:
        counts = _counts(coverage.rules_of(chapter.name))
        yield _row(f"[{chapter.name}]", chapter.musts, chapter.required, *(counts[status] for status in STATUSES))
    yield ""
    for chapter in specification.chapters:
        yield f"### {chapter.name}"
        yield ""
        yield f"Counted: {chapter.counted}."
        yield ""
        yield from _head("Section", "Rule", "Level", "Count", "Status", "By, or why not")
        for rule in coverage.rules_of(chapter.name):
            why = "; ".join(filter(None, (_links(rule.covered), rule.not_yet, rule.not_applicable)))
            section = f"[{rule.section.partition('#')[2]}][{rule.section}]"
            status = rule.status if rule.status != "not yet" else f"**{rule.status}**"
            yield _row(section, rule.says, rule.level, rule.count, status, why)
        yield ""


def _requirements(coverage: Coverage) -> Iterator[str]:
    yield "## Requirements"
    yield ""
    yield (
        "A requirement that no list names is one of the project, of an upstream's documentation, or of parity"
        " with the native twin; see [architecture](architecture.md)."
    )
    yield ""
    yield from _head("Requirement", "Title", "Level", "Basis", "Area", "Checks", "Named by")
    for one in coverage.catalogue.requirements.values():
        files = dict.fromkeys(check.id.partition("::")[0] for check in coverage.checks_of([one.id]))
        checks = ", ".join(f"[{Path(file).name}](../suites/{file})" for file in files)
        named = coverage.named_by(one.id) or "none"
        yield _row(f"[{one.id}]", one.title, one.level, one.basis, one.area, checks, named)
    yield ""


def _counts(rules: Iterable[Rule]) -> Counter[str]:
    counts = Counter[str]()
    for rule in rules:
        counts[rule.status] += rule.count
    return counts


def _addresses(coverage: Coverage) -> Iterator[str]:
    """Where the names in brackets lead, in one place: the tables stay readable as text."""
    specification = coverage.specification
    names = [*(chapter.name for chapter in specification.chapters), *(rule.section for rule in specification.rules)]
    yield from (f"[{name}]: {specification.url}/{name}" for name in dict.fromkeys(names))
    yield from (f"[{one.id}]: {one.url}" for one in coverage.catalogue.requirements.values())


def _links(requirements: Iterable[str]) -> str:
    return ", ".join(f"[{name}]" for name in requirements)


def _head(*names: str) -> Iterator[str]:
    yield _row(*names)
    yield _row(*("---" for _ in names))


def _row(*cells: object) -> str:
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"
