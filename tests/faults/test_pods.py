"""Something of the node fails beside the runtime under test: containerd, its network, its configuration."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from conformance import services, testbeds
from conformance.build.component import component, program_on_node
from conformance.errors import InfrastructureError
from conformance.node import Node
from tests.conftest import REPOSITORY, Ran, Runner, Suite

pytestmark = pytest.mark.usefixtures("nothing_left")

PATH = "containerd-runc"
TOOLS = "cri-tools"
BETWEEN = """
import os

def test_a_before(path):
    assert path.run("exit-return-0").proven

def test_b_fault(path):
    {fault}
    assert path.run("exit-return-0").proven

def test_c_next(path):
    assert path.run("exit-return-0").proven
"""
KILL = 'path.node.run(["kill", "-KILL", str(path.node.do(path.launcher.service.has_ended()).fields["pid"])])'

#: Loses what a guest prints that is called so: once or always, and says so as containerd does, or says nothing.
LOSES_OUTPUT = """#!/bin/sh
for word; do
    case ${previous-} in --bundle) bundle=$word ;; esac
    case $word in create) command=create ;; esac
    previous=$word
    last=$word
done
said() {
    echo 'level=error msg="Failed to pipe stdout of container \\"'"$last"'\\"" error="reading from a closed fifo"' \\
        >>"${bundle%%/state/*}/log"
}
[ "${command-}" != create ] || case $(cat "$bundle/config.json") in
    *lost-once*) [ -e /tmp/lost ] || { touch /tmp/lost; said; exec >/dev/null; } ;;
    *lost-always*) said; exec >/dev/null ;;
    *lost-unsaid*) exec >/dev/null ;;
esac
exec /usr/sbin/runc "$@"
"""
LOST = """
def test_a_once(path):
    assert path.run("exit-return-0", args=["lost-once"]).proven

def test_b_always(path):
    assert path.finish(path.pod().start(path.spec("exit-return-0", ["lost-always"]))).proven

def test_c_unsaid(path):
    assert path.finish(path.pod().start(path.spec("exit-return-0", ["lost-unsaid"]))).proven
"""


@pytest.fixture
def pods(suite: Suite) -> Suite:
    for name in (PATH, "runc-native"):
        shutil.copy(REPOSITORY / "suites" / "paths" / f"{name}.yaml", suite.root / "paths")
    return suite


@pytest.fixture
def node(nothing_left: None) -> Iterator[Node]:
    bed, address = testbeds.testbed("sandbox")
    node = bed.open_node("low-level", address, f"{os.getpid():x}-{secrets.token_hex(3)}", [component(TOOLS, print)])
    yield node
    node.close()


def outcomes(ran: Ran) -> list[str]:
    return [ran.outcome(f"test_{letter}_") for letter in "abc"]


def broken(node: Node, old: str, new: str) -> services.Service:
    """containerd with another configuration."""
    whole = services.description("containerd")
    files = tuple(replace(file, text=file.text.replace(old, new)) for file in whole.files)
    assert files != whole.files
    values = {"daemon": "containerd", "program": "/usr/sbin/runc", "interpreter": "/bin/sh", "hook": "/none"}
    values |= {"crictl": program_on_node([TOOLS], "crictl"), "shim": "io.containerd.runc.v2", "spec": "spec"}
    values["patience"] = "20"
    described = replace(whole, files=files, ready_seconds=3)
    return services.Service(node, described, f"{node.directory}/containerd", values)


def test_a_containerd_that_is_killed_is_one_error_and_is_started_again(pods: Suite, run_suite: Runner) -> None:
    ran = run_suite(pods.checks(BETWEEN.replace("{fault}", KILL)), runtime=PATH)
    assert ran.exit_code == 3
    assert outcomes(ran) == ["passed", "error", "passed"]
    assert "containerd on sandbox" in ran.reason("test_b_")
    assert "has ended (signal 9); it was started again" in ran.reason("test_b_")


def test_a_containerd_that_is_killed_twice_is_not_tried_again(pods: Suite, run_suite: Runner) -> None:
    text = BETWEEN.replace("{fault}", KILL)
    again = f"def test_c_next(path):\n    {KILL}\n"
    ran = run_suite(pods.checks(text.replace("def test_c_next(path):\n", again)), runtime=PATH)
    assert ran.exit_code == 3
    assert outcomes(ran) == ["passed", "error", "not-run"]
    assert "2 times by now" in ran.reason("test_c_")


def test_a_network_plug_in_that_is_missing_is_an_error_of_the_node(pods: Suite, run_suite: Runner) -> None:
    hide = 'path.node.run(["mv", "/usr/lib/cni/bridge", "/usr/lib/cni/away"])'
    ran = run_suite(pods.checks(BETWEEN.replace("{fault}", hide)), runtime=PATH)
    assert ran.exit_code == 3
    assert outcomes(ran) == ["passed", "error", "error"]
    assert "no network for a pod" in ran.reason("test_b_")
    assert 'failed to find plugin "bridge" in path [/usr/lib/cni]' in ran.reason("test_b_")


def test_a_containerd_without_network_configuration_is_not_waited_for_without_end(node: Node) -> None:
    service = broken(node, '"type": "bridge"', '"type": ""')
    with pytest.raises(InfrastructureError, match="did not answer within .*: failed to load cni during init"):
        service.start()


def test_output_that_containerd_says_it_has_lost_is_a_race_and_any_other_is_a_failure(
    pods: Suite, run_suite: Runner, tmp_path: Path
) -> None:
    pods.write("races/containerd.yaml", (REPOSITORY / "suites" / "races" / "containerd.yaml").read_text())
    runc = tmp_path / "runc"
    runc.write_text(LOSES_OUTPUT)
    runc.chmod(0o755)
    ran = run_suite(pods.checks(LOST), f"--component=runc={runc}", runtime=PATH)
    assert outcomes(ran) == ["passed", "failed", "failed"], ran.output
    assert [row["attempts"] for row in ran.records.values()] == [2, 3, 1]
    assert ran.reason("test_b").endswith("the guest announced nothing")
    assert "test_a_once[containerd-runc] was tried again: containerd gives up" in " ".join(ran.output.split())
