"""`make bench`: what the harness costs above the bare container commands, as ratios in one run.

Every figure is taken on this machine, now; the ratios are what can be compared elsewhere.
``--cold`` also measures a run from an empty cache, in a cache directory of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

from rich.console import Console
from rich.table import Table

from conformance import catalogue
from conformance.build.guests import corpus
from conformance.build.image import image
from conformance.errors import InfrastructureError
from conformance.launchers import oci
from conformance.path_under_test import PathUnderTest
from conformance.session import Session, Settings

sys.path.insert(0, str(Path(__file__).parent))
import peer  # noqa: E402

REPOSITORY = Path(__file__).parents[2]
FIRST_CHECK = "suites/process/test_exit_codes.py::test_returning_from_main_is_exit_code_0"
GOALS = {
    "harness time per check, 95th percentile": "15 ms",
    "suite / its bare commands": "1.5",
    "warm start to first verdict": "3 s",
    "cold machine to complete report": "300 s",
}
Row = tuple[str, str, str]


def main() -> int:
    """Measure and print; exit code 0 unless a run fails."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cold", action="store_true", help="also from an empty cache (minutes)")
    parser.add_argument("--peer", action="store_true", help="also crun's own test suite on the same node (a minute)")
    parser.add_argument("--runs", type=int, default=30, metavar="N", help="containers in the bare comparison")
    options = parser.parse_args()
    rows = [*first_verdict(), *whole_suite([]), *whole_suite(["-n", "2"]), *bare(options.runs)]
    if options.peer:
        rows += peer_suite()
    if options.cold:
        rows += cold()
    table = Table("what", "measured", "goal", title="make bench")
    for row in rows:
        table.add_row(*row)
    Console(width=100).print(table)
    return 0


def pytest(report: Path, *arguments: str, environment: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
    """A run as a user starts it."""
    argv = [sys.executable, "-m", "pytest", *arguments, f"--report-dir={report}", "-q"]
    return subprocess.Popen(
        argv, cwd=REPOSITORY, env={**os.environ, **(environment or {})}, stdout=subprocess.DEVNULL
    )  # fmt: skip


def records(report: Path) -> list[dict[str, Any]]:
    """Records of a run that really ran."""
    rows = map(json.loads, (report / "results.jsonl").read_text().splitlines())
    return [r for r in rows if r["kind"] == "record" and r["raw"] in ("passed", "failed")]


def first_verdict() -> Iterable[Row]:
    """From typing the command to the first record, cache warm."""
    seconds = []
    for _ in range(3):
        with tempfile.TemporaryDirectory() as directory:
            report = Path(directory)
            started = time.monotonic()
            process = pytest(report, FIRST_CHECK, "--no-control")
            deadline = started + 60
            while time.monotonic() < deadline and process.poll() is None:
                journal = report / "results.jsonl"
                if journal.exists() and '"kind": "record"' in journal.read_text().replace('"kind":"', '"kind": "'):
                    break
                time.sleep(0.005)
            seconds.append(time.monotonic() - started)
            process.wait(60)
    name = "warm start to first verdict"
    return [(name, f"{statistics.median(seconds):.2f} s (median of 3)", GOALS[name])]


def whole_suite(arguments: list[str]) -> Iterable[Row]:
    """The whole suite with its controls: our time per check, and all of it against the commands."""
    with tempfile.TemporaryDirectory() as directory:
        report = Path(directory)
        started = time.monotonic()
        status = pytest(report, "suites/", *arguments).wait(900)
        wall = time.monotonic() - started
        if status != 0:
            raise SystemExit(f"the suite ended with exit code {status}; measure on a clean run")
        rows = records(report)
    how = " ".join(arguments) or "one worker"
    ours = sorted(r["times"]["harness_seconds"] for r in rows)
    commands = sum(r["times"]["commands_seconds"] for r in rows)
    together = commands + sum(ours)
    p95 = "harness time per check, 95th percentile"
    ratio = "suite / its bare commands"
    return [
        (f"{len(rows)} checks on 3 paths, {how}", f"{wall:.1f} s wall, {commands:.1f} s in commands", ""),
        (
            p95,
            f"{ours[int(len(ours) * 0.95)] * 1000:.1f} ms (median {statistics.median(ours) * 1000:.1f} ms)",
            GOALS[p95],
        ),
        (ratio, f"{together / commands:.2f}", GOALS[ratio]),
    ]


def bare(runs: int) -> Iterable[Row]:
    """One guest that does nothing, by us and by a shell loop on the same node."""
    suites = catalogue.read(REPOSITORY / "suites")
    session = Session(Settings("sandbox", corpus(), {}))
    try:
        opened = session.open(suites.paths["crun-wasmedge"])
        path = PathUnderTest(opened, session, "bench")
        launcher = cast(oci.Launcher, opened.launcher)
        launcher.keep_bundles = True
        spec = path.run("exit-return-0").asked
        bundle = launcher.bundle(spec)
        loop = f'i=0; while [ $i -lt {runs} ]; do crun --root /tmp/bench run --bundle "$0" bare-$i; i=$((i+1)); done'
        opened.node.run(["sh", "-c", loop, bundle], timeout_seconds=120)
        by_shell = opened.node.run(["sh", "-c", loop, bundle], timeout_seconds=120).seconds / runs
        launcher.keep_bundles = False
        started = time.monotonic()
        for _ in range(runs):
            path.run("exit-return-0")
        by_us = (time.monotonic() - started) / runs
    finally:
        session.close()
    return [
        ("a shell loop on the node: crun run", f"{by_shell * 1000:.1f} ms a container", ""),
        ("the harness: path.run()", f"{by_us * 1000:.1f} ms a container", ""),
        ("harness / shell loop", f"{by_us / by_shell:.2f}", "1.5"),
    ]


def peer_suite() -> Iterable[Row]:
    """crun's own tests, per test."""
    version = image("node").packages["crun"]
    try:
        found = peer.run(version)
    except InfrastructureError as error:
        return [("crun's own test suite", str(error), "")]
    each = found.seconds / max(found.tests, 1)
    told = f"{each:.2f} s a test ({found.tests} tests, {found.failed} failed, {found.seconds:.0f} s)"
    return [(f"crun's own test suite, {version}", told, "")]


def cold() -> Iterable[Row]:
    """From an empty cache to a complete report."""
    cache = Path(tempfile.mkdtemp(prefix="conformance-bench-"))
    try:
        with tempfile.TemporaryDirectory() as report:
            started = time.monotonic()
            status = pytest(Path(report), "suites/", environment={"CONFORMANCE_CACHE": str(cache)}).wait(1800)
            seconds = time.monotonic() - started
        name = "cold machine to complete report"
        return [(name, f"{seconds:.0f} s (exit code {status})", GOALS[name])]
    finally:
        shutil.rmtree(cache, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
