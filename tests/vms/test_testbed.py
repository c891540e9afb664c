"""``--testbed=vagrant``, and what happens when its machine dies."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

from conformance.testbeds import vagrant
from tests.conftest import REPOSITORY, Ran, Runner, Running, Starter, Suite, until
from tests.vms.conftest import MACHINE, Machines


def test_verdicts_come_from_a_real_node(machine: Machines, run_suite: Runner) -> None:
    exit_codes = REPOSITORY / "suites" / "process" / "test_exit_codes.py"
    ran = run_suite(exit_codes, "--testbed=vagrant", seconds=600)
    assert ran.exit_code == 0, ran.output
    node = next(row["node"] for row in ran.rows if row["kind"] == "path")
    assert (node["init"], node["cgroup_mode"]) == ("systemd", "v2")
    assert "running" in machine("status", MACHINE), "a machine that ran before is not stopped"


def test_a_machine_that_the_run_started_is_stopped_after_it(
    machine: Machines, small_suite: Suite, run_suite: Runner
) -> None:
    machine("halt", MACHINE)
    ran = run_suite(small_suite, "-k", "test_a", "--testbed=vagrant", seconds=600)
    assert ran.exit_code == 0, ran.output
    assert "shutoff" in machine("status", MACHINE)


def test_two_workers_use_one_machine(machine: Machines, small_suite: Suite, run_suite: Runner) -> None:
    ran = run_suite(small_suite, "-k", "not slow", "-n2", "--testbed=vagrant", seconds=600)
    assert ran.exit_code == 0, ran.output
    assert len(ran.records) == 4


def interrupted(machine: Machines, suite: Suite, start_suite: Starter, fault: str) -> Ran:
    """Run the suite, and do the fault while its second check is in its middle."""
    machine.ssh("rm -f /run/slow")
    running: Running = start_suite(suite, "--testbed=vagrant")
    until(lambda: machine.ssh("ls /run/slow 2>&1").strip() == "/run/slow", 300)
    if fault.startswith("virsh "):
        machine.virsh(*fault.split()[1:])
    else:
        # its ssh does not come back when the fault is that sshd hangs
        threading.Thread(target=subprocess.run, args=(machine_argv(fault),), daemon=True).start()
    return running.end(900)


def machine_argv(script: str) -> list[str]:
    return ["timeout", "20", *vagrant._ssh(MACHINE), MACHINE, f"sudo sh -c '{script}'"]


def one_error_then_well(ran: Ran) -> str:
    assert ran.exit_code == 3, ran.output
    assert [ran.outcome(f"test_{name}") for name in ("a", "b_slow", "c", "d", "e")] == [
        "passed", "error", "passed", "passed", "passed",
    ]  # fmt: skip
    row = next(row for name, row in ran.records.items() if "b_slow" in name)
    return str(row["message"])


def test_a_machine_that_is_powered_off_is_one_error_and_comes_back(
    machine: Machines, small_suite: Suite, start_suite: Starter
) -> None:
    message = one_error_then_well(interrupted(machine, small_suite, start_suite, f"virsh destroy {machine.domain}"))
    assert message.startswith("node vagrant low-level")


def test_a_kernel_panic_is_one_error_with_the_console_in_its_record(
    machine: Machines, small_suite: Suite, start_suite: Starter
) -> None:
    message = one_error_then_well(
        interrupted(machine, small_suite, start_suite, "echo 1 > /proc/sys/kernel/sysrq; echo c > /proc/sysrq-trigger")
    )
    assert "--- console" in message
    assert "Kernel panic - not syncing: sysrq triggered crash" in message


def test_a_hung_sshd_is_one_error(machine: Machines, small_suite: Suite, start_suite: Starter) -> None:
    message = one_error_then_well(interrupted(machine, small_suite, start_suite, "pkill -STOP sshd"))
    assert "did not answer" in message or "went away" in message


def test_the_second_of_two_runs_waits_and_names_the_first(
    machine: Machines, small_suite: Suite, start_suite: Starter
) -> None:
    first = start_suite(small_suite, "-k", "slow", "--testbed=vagrant")
    first.wait_for_plan(120)
    started = time.monotonic()
    refused = start_suite(
        small_suite, "-k", "test_a", "--testbed=vagrant", environment={"CONFORMANCE_MACHINE_WAIT_SECONDS": "2"}
    ).end(120)
    assert refused.exit_code == 3
    assert f"machine low-level has been used by process {first.process.pid} since" in refused.output
    second = start_suite(small_suite, "-k", "test_a", "--testbed=vagrant").end(600)
    assert f"waiting for machine low-level, which is used by process {first.process.pid}" in second.output
    assert second.exit_code == 0, second.output
    assert first.end(300).exit_code == 0
    assert time.monotonic() - started > 5


def test_without_vagrant_one_line_says_what_to_type(small_suite: Suite, run_suite: Runner) -> None:
    ran = run_suite(small_suite, "--testbed=vagrant", environment={"PATH": f"{sys.prefix}/bin"})
    assert ran.exit_code == 3
    assert "vagrant is not installed (install it: sh vms/host/install.sh vms)" in ran.output


def test_a_machine_of_another_box_is_refused(machine: Machines, small_suite: Suite, run_suite: Runner) -> None:
    meta = machine.state / "machines" / MACHINE / "libvirt" / "box_meta"
    own = meta.read_text()
    meta.write_text(own.replace("0.1.x", "0.1.x0"))
    try:
        ran = run_suite(small_suite, "--testbed=vagrant", seconds=120)
    finally:
        meta.write_text(own)
    assert ran.exit_code == 3
    assert "make it anew: vagrant destroy -f low-level" in ran.output
