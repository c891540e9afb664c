"""Mutation testing of the checks: ``make mutants``.

Runs the whole suite once for each mutant of ``broken_runtime.py`` and compares the checks
that turn red with those the mutant declares. Ends with 0 only if every mutant behaves as
declared, and every check that runs and is a MUST has been seen to fail.
"""

from __future__ import annotations

import argparse
import ast
import fnmatch
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import yaml
from broken_runtime import MUTANTS, Mutant

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]
PROGRAM = HERE / "broken_runtime.py"
OUT = REPOSITORY / "reports" / "out"
UNKILLED = HERE / "unkilled.yaml"
RUNTIME, BINARY = "crun-wasmedge", "crun"
BASELINE = "unbroken"
RED = ("failed", "unexpected-pass", "error", "not-run")
#: One run of the suite takes 12 s; what takes so long has no deadline of its own.
DEADLINE_SECONDS = 300.0
#: Timing is shared with whatever else this machine does: a surprise is tried again.
ATTEMPTS = 2


#: In place of the program's first line: a shell that starts Python only for what the mutant touches.
#: Python reads it as a string. The name is handed on where it is not crun's own.
FAST_PATH = """#!/bin/sh
''':'
case " $3 $4 " in {commands}) exec /usr/bin/python3 -IS "$0" "$@" ;; esac
[ "${{0##*/}}" = crun ] || exec /usr/bin/python3 -IS "$0" "$@"
exec /usr/bin/crun "$@"
'''"""


@dataclass(frozen=True)
class Observed:
    """One run of the suite.

    Attributes:
        judged: check to judged outcome.
        problem: why there are no results.
    """

    judged: Mapping[str, str]
    exit_code: int | None
    seconds: float
    problem: str = ""


@dataclass(frozen=True)
class Result:
    """A mutant, and what the checks made of it.

    Attributes:
        killed_by: checks that turned red; those of basis ``project`` are only noted, but as failing.
        better: known failures that are gone.
        wrong: each difference to what the mutant declares; empty when there is none.
    """

    mutant: Mutant
    observed: Observed
    killed_by: tuple[str, ...]
    better: tuple[str, ...]
    wrong: tuple[str, ...]
    attempts: int = 1


@dataclass(frozen=True)
class Rule:
    """What a check is bound to."""

    level: str
    basis: str


@dataclass
class Findings:
    """All of it, put together."""

    results: list[Result]
    baseline: Mapping[str, str]
    rules: Mapping[str, Rule]
    reasons: Mapping[str, str]
    complete: bool
    problems: list[str] = field(default_factory=list)

    def killers(self, check: str) -> list[str]:
        """Mutants that turn this check red."""
        return [r.mutant.name for r in self.results if check in r.killed_by]

    @property
    def running(self) -> list[str]:
        """Checks that are no skip on this node."""
        return [check for check, judged in self.baseline.items() if judged != "skipped"]

    @property
    def unkilled(self) -> list[str]:
        """Running checks that no mutant turns red and that do not fail on the real runtime either."""
        return [c for c in self.running if self.baseline[c] == "passed" and not self.killers(c)]


def executable(name: str, place: Path) -> Path:
    """Write a mutant's program: the wrapper without the other mutants, which would only cost time."""
    text = PROGRAM.read_text()
    lines = text.splitlines()
    wanted = MUTANTS[name].change.__name__
    docstring, *body = ast.parse(text).body
    for node in reversed(body):
        if (
            isinstance(node, ast.FunctionDef)
            and node.name != wanted
            and any("mutant(" in ast.unparse(d) for d in node.decorator_list)
        ):
            del lines[node.decorator_list[0].lineno - 1 : node.end_lineno]
    del lines[: docstring.end_lineno]
    wrapped = FAST_PATH.format(commands="|".join(f'*" {c} "*' for c in MUTANTS[name].commands) or "-")
    file = place / f"{name}.py"
    file.write_text("\n".join([wrapped, *lines]).replace('CHOSEN = ""', f'CHOSEN = "{name}"', 1) + "\n")
    file.chmod(0o755)
    return file


