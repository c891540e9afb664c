"""Runtime paths as jobs of a CI system."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from conformance import catalogue
from conformance.cli import main
from conformance.cli.matrix import jobs
from conformance.errors import UsageError
from tests.conftest import REPOSITORY, Suite
from tests.unit.workflow_steps import complaints

SUITE = catalogue.read(REPOSITORY / "suites")


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["matrix", *words]) == 0
    return capsys.readouterr().out


def test_each_path_has_a_job_and_no_control_has_nor_one_whose_runtime_a_user_brings() -> None:
    found = [job.runtime for job in jobs(SUITE, ["all"], ["sandbox"])]
    controls = {path.control for path in SUITE.paths.values()}
    assert found == [name for name, path in SUITE.paths.items() if name not in controls and not path.brought]
    assert "crun-wasmedge" in found


def test_a_control_that_is_named_in_full_has_a_job() -> None:
    assert [job.name for job in jobs(SUITE, ["crun-native"], ["sandbox"])] == ["crun-native"]
    with pytest.raises(UsageError, match="--runtime runc-n.*: matches controls only"):
        jobs(SUITE, ["runc-n*"], ["sandbox"])


def test_two_testbeds_are_two_jobs_with_names_of_their_own() -> None:
    found = jobs(SUITE, ["crun-wasmedge"], ["sandbox", "ssh://root@machine"])
    assert [(job.name, job.artifact) for job in found] == [
        ("crun-wasmedge@sandbox", "conformance-crun-wasmedge-sandbox"),
        ("crun-wasmedge@ssh-root-machine", "conformance-crun-wasmedge-ssh-root-machine"),
    ]
    assert found[1].arguments == ("--runtime=crun-wasmedge", "--testbed=ssh://root@machine")


def test_github_gets_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, "--format", "github")
    assert text.count("\n") == 1
    entries: list[dict[str, Any]] = json.loads(text)["include"]
    assert set(entries[0]) == {"name", "runtime", "testbed", "arguments", "artifact"}
    assert all(isinstance(value, str) for entry in entries for value in entry.values())


def test_gitlab_gets_a_pipeline_of_its_own(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    text = printed(capsys, "--format", "gitlab", "--runtime", "crun-wasmedge", "crun-native")
    pipeline = yaml.safe_load(text)
    assert list(pipeline) == ["stages", ".conformance", "crun-wasmedge", "crun-native", "merge"]
    assert pipeline["crun-native"]["variables"]["ARGUMENTS"] == "--runtime=crun-native --testbed=sandbox"
    assert "&id" not in text
    file = tmp_path / "child.gitlab-ci.yml"
    file.write_text(text)
    assert complaints("gitlab-ci", file) == ""


def test_any_suite_can_be_listed(suite: Suite, capsys: pytest.CaptureFixture[str]) -> None:
    suite.checks("def test_a(path):\n    assert path")
    entries = json.loads(printed(capsys, "--format", "json", "--suites", str(suite.root)))
    assert [entry["runtime"] for entry in entries] == ["crun-wasmedge"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--runtime", "crun-wasmegde"], "unknown runtime 'crun-wasmegde'; did you mean 'crun-wasmedge'?"),
        (["--testbed", "sandbx"], "unknown testbed 'sandbx'; did you mean 'sandbox'?"),
        (["--suites", "/nowhere"], "/nowhere is no suite directory"),
    ],
)
def test_words_that_do_not_fit(words: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["matrix", "--format", "json", *words]) == 4
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1
