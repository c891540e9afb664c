"""The workflow, the action and the examples in docs/ci.md, as far as they can be looked at without running them."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from conformance.cli import commands
from tests.conftest import REPOSITORY
from tests.unit import workflow_steps
from tests.unit.workflow_steps import ACTION, WORKFLOW, Step, complaints

KNOWN_ACTIONS = re.compile(r"actions/(checkout|cache/restore|cache/save|upload-artifact|download-artifact)@v\d+")
CACHE = ACTION.parent / "cache.sh"
STEPS = [step for job in workflow_steps.jobs().values() for step, _ in workflow_steps.steps(job)]
COMMANDS = [step for step in STEPS if step.run]
DOCUMENT = (REPOSITORY / "docs" / "ci.md").read_text()


def test_both_are_as_github_s_schema_says() -> None:
    assert complaints("github-workflows", WORKFLOW) == ""
    assert complaints("github-actions", ACTION) == ""


@pytest.mark.parametrize(("kind", "schema"), [("github-workflow", "github-workflows"), ("gitlab-ci", "gitlab-ci")])
def test_the_examples_are_in_order_too(kind: str, schema: str, tmp_path: Path) -> None:
    (example,) = re.findall(rf"```yaml {kind}\n(.*?)```", DOCUMENT, flags=re.DOTALL)
    file = tmp_path / f"{kind}.yml"
    file.write_text(example)
    assert complaints(schema, file) == ""


def test_the_example_gives_the_action_inputs_that_it_has() -> None:
    (example,) = re.findall(r"```yaml github-workflow\n(.*?)```", DOCUMENT, flags=re.DOTALL)
    given = yaml.safe_load(example)["jobs"]["wasm"]["steps"][-1]["with"]
    assert set(given) <= set(workflow_steps.document(ACTION)["inputs"])
    rows = {
        name
        for line in re.findall(r"^\| (`.*?) \|", DOCUMENT, flags=re.MULTILINE)
        for name in re.findall(r"`([\w-]+)`", line)
    }
    assert set(workflow_steps.document(ACTION)["inputs"]) <= rows


def test_only_well_known_actions_by_major_version() -> None:
    used = [step.uses for step in STEPS if step.uses]
    assert used
    assert [action for action in used if not KNOWN_ACTIONS.fullmatch(action)] == []


def test_each_job_is_bounded_and_may_only_read() -> None:
    assert workflow_steps.document(WORKFLOW)["permissions"] == {"contents": "read"}
    for name, job in workflow_steps.jobs().items():
        assert job["timeout-minutes"] <= 60, name
        assert "permissions" not in job, name


@pytest.mark.parametrize("step", COMMANDS, ids=[step.name for step in COMMANDS])
def test_commands_take_what_others_wrote_from_the_environment_only(step: Step) -> None:
    """An expression in a command is replaced before the shell reads it: whoever names a branch could run commands."""
    assert "${{" not in step.run
    assert subprocess.run(["bash", "-n", "-c", step.run], check=False).returncode == 0
    used = set(re.findall(r"\$\{?([A-Z][A-Z_]*)", step.run)) - {"GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY"}
    assert used == set(step.env)


def test_commands_are_those_that_a_person_would_type() -> None:
    text = "\n".join(step.run for step in COMMANDS)
    targets = {word for line in re.findall(r"^\s*make (.*)$", text, flags=re.MULTILINE) for word in line.split()[-1:]}
    makefile = (REPOSITORY / "Makefile").read_text()
    assert targets
    assert [target for target in targets if not re.search(rf"^{target}:", makefile, flags=re.MULTILINE)] == []
    typed = set(re.findall(r"bin/conformance\"? ([a-z]+)", text))
    assert typed == {"matrix", "merge", "rejudge"}
    assert typed <= set(commands())


def test_every_input_is_used_and_every_one_used_is_declared() -> None:
    declared = workflow_steps.document(ACTION)["inputs"]
    used = set(re.findall(r"inputs\.([\w-]+)", ACTION.read_text()))
    assert used == set(declared)
    given = next(given for _, given in workflow_steps.steps(workflow_steps.jobs()["check"]) if given)
    assert set(given) <= set(declared)


def test_the_cache_s_key_covers_what_is_built() -> None:
    step = next(step for step in COMMANDS if step.id == "digest")
    places = ("vms/images", "suites/workloads", "conformance/build")
    assert all(place in step.run and (REPOSITORY / place).is_dir() for place in places)


def cache(word: str, file: Path, place: Path) -> int:
    environment = {**os.environ, "CONFORMANCE_CACHE": str(place)}
    return subprocess.run(["sh", str(CACHE), word, str(file)], env=environment, timeout=60, check=False).returncode


def test_a_cache_comes_back_with_owners_and_modes(tmp_path: Path) -> None:
    secret = tmp_path / "old" / "images" / "key" / "rootfs" / "shadow"
    secret.parent.mkdir(parents=True)
    secret.write_text("x")
    secret.chmod(0o4600)
    if os.geteuid() == 0:
        os.chown(secret, 0, 42)
        secret.chmod(0o4600)
    for dropped in (tmp_path / "old" / "logs", tmp_path / "old" / "images" / ".partial-1"):
        dropped.mkdir()
    file = tmp_path / "archive.tar"
    assert cache("pack", file, tmp_path / "old") == 0
    assert cache("unpack", file, tmp_path / "new") == 0
    back = tmp_path / "new" / "images" / "key" / "rootfs" / "shadow"
    assert [(s.st_mode, s.st_uid, s.st_gid) for s in (back.stat(),)] == [
        (s.st_mode, s.st_uid, s.st_gid) for s in (secret.stat(),)
    ]
    assert sorted(path.name for path in (tmp_path / "new").rglob("*")) == ["images", "key", "rootfs", "shadow"]
    assert not file.exists()


def test_without_a_cache_nothing_happens_and_a_full_one_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "archive.tar"
    assert cache("pack", file, tmp_path / "none") == 0
    assert cache("unpack", file, tmp_path / "none") == 0
    assert not (tmp_path / "none").exists()
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "entry").touch()
    file.write_text("not a tar file")
    assert cache("unpack", file, tmp_path / "there") == 0
    assert cache("pick", file, tmp_path / "there") == 4
