"""What ctr is told with options, and what in a file."""

from __future__ import annotations

import json
from pathlib import PurePosixPath
from types import SimpleNamespace
from typing import Any, cast

import pytest

from conformance.launchers.ctr import CtrCli, Launcher
from conformance.model import (
    Completed,
    ContainerSpec,
    Limits,
    Mount,
    ProcessSnapshot,
    Proof,
    Reports,
    RunResult,
    RuntimePath,
)
from conformance.node import Node
from conformance.node import steps as s

HOOK = ("/bin/sh", "/hook.sh")


@pytest.fixture
def cli() -> CtrCli:
    node = SimpleNamespace(directory=PurePosixPath("/n"), session="s", facts={"cgroup_mode": "v1"})
    path = RuntimePath("ctr-runc-native", "", (), "ctr", "ctr", "native", runtime="runc")
    made = CtrCli(cast(Node, node), path, command=("ctr",), run_options=("--runtime=shim",), state="")
    made.images["/root"] = "localhost/image:1"
    made.hook = HOOK
    return made


def spec(**more: Any) -> ContainerSpec:
    usual = {"id": "c1", "module": "m", "rootfs": "/root", "args": ("/m", "-x"), "env": ("A=b c",)}
    return ContainerSpec(**{**usual, **more})


def test_what_options_can_say_is_said_with_options(cli: CtrCli) -> None:
    asked = spec(uid=1, gid=2, cwd="/work", mounts=(Mount("/from", "/to", read_only=True),), annotations={"k": "v"})
    assert cli.configuration(asked) == ([], [])
    words = cli.argv(asked, [], "--rm")
    assert words[:4] == ["ctr", "run", "--runtime=shim", "--rm"]
    assert words[-4:] == ["localhost/image:1", "c1", "/m", "-x"]
    for word in (
        "--user=1:2", "--cwd=/work", "--env=A=b c", "--read-only", "--annotation=k=v",
        "--mount=type=bind,src=/from,dst=/to,options=rbind:ro",
    ):  # fmt: skip
        assert word in words


@pytest.mark.parametrize(
    "more",
    [
        {"limits": Limits(memory_bytes=1 << 20)},
        {"additional_gids": (5,)},
        {"hooks": {"poststop": [{"path": "/x"}]}},
        {"oci": {"hostname": "h"}},
        {"extra_mounts": ({"destination": "/x", "type": "tmpfs", "source": "tmpfs"},)},
    ],
)
def test_the_rest_is_said_in_a_file_that_holds_the_hook(cli: CtrCli, more: dict[str, Any]) -> None:
    (written,), own = cli.configuration(spec(**more))
    assert isinstance(written, s.Write)
    assert cli.argv(spec(**more), own, "--rm")[-2:] == [f"--config={written.path}", "c1"]
    config = json.loads(written.data)
    assert config["root"]["path"] == "/root"
    assert config["hooks"]["createRuntime"] == [{"path": HOOK[0], "args": list(HOOK)}]
    assert config["annotations"]["org.conformance.snapshot"] == "/n/ctr-runc-native/snapshots/c1"


def test_a_check_s_own_hook_comes_after_the_one_that_takes_the_snapshot(cli: CtrCli) -> None:
    (written,), _ = cli.configuration(spec(hooks={"createRuntime": [{"path": "/bin/false"}]}))
    assert isinstance(written, s.Write)
    assert [hook["path"] for hook in json.loads(written.data)["hooks"]["createRuntime"]] == ["/bin/sh", "/bin/false"]


def result(asked: ContainerSpec, stdout: bytes, *, seen: bool = True) -> RunResult:
    done = Completed(("ctr",), 0, None, False, stdout, b"", False, 0.1)
    return RunResult(asked, done, ("ctr",), Proof(()), ProcessSnapshot(7) if seen else None, {}, Reports(), stdout, b"")


@pytest.mark.parametrize(
    ("nonce", "seen", "said", "runs"),
    [
        ("n", True, [b"heard"], 1),
        ("n", True, [b"", b"heard"], 2),
        ("n", True, [b"", b""], 2),
        ("n", False, [b""], 1),
        ("", True, [b""], 1),
    ],
)
def test_a_container_that_was_not_heard_is_run_once_more(nonce: str, seen: bool, said: list[bytes], runs: int) -> None:
    asked, left = spec(nonce=nonce), list(said)
    launcher = object.__new__(Launcher)
    launcher.cli = cast(CtrCli, SimpleNamespace(run=lambda it: result(it, left.pop(0), seen=seen)))
    found = launcher.run(asked)
    assert found.stdout == said[-1]
    assert found.commands == ("ctr",) * runs
    assert left == []
