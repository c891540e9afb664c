"""The workflow's jobs, run here with their own commands.

GitHub is played by this file: it copies the repository as checkout does, evaluates ``env``, gives the
files that steps write to, and hands artifacts on. What a step types is taken from the workflow as it is.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from lxml import etree

from tests.conftest import REPOSITORY
from tests.unit import workflow_steps
from tests.unit.workflow_steps import Step

pytestmark = pytest.mark.usefixtures("nothing_left")

#: Jobs at a time: those of pods mostly wait.
PARALLEL = 3
NOT_CHECKED_OUT = (".git", ".venv", "reports", "__pycache__", "*.egg-info", ".mypy_cache", ".ruff_cache")


@dataclass
class Runner:
    """One machine that runs one job.

    Attributes:
        workspace: the checkout.
        artifacts: shared by all jobs of a workflow run.
        values: what expressions see.
        output: of all steps.
        failed: a step has ended badly.
        log: names of the steps that were taken.
    """

    workspace: Path
    artifacts: Path
    values: dict[str, Any]
    output: str = ""
    failed: bool = False
    log: list[str] = field(default_factory=list)

    @property
    def summary(self) -> str:
        """What the job shows on its page."""
        file = self.workspace.parent / "summary"
        return file.read_text() if file.exists() else ""

    def run(self, job: Mapping[str, Any]) -> Runner:
        """Every step of a job, in its order."""
        for step, given in workflow_steps.steps(dict(job), self.workspace):
            context = self.values
            if given is not None:
                context = self.values | {"inputs": workflow_steps.inputs(given, self.values)}
                context["github"] = {"action_path": str(step.action)}
            if not workflow_steps.applies(step, context, failed=self.failed):
                continue
            self.log.append(step.name)
            if step.run:
                self._command(step, context)
            else:
                self._action(step, context)
        return self

    def _command(self, step: Step, context: Mapping[str, Any]) -> None:
        outputs = self.workspace.parent / "outputs"
        outputs.write_text("")
        environment = {
            **os.environ, "GITHUB_OUTPUT": str(outputs), "GITHUB_STEP_SUMMARY": str(self.workspace.parent / "summary"),
            **{name: workflow_steps.evaluate(value, context) for name, value in step.env.items()},
        }  # fmt: skip
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step.run],
            cwd=self.workspace, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, timeout=3600, check=False,
        )  # fmt: skip
        self.output += f"$ {step.name}\n{done.stdout}"
        self.failed |= done.returncode != 0
        pairs = [line.partition("=") for line in outputs.read_text().splitlines()]
        self.values["steps"][step.id] = {"outputs": {name: value for name, _, value in pairs}}

    def _action(self, step: Step, context: Mapping[str, Any]) -> None:
        inputs = {name: workflow_steps.evaluate(value, context) for name, value in step.inputs.items()}
        match step.uses.partition("@")[0]:
            case "actions/upload-artifact":
                shutil.copytree(self.workspace / inputs["path"], self.artifacts / inputs["name"])
            case "actions/download-artifact":
                for artifact in self.artifacts.glob(inputs["pattern"]):
                    shutil.copytree(artifact, self.workspace / inputs["path"] / artifact.name)
            case "actions/cache/restore":
                assert inputs["key"].count("-") == 4
                # this machine's own cache is the restored one
                self.values["steps"][step.id] = {"outputs": {"cache-hit": "true"}}
            case other:
                assert other == "actions/checkout"


@dataclass
class Pipeline:
    """Jobs of one run of the workflow."""

    place: Path
    count: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def job(self, name: str, **values: Any) -> Runner:
        """Run a job on a fresh checkout."""
        place = self.place / f"runner-{next(self.count)}"
        workspace = place / "work"
        shutil.copytree(REPOSITORY, workspace, ignore=shutil.ignore_patterns(*NOT_CHECKED_OUT))
        # what is installed already: the packages that this very test runs with
        (workspace / ".venv").mkdir()
        (workspace / ".venv" / "bin").symlink_to(REPOSITORY / ".venv" / "bin")
        stamp = hashlib.sha256((workspace / "pyproject.toml").read_bytes()).hexdigest()[:12]
        (workspace / ".venv" / f".installed-{stamp}").touch()
        artifacts = self.place / "artifacts"
        artifacts.mkdir(exist_ok=True)
        context = {"steps": {}, "runner": {"temp": str(place), "os": "Linux", "arch": "X64"}, **values}
        return Runner(workspace, artifacts, context).run(workflow_steps.jobs()[name])


def entries(pipeline: Pipeline, runtime: str) -> list[dict[str, str]]:
    planned = pipeline.job("plan", inputs={"runtime": runtime})
    assert not planned.failed, planned.output
    matrix: list[dict[str, str]] = json.loads(planned.values["steps"]["matrix"]["outputs"]["matrix"])["include"]
    return matrix


def test_plan_one_path_its_control_by_itself_and_the_report(tmp_path: Path) -> None:
    pipeline = Pipeline(tmp_path)
    matrix = entries(pipeline, "crun-wasmedge crun-native")
    assert [entry["name"] for entry in matrix] == ["crun-wasmedge", "crun-native"]
    for entry in matrix:
        job = pipeline.job("check", matrix=entry)
        assert not job.failed, job.output
        assert job.log[-1] == "Reports"  # the cache was there and is not packed again
        assert job.summary.startswith("# WebAssembly conformance: conformant")
        published = pipeline.place / "artifacts" / entry["artifact"]
        assert {"junit.xml", "report.html", "summary.md", "results.json"} <= {file.name for file in published.iterdir()}

    report = pipeline.job("report", needs={"check": {"result": "success"}, "plan": {"result": "success"}})
    assert not report.failed, report.output
    assert "crun-wasmedge" in report.summary
    whole = json.loads((pipeline.place / "artifacts" / "report" / "results.json").read_text())
    # the control ran in both jobs, as what was asked for and along
    assert list(whole["paths"]) == ["crun-wasmedge", "crun-native", "runc-native"]
    assert len(whole["run"]["merged"]) == 2
    ids = [record["id"] for record in whole["records"]]
    assert len(ids) == len(set(ids)) > 100
    cases = etree.parse(str(pipeline.place / "artifacts" / "report" / "junit.xml")).findall(".//testcase")
    assert len(cases) == len(ids)

    shutil.rmtree(pipeline.place / "artifacts" / "report")
    lost = pipeline.job("report", needs={"check": {"result": "failure"}, "plan": {"result": "success"}})
    assert lost.failed
    assert lost.log[-1] == "Every job ended well"


@pytest.mark.skipif(not os.environ.get("TEST_ALL"), reason="takes half an hour; `make test-all` does it")
def test_every_job_ends_well_and_all_merge_into_one_report(tmp_path: Path) -> None:
    pipeline = Pipeline(tmp_path)
    matrix = entries(pipeline, "all")

    def check(entry: dict[str, str]) -> str:
        started = time.monotonic()
        job = pipeline.job("check", matrix=entry)
        print(f"{entry['name']}: {'failed' if job.failed else 'well'}, {time.monotonic() - started:.0f} s", flush=True)
        shutil.rmtree(job.workspace)
        return job.output if job.failed else ""

    with ThreadPoolExecutor(PARALLEL) as runners:
        assert [output for output in runners.map(check, matrix) if output] == []

    report = pipeline.job("report", needs={"check": {"result": "success"}, "plan": {"result": "success"}})
    assert not report.failed, report.output
    whole = json.loads((pipeline.place / "artifacts" / "report" / "results.json").read_text())
    assert len(whole["run"]["merged"]) == len(matrix)
    assert {entry["name"] for entry in matrix} <= set(whole["paths"])


def test_another_repository_s_crun_judged_by_its_own_known_failures(tmp_path: Path) -> None:
    """The action on a binary that was brought; judged by no expectation at all, it does not conform."""
    (tmp_path / "known").mkdir()
    wrapper = tmp_path / "crun"
    wrapper.write_text('#!/bin/sh\nexec /usr/bin/crun "$@"\n')
    wrapper.chmod(0o755)
    job = {"steps": [{"uses": "./.github/actions/conformance", "with": {
        "runtime": "crun-wasmedge", "component": f"crun={wrapper}", "expectations": str(tmp_path / "known"),
        "arguments": "-k exit_code_42_reaches --no-control",
    }}]}  # fmt: skip
    pipeline = Pipeline(tmp_path)
    ran = pipeline.job("plan")
    ran.values["steps"], ran.failed, ran.log = {}, False, []
    ran.run(job)
    assert ran.failed
    assert ran.log[-1] == "Reports"  # they are published also, and above all, then
    judged = json.loads((pipeline.place / "artifacts" / "conformance-report" / "results.json").read_text())
    assert {record["judged"] for record in judged["records"]} == {"failed"}
    assert list(judged["run"]["brought"]) == ["crun"]
    own = json.loads((ran.workspace / "conformance-report-by-own-expectations" / "results.json").read_text())
    assert {record["judged"] for record in own["records"]} == {"expected-failure"}
    assert "## Failed (" in ran.summary
