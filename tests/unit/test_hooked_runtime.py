"""The script that stands before a runtime adds one hook and changes nothing else."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from conformance import hooked_runtime
from conformance.model import RuntimePath

PATH = RuntimePath("docker-runc-native", "", (), "docker", "docker", "native", runtime="runc")
OURS = {"path": "/bin/sh", "args": ["/bin/sh", "/hook.sh"]}
OTHER = {"path": "/other"}


@pytest.mark.parametrize(
    ("hooks", "expected"),
    [
        (None, {"createRuntime": [OURS]}),
        ({}, {"createRuntime": [OURS]}),
        ({"poststop": [OTHER]}, {"createRuntime": [OURS], "poststop": [OTHER]}),
        ({"createRuntime": [OURS, OTHER]}, {"createRuntime": [OURS, OTHER]}),
    ],
)
def test_the_hook_is_in_the_configuration_once(
    tmp_path: Path, hooks: dict[str, Any] | None, expected: dict[str, Any]
) -> None:
    config = {"ociVersion": "1.0.2", **({} if hooks is None else {"hooks": hooks}), "process": {"args": ["a b"]}}
    file = tmp_path / "config.json"
    file.write_text(json.dumps(config, separators=(",", ":")))
    text = hooked_runtime.script(PATH, "/hook.sh", ["echo", "--first"])

    ran = subprocess.run(
        ["sh", "-c", text, "runc", "--root=/r", "create", "--bundle", str(tmp_path), "id 1"],
        capture_output=True, text=True, timeout=20, check=True,
    )  # fmt: skip

    assert ran.stdout == f"--first --root=/r create --bundle {tmp_path} id 1\n"
    assert json.loads(file.read_text()) == {**config, "hooks": expected}


def test_another_command_than_create_is_handed_on() -> None:
    ran = subprocess.run(
        ["sh", "-c", hooked_runtime.script(PATH, "/hook.sh", ["echo"]), "runc", "delete", "id"],
        capture_output=True, text=True, timeout=20, check=True,
    )  # fmt: skip
    assert ran.stdout == "delete id\n"
