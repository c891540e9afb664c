"""List the runtime paths as jobs for a CI system, one job per path and testbed.

'github' is one line for a job's strategy.matrix, 'gitlab' a child pipeline that also
merges, 'json' the same jobs for anything else. Native controls get no job: each job runs
its path's control along. One that is named in full gets a job of its own.
"""

from __future__ import annotations

import argparse
import json
import shlex
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from conformance import catalogue
from conformance.cli.replay import REPOSITORY
from conformance.errors import UsageError
from conformance.report.merging import plain_name
from conformance.testbeds import testbed

#: Where jobs leave their runs, below the repository.
JOBS = "reports/out/jobs"
MERGED = "reports/out/merged"


@dataclass(frozen=True)
class Job:
    """One path on one testbed.

    Attributes:
        name: of the job; the path's, with the testbed where there are several.
        runtime: the path.
        testbed: as for ``pytest --testbed``.
        arguments: for pytest, after the suite directory.
        artifact: unique name for what the job publishes, without special characters.
    """

    name: str
    runtime: str
    testbed: str
    arguments: tuple[str, ...]
    artifact: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """See :class:`conformance.cli.Command`."""
    parser.add_argument("--format", choices=sorted(FORMATS), required=True)
    parser.add_argument(
        "--runtime", action="extend", nargs="+", metavar="GLOB", help="paths, globs or 'all' (default: all)"
    )
    parser.add_argument("--testbed", action="append", metavar="NAME", help="repeatable (default: sandbox)")
    parser.add_argument(
        "--suites", type=Path, default=REPOSITORY / "suites", metavar="DIR",
        help="the suite directory (default: suites)",
    )  # fmt: skip


def run(options: argparse.Namespace) -> int:
    """See :class:`conformance.cli.Command`."""
    root = catalogue.suite_root([str(options.suites)], Path.cwd())
    if root is None:
        raise UsageError(f"--suites: {options.suites} is no suite directory: it holds no paths/ and requirements/")
    found = jobs(catalogue.read(root), options.runtime or ["all"], options.testbed or ["sandbox"])
    print(FORMATS[options.format](found), end="")
    return 0


def jobs(suite: catalogue.Catalogue, patterns: Iterable[str], testbeds: list[str]) -> list[Job]:
    """One job per path and testbed, in the order of the paths.

    Args:
        suite: the suite directory as read.
        patterns: names, globs or ``all``; a control is left out unless it is named in full.
        testbeds: as for ``pytest --testbed``.

    Raises:
        UsageError: a pattern matches nothing, or controls only; an unknown testbed.
    """
    patterns = list(patterns)
    controls = {path.control for path in suite.paths.values()}
    paths = [
        path.name
        for path in suite.select_paths(patterns, controls=False)
        if path.name not in controls or path.name in patterns
    ]
    if not paths:
        raise UsageError(f"--runtime {' '.join(patterns)}: matches controls only; name one in full to give it a job")
    for one in testbeds:
        testbed(one)
    return [_job(path, one, several=len(testbeds) > 1) for path in paths for one in testbeds]


def _job(path: str, testbed_: str, *, several: bool) -> Job:
    name = f"{path}@{plain_name(testbed_)}" if several else path
    arguments = (f"--runtime={path}", f"--testbed={testbed_}")
    return Job(name, path, testbed_, arguments, f"conformance-{plain_name(name)}")


def _github(found: list[Job]) -> str:
    rows = [asdict(job) | {"arguments": shlex.join(job.arguments)} for job in found]
    return json.dumps({"include": rows}, separators=(",", ":")) + "\n"


def _json(found: list[Job]) -> str:
    return json.dumps([asdict(job) for job in found], indent=1) + "\n"


def _gitlab(found: list[Job]) -> str:
    """A whole pipeline: a generated file that is triggered cannot rely on a template elsewhere."""
    setup = ["command -v make >/dev/null || { apt-get update -q && apt-get install -y -q make; }", "make setup"]
    template: dict[str, Any] = {
        "stage": "check",
        "before_script": list(setup),
        "script": [f'.venv/bin/pytest suites/ $ARGUMENTS --report-dir="{JOBS}/$ARTIFACT"'],
        "artifacts": {
            "when": "always",
            "name": "$ARTIFACT",
            "paths": [f"{JOBS}/$ARTIFACT"],
            "reports": {"junit": f"{JOBS}/$ARTIFACT/junit.xml"},
        },
    }
    pipeline: dict[str, Any] = {"stages": ["check", "merge"], ".conformance": template}
    for job in found:
        variables = {"ARGUMENTS": shlex.join(job.arguments), "ARTIFACT": job.artifact}
        pipeline[job.name] = {"extends": ".conformance", "variables": variables}
    pipeline["merge"] = {
        "stage": "merge",
        "when": "always",
        "before_script": list(setup),
        "script": [f".venv/bin/conformance merge {JOBS}/* --to {MERGED}"],
        "artifacts": {"when": "always", "paths": [MERGED], "reports": {"junit": f"{MERGED}/junit.xml"}},
    }
    return "# made by 'conformance matrix --format gitlab'\n" + yaml.safe_dump(pipeline, sort_keys=False, width=120)


FORMATS = {"github": _github, "gitlab": _gitlab, "json": _json}