def matching(patterns: Iterable[str], checks: Iterable[str]) -> tuple[set[str], list[str]]:
    """Checks that globs name (``!GLOB`` takes out), and the globs that name none."""
    known, found, idle = list(checks), set[str](), list[str]()
    for pattern in patterns:
        hits = set(fnmatch.filter(known, pattern.removeprefix("!")))
        if not hits:
            idle.append(pattern)
        found = found - hits if pattern.startswith("!") else found | hits
    return found, idle


def run_suite(name: str, out: Path, only: Sequence[str] = ()) -> Observed:
    """Run the suite against one mutant; its report goes below ``out``."""
    mutant = MUTANTS[name]
    place = out / "mutants" / name
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    place = place.resolve()
    files = [f"suites/{file}" for file in only or mutant.only] or ["suites/"]
    argv = [
        sys.executable, "-m", "pytest", *files, f"--runtime={RUNTIME}", "--no-control", "-q",
        f"--component={BINARY}={executable(name, place)}", f"--report-dir={place}",
    ]  # fmt: skip
    started = time.monotonic()
    try:
        done = subprocess.run(
            argv, cwd=REPOSITORY, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="backslashreplace",
            timeout=DEADLINE_SECONDS, check=False, env={**os.environ, "COLUMNS": "160"},
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return Observed({}, None, time.monotonic() - started, f"no end within {DEADLINE_SECONDS:.0f} s")
    seconds = time.monotonic() - started
    (place / "pytest.txt").write_text(done.stdout + done.stderr)
    if not (place / "results.jsonl").exists():
        said = done.stderr[-300:].strip()
        return Observed({}, done.returncode, seconds, f"pytest ended with {done.returncode}: {said}")
    rows = (json.loads(line) for line in (place / "results.jsonl").read_text().splitlines())
    judged = {row["check"]: row["judged"] for row in rows if row["kind"] == "record"}
    problem = "" if judged else f"pytest ended with {done.returncode}: {done.stdout[-300:]}"
    return Observed(judged, done.returncode, seconds, problem)


def compared(mutant: Mutant, observed: Observed, baseline: Mapping[str, str], known: Iterable[str]) -> Result:
    """What a run shows, and where it differs from what the mutant declares."""
    judged = observed.judged
    red = {c for c, j in judged.items() if j in RED}
    noted = {c for c, j in judged.items() if j == "noted" and baseline.get(c) == "passed"}
    better = {c for c, j in judged.items() if j == "fixed" or (j == "passed" and baseline.get(c) == "noted")}
    wrong = [observed.problem] if observed.problem else []
    for wanted, found, word in ((mutant.kills, red | noted, "red"), (mutant.fixes, better, "fixed")):
        declared, idle = matching(wanted, known)
        declared &= {check for check, outcome in judged.items() if outcome != "skipped"}
        wrong += [f"no check is called {pattern}" for pattern in idle]
        wrong += [f"not {word}: {check}" for check in sorted(declared - found)]
        wrong += [f"{word}, undeclared: {check} ({judged[check]})" for check in sorted(found - declared)]
    expected = 3 if any(judged[c] in ("error", "not-run") for c in red) else int(bool(red))
    if judged and observed.exit_code != expected:
        wrong.append(f"pytest ended with {observed.exit_code}, not {expected}")
    order = list(judged)
    return Result(
        mutant,
        observed,
        tuple(sorted(red | noted, key=order.index)),
        tuple(sorted(better, key=order.index)),
        tuple(wrong),
    )


def tried(name: str, out: Path, baseline: Future[Observed], known: Iterable[str], only: Sequence[str] = ()) -> Result:
    """Run one mutant; again where something differs from what it declares."""
    mutant = MUTANTS[name]
    result = None
    for attempt in range(1, ATTEMPTS + 1):
        observed = run_suite(name, out, only)
        again = compared(mutant, observed, baseline.result().judged, known)
        result = Result(**{**vars(again), "attempts": attempt})
        if not again.wrong:
            break
    assert result is not None
    return result


def rules() -> dict[str, Rule]:
    """Level and basis of each check."""
    from conformance import catalogue

    read = catalogue.read(REPOSITORY / "suites")
    bound = {check.id: read.requirements[check.requirement] for check in read.checks.values()}
    return {check: Rule(rule.level, rule.basis) for check, rule in bound.items()}


def judge(findings: Findings) -> None:
    """Collect what is wrong with the whole."""
    say = findings.problems.append
    for result in findings.results:
        for line in result.wrong:
            say(f"{result.mutant.name}: {line}")
        if not result.killed_by and not result.better and result.mutant.kills:
            say(f"{result.mutant.name}: survived")
    if not findings.complete:
        return
    for check in findings.unkilled:
        if findings.rules[check].level == "MUST":
            say(f"no mutant kills {check}, a MUST")
        elif check not in findings.reasons:
            say(f"no mutant kills {check}, and {UNKILLED.name} does not say why")
    for check in findings.reasons:
        if check not in findings.unkilled:
            say(f"{UNKILLED.name}: {check} is killed, fails anyway, or does not exist")


# ---- what is shown


def matrix(findings: Findings) -> list[str]:
    """Checks down, mutants across: ``#`` red, ``n`` noted as failing, ``+`` fixed."""
    results = findings.results
    width = max(map(len, findings.running), default=0)
    lines = [f"{i:3} {r.mutant.name}" for i, r in enumerate(results, 1)]
    lines.append("")
    for digit in (100, 10, 1):
        lines.append(
            " " * width
            + "  "
            + "".join(str(i // digit % 10) if i >= digit else " " for i in range(1, len(results) + 1))
        )
    for check in findings.running:
        cells = [
            ("#" if r.observed.judged[check] in RED else "n") if check in r.killed_by
            else "+" if check in r.better else "." if check in r.observed.judged else " "
            for r in results
        ]  # fmt: skip
        lines.append(f"{check:{width}}  {''.join(cells)}")
    return lines


def killers(findings: Findings) -> list[str]:
    """Each check with its level and who kills it."""
    lines = []
    for check in findings.running:
        names = findings.killers(check)
        known = (
            "" if findings.baseline[check] == "passed" else f"fails on the real {BINARY} ({findings.baseline[check]})"
        )
        said = ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
        lines.append(f"{findings.rules[check].level:6} {check}: {'; '.join(filter(None, (known, said))) or 'nobody'}")
    return lines


def unkilled(findings: Findings) -> list[str]:
    """Checks that nobody kills, with level and reason."""
    return [f"{findings.rules[c].level:6} {c}: {findings.reasons.get(c, 'no reason given')}" for c in findings.unkilled]


def progress(result: Result, number: int, count: int) -> str:
    """One line for a mutant that has ended."""
    said = [f"{len(result.killed_by)} red"] if result.killed_by else []
    said += [f"{len(result.better)} fixed"] if result.better else []
    again = f", attempt {result.attempts}" if result.attempts > 1 else ""
    verdict = "as declared" if not result.wrong else "NOT as declared"
    lines = [
        f"[{number:3}/{count}] {result.mutant.name:44} {' and '.join(said) or 'nothing red':18} {verdict}"
        f"  {result.observed.seconds:5.1f} s{again}"
    ]
    return "\n".join([*lines, *(f"          {line}" for line in result.wrong)])


def report(findings: Findings, seconds: float) -> str:
    """``mutants.md``."""
    results = findings.results
    rows = [
        f"| {r.mutant.name} | {' '.join(r.mutant.about.split())} | {len(r.killed_by) or ''} | {len(r.better) or ''} |"
        f" {'yes' if not r.wrong else '**no**'} |"
        for r in results
    ]
    parts = {
        "Mutants": ["| mutant | what is broken | red | fixed | as declared |", "|---|---|---|---|---|", *rows],
        "Problems": [f"- {line}" for line in findings.problems] or ["None."],
        "Checks that nobody kills": [f"- {line}" for line in unkilled(findings)] or ["None."],
        "Killers of each check": [f"- {line}" for line in killers(findings)],
        "Matrix": [
            "`#` red, `n` noted as failing, `+` a known failure is gone, blank: not run",
            "",
            "```",
            *matrix(findings),
            "```",
        ],
    }
    head = f"# Mutants\n\n{summary(findings, seconds)}\n"
    return head + "".join(f"\n## {title}\n\n" + "\n".join(lines) + "\n" for title, lines in parts.items())


def summary(findings: Findings, seconds: float) -> str:
    """One line."""
    broken = [r for r in findings.results if r.mutant.kills]
    fixing = [r for r in findings.results if r.mutant.fixes]
    must = [c for c in findings.running if findings.rules[c].level == "MUST"]
    seen = [c for c in must if c not in findings.unkilled]
    return (
        f"{len(findings.results)} mutants, {sum(not r.wrong for r in findings.results)} as declared:"
        f" {sum(bool(r.killed_by) for r in broken)} of {len(broken)} broken ones killed,"
        f" {sum(bool(r.better) for r in fixing)} of {len(fixing)} fixing ones seen."
        f" MUST checks seen to fail: {len(seen)} of {len(must)}. {seconds:.0f} s."
    )


def as_json(result: Result) -> dict[str, Any]:
    """For other programs."""
    return {
        "name": result.mutant.name, "killed_by": result.killed_by, "better": result.better, "wrong": result.wrong,
        "attempts": result.attempts, **asdict(result.observed),
    }  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("-k", action="append", default=[], metavar="GLOB", help="only these mutants; repeatable")
    parser.add_argument(
        "-n",
        type=int,
        default=(os.cpu_count() or 1) + 1,
        metavar="COUNT",
        help="mutants at once (default: %(default)s)",
    )
    parser.add_argument("--near", action="store_true", help="run only the files of the checks that a mutant declares")
    parser.add_argument("--list", action="store_true", help="list the mutants and exit")
    parser.add_argument(
        "--out",
        type=Path,
        default=OUT,
        metavar="DIR",
        help="for mutants.md and each mutant's report (default: reports/out)",
    )
    parser.add_argument("--json", metavar="FILE", help="also write the results there")
    options = parser.parse_args(arguments)
    patterns = [f"*{p}*" if p.isalnum() else p for p in options.k] or ["*"]
    names = [n for n in MUTANTS if any(fnmatch.fnmatchcase(n, p) for p in patterns)]
    if not names:
        parser.error(f"no mutant is called {' or '.join(options.k)}; see --list")
    if options.list:
        print("\n".join(f"{n:44} {' '.join(MUTANTS[n].about.split())}" for n in names))
        return 0
    started = time.monotonic()
    known = rules()
    nearby = sorted({file for n in names for file in near(n, known)}) if options.near else []
    results: dict[str, Result] = {}
    with ThreadPoolExecutor(options.n) as pool:
        baseline: Future[Observed] = pool.submit(run_suite, BASELINE, options.out, nearby)
        # what waits for deadlines goes first, so that nothing waits for it at the end
        order = sorted((n for n in names if n != BASELINE), key=lambda n: not MUTANTS[n].only)
        running = [
            pool.submit(tried, n, options.out, baseline, known, near(n, known) if options.near else ()) for n in order
        ]
        if BASELINE in names:
            running.append(
                pool.submit(lambda: compared(MUTANTS[BASELINE], baseline.result(), baseline.result().judged, known))
            )
        for done in as_completed(running):
            result = done.result()
            results[result.mutant.name] = result
            print(progress(result, len(results), len(names)), flush=True)
    reasons = yaml.safe_load(UNKILLED.read_text()) or {}
    complete = len(names) == len(MUTANTS) and not options.near
    findings = Findings([results[n] for n in names], baseline.result().judged, known, reasons, complete)
    judge(findings)
    seconds = time.monotonic() - started
    if options.json:
        Path(options.json).write_text(json.dumps([as_json(r) for r in findings.results], indent=1))
    if complete:
        (options.out / "mutants.md").write_text(report(findings, seconds))
        print("\n" + "\n".join(matrix(findings)))
        print("\nkillers of each check\n" + "\n".join(killers(findings)))
        print("\nchecks that nobody kills\n" + ("\n".join(unkilled(findings)) or "none"))
        print(f"\nwritten: {options.out / 'mutants.md'}")
    print("\n" + summary(findings, seconds))
    for line in findings.problems:
        if line.partition(":")[0] not in MUTANTS:  # those were told with the mutant
            print(f"problem: {line}")
    return 1 if findings.problems else 0


def near(name: str, checks: Iterable[str]) -> list[str]:
    """Files of the checks that a mutant declares."""
    declared, _ = matching((*MUTANTS[name].kills, *MUTANTS[name].fixes), checks)
    return sorted({check.partition("::")[0] for check in declared})


if __name__ == "__main__":
    sys.exit(main())
