"""The controller's side of a run: prepare, plan, journal, exit code, table.

Registered with pytest in the process the user started; workers of pytest-xdist have none.
"""

from __future__ import annotations

import datetime
import fnmatch
import json
import os
import secrets
import subprocess
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from conformance import __version__, record
from conformance.build import component
from conformance.build.cache import Progress
from conformance.build.guests import corpus
from conformance.errors import InfrastructureError, UsageError
from conformance.model import Judged, Raw
from conformance.report import journal, summary
from conformance.report.render import render
from conformance.run import Run
from conformance.testbeds import finish, installs_components, provision, testbed
from conformance.verdict import exit_status

#: What a run's directory holds beside journal and plan.
REPORTS = ("results.json", "junit.xml", "summary.md", "report.html")
EXECUTED = (Raw.PASSED.value, Raw.FAILED.value)


class Recorder:
    """Keeps the journal of one run.

    Args:
        run: what the command line asked for.
        config: pytest's.
        directory: for the results; None for a new one below ``reports/out``.
    """

    def __init__(self, run: Run, config: pytest.Config, directory: Path | None) -> None:
        now = datetime.datetime.now(datetime.UTC)
        self.run, self.config = run, config
        self.id = f"{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"
        self.linked = directory is None
        self.directory = directory or run.catalogue.root.parent / "reports" / "out" / self.id
        self.journal: journal.Journal | None = None
        self.pending: dict[str, dict[str, Any]] = {}
        self.setup_seconds: dict[str, float] = {}
        self.judged: dict[str, Judged] = {}
        self.planned: list[str] = []
        self.executed = 0
        self.said: set[tuple[str, str]] = set()
        self.opened: dict[tuple[str, str], dict[str, Any]] = {}
        self.problem = ""
        self.interrupted = False
        self.told: list[str] = []

    # ---- before the first check

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self, session: pytest.Session) -> None:
        """Build or find what the run needs, saying so, and open the journal."""
        if self.config.option.collectonly:
            return
        reporter = self.config.pluginmanager.get_plugin("terminalreporter")
        started = time.monotonic()

        def progress(message: str) -> None:
            if reporter is not None:
                reporter.write_line(f"[{time.monotonic() - started:5.1f} s] {message}")

        run = self.run
        try:
            bed, _ = testbed(run.testbed)
            self._build_components(progress)
            kinds = sorted({p.node for p in run.paths})
            bed.prepare(kinds, progress)
            if run.provision:
                provision(run.testbed, kinds, progress)
            run.corpus = corpus(progress)
        except InfrastructureError as error:
            run.prepare_error = str(error)
        except UsageError as error:
            raise pytest.UsageError(str(error)) from error
        try:
            forget_former_run(self.directory)
            self.journal = journal.Journal(self.directory)
            self.journal.write(self._header())
        except InfrastructureError as error:
            raise pytest.UsageError(str(error)) from error
        if self.linked:
            link_latest(self.directory)
        if run.prepare_error:
            self._write(record.bare("session::prepare", "session::prepare", "-", Raw.ERROR, run.prepare_error))

    def _build_components(self, progress: Progress) -> None:
        """Build what the paths need; what cannot be built is an error of the paths that need it."""
        for name in self.run.needed() if installs_components(self.run.testbed) else ():
            try:
                component.component(name, progress)
            except InfrastructureError as error:
                self.run.unbuilt[name] = str(error)
                progress(str(error))

    def _header(self) -> dict[str, Any]:
        run, root = self.run, self.run.catalogue.root
        return {
            "kind": "header",
            "version": 1,
            "run": {
                "id": self.id, "started": _now(), "harness": __version__, "harness_commit": _commit(root),
                "argv": ["pytest", *self.config.invocation_params.args], "testbed": run.testbed, "strict": run.strict,
                "workers": len(getattr(self.config.option, "tx", None) or [1]),
                "brought": {
                    name: {
                        "file": str(one.file), "sha256": one.sha256, "version": one.version,
                        "component": one.component, "paths": [p.name for p in run.paths if one.concerns(p)],
                    }
                    for name, one in run.brought.items()
                },
                "corpus": run.corpus.digest if run.corpus else "",
            },
            "paths": {
                p.name: {
                    "summary": p.summary, "layers": list(p.layers), "launcher": p.launcher, "guest": p.guest,
                    "engine": p.engine.name if p.engine else None, "request": p.request, "below": p.below,
                    "control": p.control,
                    "glue": [r for r in run.catalogue.requirements if any(fnmatch.fnmatch(r, g) for g in p.glue)],
                }
                for p in run.paths
            },
            "requirements": {
                r.id: {k: _plain(v) for k, v in asdict(r).items() if k not in ("id", "file", "line")}
                for r in run.catalogue.requirements.values()
            },
        }  # fmt: skip

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """pytest-xdist: tell a worker what was found here."""
        node.workerinput["conformance_prepare_error"] = self.run.prepare_error
        node.workerinput["conformance_unbuilt"] = self.run.unbuilt

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, node: Any, ids: list[str]) -> None:
        """pytest-xdist: every worker collects the same; the first to finish is the plan."""
        if not self.planned:
            self._plan(ids)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Without pytest-xdist: the plan is what was collected here."""
        if session.items:
            self._plan([item.nodeid for item in session.items])

    def _plan(self, node_ids: list[str]) -> None:
        """Write the list of checks before the first runs: what has no result at the end is an error."""
        if self.config.option.collectonly:
            return
        checks, root = self.run.catalogue.checks, self.run.catalogue.root
        rows = []
        for node_id in node_ids:
            check, path = self.run.split(node_id)
            requirement = checks[check].requirement if check in checks else ""
            rows.append(
                {
                    "id": record.id_of(node_id, root, self.run.rootdir),
                    "check": check,
                    "path": path,
                    "requirement": requirement,
                }
            )
        self.planned = [str(row["id"]) for row in rows]
        try:
            write_plan(self.directory, self.id, rows)
        except InfrastructureError as error:
            self.problem = str(error)

    # ---- while checks run

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep a check's record until its clean-up is known, then write it."""
        key = record.id_of(report.nodeid, self.run.catalogue.root, self.run.rootdir)
        row = getattr(report, "conformance", None)
        if report.when == "setup":
            self.setup_seconds[key] = report.duration
        if row and "judged" in row:
            self.pending[key] = row
        elif row and "teardown_error" in row and key in self.pending:
            reason = f"clean-up failed: {row['teardown_error']}"
            self.pending[key].update(raw="error", judged="error", reason=reason, message=reason, expectation=None)
        elif report.failed and report.when not in ("setup", "call", "teardown"):
            # pytest-xdist reports a crashed worker in this form
            check, path = self.run.split(report.nodeid)
            self._write(record.bare(key, check, path, Raw.ERROR, f"the worker died: {report.longrepr}"))
        if report.when == "teardown" and key in self.pending:
            cleaning = (row or {}).get("commands_seconds", 0.0)
            row = self.pending.pop(key)
            # what surrounds the check's body is ours too; opening the path is start-up
            around = self.setup_seconds.pop(key, 0.0) - row.pop("opening_seconds", 0.0) + report.duration - cleaning
            row["times"]["harness_seconds"] = round(max(0.0, row["times"]["harness_seconds"] + around), 6)
            self._write(row)

    def _write(self, row: dict[str, Any]) -> None:
        facts = row.pop("path_facts", None)
        if row["judged"] == Judged.ERROR:
            cause = (row["path"], row["message"].partition("\n")[0])  # below it may stand what the node's logs said
            if cause in self.said:
                row["raw"] = row["judged"] = Judged.NOT_RUN.value  # another worker met the same cause: one error
            self.said.add(cause)
        self.judged[row["id"]] = Judged(row["judged"])
        self.executed += row["raw"] in EXECUTED
        if self.journal is None or self.problem:
            return
        try:
            if facts and self.opened.get(of := (facts["path"], facts["worker"])) != facts:
                self.journal.write(facts)
                self.opened[of] = facts
            self.journal.write(row)
        except InfrastructureError as error:
            self.problem = str(error)

    def pytest_keyboard_interrupt(self) -> None:
        """The user stopped the run: exit code 2, whatever else there is."""
        self.interrupted = True

    # ---- after the last check

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Set the exit code once, render the reports, and stop what the testbed started."""
        try:
            self._conclude(session)
        finally:
            self.told = finish(self.run.testbed, self.run.keep)

    def _conclude(self, session: pytest.Session) -> None:
        if self.journal is None or session.exitstatus == pytest.ExitCode.USAGE_ERROR:
            return
        interrupted = self.interrupted or session.exitstatus == pytest.ExitCode.INTERRUPTED
        outcomes = [*self.judged.values(), *(Judged.NOT_RUN for key in self.planned if key not in self.judged)]
        status = exit_status(outcomes, executed=self.executed, interrupted=interrupted)
        if session.exitstatus == pytest.ExitCode.INTERNAL_ERROR and not interrupted:
            status = 3
        try:
            self.journal.write({"kind": "end", "finished": _now(), "exit_status": status, "interrupted": interrupted})
            render(self.directory)
        except InfrastructureError as error:
            self.problem = self.problem or str(error)
        if self.problem and not interrupted:
            status = 3
        session.exitstatus = status

    @pytest.hookimpl(tryfirst=True)
    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """The short table, and where the files are."""
        if self.journal is None:
            return
        terminalreporter.section("conformance")
        write = terminalreporter.write_line
        if self.problem:
            write(f"the results are incomplete: {self.problem}", red=True)
        try:
            write(summary.terminal(journal.read(self.directory)))
        except UsageError as error:
            write(str(error), red=True)
            return
        for line in self.told:
            write(line)
        directory = self.directory.resolve()
        shown = directory.relative_to(Path.cwd()) if directory.is_relative_to(Path.cwd()) else directory
        write(f"{shown}/: " + "  ".join(sorted(f.name for f in directory.iterdir() if f.is_file())))


def write_plan(directory: Path, run_id: str, rows: list[dict[str, Any]]) -> None:
    """Write ``plan.json``.

    Raises:
        InfrastructureError: the directory cannot be written.
    """
    partial = directory / ".plan.json.partial"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        partial.write_text(json.dumps({"version": 1, "run": run_id, "planned": rows}, indent=1), encoding="utf-8")
        partial.replace(directory / "plan.json")
    except OSError as error:
        raise InfrastructureError(f"cannot write {directory / 'plan.json'}: {error.strerror}") from error


def forget_former_run(directory: Path) -> None:
    """Remove what a former run has left in a directory that was named again: two runs must not mix.

    Raises:
        InfrastructureError: something cannot be removed.
    """
    try:
        for name in (journal.JOURNAL, journal.PLAN, *REPORTS):
            (directory / name).unlink(missing_ok=True)
    except OSError as error:
        raise InfrastructureError(f"cannot replace the results in {directory}: {error.strerror}") from error


def link_latest(directory: Path) -> None:
    """Point ``latest`` beside a run's directory at it."""
    partial = directory.parent / f".latest-{os.getpid()}"
    partial.unlink(missing_ok=True)
    partial.symlink_to(directory.name)
    partial.replace(directory.parent / "latest")


def _commit(root: Path) -> str | None:
    argv = ["git", "-C", str(root), "rev-parse", "--short", "HEAD"]
    try:
        git = subprocess.run(argv, capture_output=True, text=True, check=False)
    except OSError:
        return None  # a machine without git can run the suites too
    return git.stdout.strip() or None


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _now() -> str:
    return f"{datetime.datetime.now(datetime.UTC):%Y-%m-%dT%H:%M:%SZ}"
