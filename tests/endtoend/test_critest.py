"""critest's specs are those of our list, and nothing of them is left where they ran."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from conformance import cri_specs
from conformance.build.component import component
from tests.conftest import REPOSITORY, Runner, Suite

SPECS = REPOSITORY / "suites" / "critest"
LEFT = """
LOOK = '''
crictl=$1 config=$2
"$crictl" --config="$config" pods --quiet
"$crictl" --config="$config" images --quiet --no-trunc | wc -l
grep -c critest /proc/self/mountinfo
awk 'NR > 1' /proc/sysvipc/shm
ls -d /tmp/*critest* /tmp/podLog* /tmp/seccomp* /tmp/test* "$(dirname "$config")/critest" 2>/dev/null
find /run/netns -mindepth 1 2>/dev/null
find /sys/fs/cgroup -type d -name "*system.slice*"
cat /proc/sys/net/ipv4/conf/all/route_localnet
iptables -t nat -S POSTROUTING | grep -e "-s 127"
pgrep -l "critest|httpd|nginx"
true
'''


@soak
def test_left(path):
    crictl, config = path.launcher.crictl
    result = path.run("exit-return-0")
    seen = path.node.run(["sh", "-c", LOOK, "sh", crictl, config.partition("=")[2]]).stdout.split()

    assert result.proven
    # the corpus and pause; no mount; the kernel's own setting
    assert seen == [b"2", b"0", b"0"]
"""


def test_the_list_is_what_the_program_has(tmp_path: Path) -> None:
    program = component("cri-tools", print).place / "bin" / "critest"
    report = tmp_path / "report.json"
    subprocess.run(
        [program, "-ginkgo.dry-run", f"-ginkgo.json-report={report}"], cwd=tmp_path, check=True, timeout=60,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    nodes = [node for suite in json.loads(report.read_text()) for node in suite["SpecReports"]]
    there = [cri_specs.text_of(n) for n in nodes if n["LeafNodeType"] == "It" and n["State"] == "passed"]
    assert sorted(there) == sorted(cri_specs.listed(SPECS / "specs.yaml").texts)


@pytest.mark.usefixtures("nothing_left")
def test_nothing_of_critest_is_left_on_the_node(suite: Suite, run_suite: Runner) -> None:
    shutil.copytree(SPECS, suite.root / "critest")
    shutil.copy(REPOSITORY / "suites" / "requirements" / "critest.yaml", suite.root / "requirements")
    for name in ("containerd-runc", "runc-native"):
        shutil.copy(REPOSITORY / "suites" / "paths" / f"{name}.yaml", suite.root / "paths")
    suite.checks(LEFT, "last/test_left.py")
    file = suite.root / "last" / "test_left.py"
    file.write_text(file.read_text().replace("needs_node, requirement", "needs_node, requirement, soak"))
    chosen = "-k=HostIpc or mapping or propagation or HostPID or exactly or test_left"

    ran = run_suite(suite, "-m=critest or soak", chosen, runtime="containerd-runc", seconds=240)

    assert ran.outcome("test_left") == "passed", ran.output
    assert set(ran.judged.values()) <= {"passed", "skipped"}


def test_critest_is_not_run_twice_beside_itself(run_suite: Runner) -> None:
    ran = run_suite(SPECS, "-m=critest", "-n=2", runtime="containerd-runc")
    assert ran.exit_code == 4
    assert "critest runs once for a path; leave out -n" in ran.output


def test_critest_is_run_only_where_it_is_asked_for(run_suite: Runner) -> None:
    ran = run_suite(SPECS, "--collect-only", runtime="containerd-runc")
    assert "6 deselected" in ran.output
