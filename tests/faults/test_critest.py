"""critest's verdicts can be red, and what keeps critest from one is an error."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import REPOSITORY, Ran, Runner

pytestmark = pytest.mark.usefixtures("nothing_left")

PATH = "containerd-runc"
HOSTNAME, DNS, READY = "set hostname", "DNS config", "support running PodSandbox"
#: Before the real runc. BROKEN stands where a container is made; $bundle is its directory.
RUNC = """#!/bin/sh
for word; do
    case ${previous-} in --bundle) bundle=$word ;; esac
    case $word in create) create=yes ;; esac
    previous=$word
done
if [ "${create-}" ] && pgrep -x critest >/dev/null; then
    BROKEN
fi
exec /usr/sbin/runc "$@"
"""


def critest(run_suite: Runner, tmp_path: Path, broken: str) -> Ran:
    """Three specs, with a runc that is broken as soon as critest runs."""
    program = tmp_path / "runc"
    program.write_text(RUNC.replace("BROKEN", broken))
    program.chmod(0o755)
    three = "-k=about_networks and (hostname or DNS) or about_pods and running"
    return run_suite(
        REPOSITORY / "suites" / "critest", "-m=critest", three, f"--component=runc={program}", runtime=PATH,
        report_dir=tmp_path / "report", seconds=240,
    )  # fmt: skip


def test_a_runtime_that_loses_the_host_name_is_red_in_the_spec_about_it(run_suite: Runner, tmp_path: Path) -> None:
    ran = critest(run_suite, tmp_path, """sed -i 's/"hostname":"[^"]*"/"hostname":"other"/' "$bundle/config.json" """)
    assert [ran.outcome(name) for name in (HOSTNAME, DNS, READY)] == ["failed", "passed", "passed"]
    assert ran.exit_code == 1
    record = next(row for name, row in ran.records.items() if HOSTNAME in name)
    assert record["observations"]["at"].startswith("networking.go:")
    assert "to be true" in record["observations"]["said"]
    assert "-ginkgo.focus=" in record["commands"][-1]


@pytest.mark.parametrize(
    ("victim", "says"),
    [("critest", "critest made no report (signal 9)"), ("containerd", "has ended (signal 9); it was started again")],
)
def test_what_dies_while_critest_runs_is_one_error(run_suite: Runner, tmp_path: Path, victim: str, says: str) -> None:
    ran = critest(run_suite, tmp_path, f"kill -KILL $(pgrep -x {victim})")
    assert ran.exit_code == 3
    assert sorted(row["judged"] for row in ran.records.values()) == ["error", "not-run", "not-run"]
    assert says in next(row["reason"] for row in ran.records.values() if row["judged"] == "error")
