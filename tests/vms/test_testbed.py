"""``--testbed=vagrant``, and what happens when its machine dies."""

from __future__ import annotations

import re
import subprocess
import threading
import time
from pathlib import Path

import pytest

from conformance.testbeds import vagrant
from tests.conftest import REPOSITORY, Ran, Runner, Running, Starter, Suite, until
from tests.vms.conftest import MACHINE, Machines, conformance


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


def test_a_machine_that_dies_again_is_left_alone_and_the_rest_is_told_quickly(
    machine: Machines, suite: Suite, run_suite: Runner
) -> None:
    body = "def test_{0}(path):\n    path.node.run(['systemctl', 'poweroff', '--force', '--force'])\n\n\n"
    ran = run_suite(suite.checks("".join(body.format(name) for name in "abcde")), "--testbed=vagrant", seconds=900)
    assert ran.exit_code == 3, ran.output
    # the second death has the same words: one cause is one error
    assert [ran.outcome(f"test_{name}") for name in "abcde"] == ["error", *["not-run"] * 4]
    assert "has died 2 times" in ran.reason("test_c")
    assert sum(float(row["times"]["check_seconds"] or 0) for n, row in ran.records.items() if n[5] in "cde") < 5
    assert len(ran.results()["records"]) == 5


def test_a_full_disk_of_the_machine_is_an_error_and_not_a_failure(
    machine: Machines, small_suite: Suite, run_suite: Runner
) -> None:
    # all but 8 MiB without writing it, then what root may use beyond
    fill = "fallocate -l $(($(stat -f -c '%f * %S' /) - (8 << 20))) /filled"
    try:
        machine.ssh(f"{fill}; dd if=/dev/zero of=/filled.rest bs=4k")
        ran = run_suite(small_suite, "-k", "not slow", "--testbed=vagrant", seconds=300)
        assert ran.exit_code == 3, ran.output
        assert sorted(row["judged"] for row in ran.records.values()) == ["error", "not-run", "not-run", "not-run"]
        (message,) = {row["message"] for row in ran.records.values() if row["judged"] == "error"}
        assert "ENOSPC" in message or "No space left" in message
    finally:
        machine.ssh("rm -f /filled /filled.rest")
    assert run_suite(small_suite, "-k", "test_a", "--testbed=vagrant", seconds=300).exit_code == 0


def programs_without(place: Path, *missing: str) -> str:
    """A PATH with every program of this machine but these."""
    place.mkdir()
    for directory in reversed(["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"]):
        for program in Path(directory).glob("*"):
            link = place / program.name
            link.unlink(missing_ok=True)
            if program.name not in missing:
                link.symlink_to(program)
    return str(place)


@pytest.mark.parametrize(
    ("program", "says"),
    [
        ("vagrant", "vagrant is not installed"),
        ("virsh", "libvirt is not installed"),
        ("qemu-system-x86_64", "qemu-system-x86_64 is not installed"),
    ],
)
def test_without_a_tool_one_line_says_what_to_type(
    program: str, says: str, small_suite: Suite, run_suite: Runner, tmp_path: Path
) -> None:
    path = programs_without(tmp_path / "bin", program)
    ran = run_suite(small_suite, "--testbed=vagrant", environment={"PATH": path})
    assert ran.exit_code == 3
    assert f"{says} (install it: sh vms/host/install.sh vms)" in ran.output


@pytest.mark.parametrize(
    ("program", "prints", "says"),
    [
        ("vagrant", "Vagrant 2.2.19", "Vagrant 2.2.19 is too old, 2.3 or newer is needed"),
        ("virsh", "Using library: libvirt 8.0.0", "libvirt 8.0.0 is too old, 9.0 or newer is needed"),
        ("qemu-system-x86_64", "QEMU emulator version 7.2.9", "QEMU 7.2.9 cannot emulate a current kernel"),
    ],
)
def test_a_tool_that_is_too_old_is_named_with_what_is_needed(
    program: str, prints: str, says: str, small_suite: Suite, run_suite: Runner, tmp_path: Path
) -> None:
    path = programs_without(tmp_path / "bin", program)
    old = Path(path) / program
    old.write_text(f"#!/bin/sh\necho '{prints}'\n")
    old.chmod(0o755)
    ran = run_suite(small_suite, "--testbed=vagrant", environment={"PATH": path, "CONFORMANCE_ACCELERATOR": "tcg"})
    assert ran.exit_code == 3
    assert says in ran.output
    assert "sh vms/host/install.sh vms" in ran.output


def test_without_a_libvirt_that_answers_one_line_says_what_to_type(small_suite: Suite, run_suite: Runner) -> None:
    nowhere = {"LIBVIRT_DEFAULT_URI": "qemu+unix:///system?socket=/nowhere"}
    ran = run_suite(small_suite, "--testbed=vagrant", environment=nowhere)
    assert ran.exit_code == 3
    assert "libvirt does not answer: " in ran.output
    assert "(start it: sh vms/host/install.sh vms)" in ran.output


def test_two_machines_work_at_once(machine: Machines, small_suite: Suite, run_suite: Runner) -> None:
    path = small_suite.root / "paths" / "crun-native.yaml"
    other = path.read_text().replace("name: crun-native", "name: crun-elsewhere") + "node: containerd\n"
    small_suite.write("paths/crun-elsewhere.yaml", other)
    try:
        ran = run_suite(
            small_suite, "-k", "not slow", "-n2", "--testbed=vagrant", "--runtime=crun-elsewhere", seconds=900
        )  # fmt: skip
        assert ran.exit_code == 0, ran.output
        nodes = {row["path"]: row["node"]["hostname"] for row in ran.rows if row["kind"] == "path"}
        assert set(nodes) == {"crun-wasmedge", "crun-elsewhere"}
        assert len(ran.records) == 8
        assert "running" in machine("status", MACHINE)
        assert "shutoff" in machine("status", "containerd"), "the run started it, so the run stopped it"
    finally:
        machine("destroy", "-f", "containerd")


def test_a_shell_enters_a_machine_and_stop_stops_it(machine: Machines) -> None:
    entered = conformance("shell", "--node", MACHINE, stdin="id -un; cat /proc/1/comm; exit 5\n")
    assert entered.stdout.endswith("vagrant\nsystemd\n")  # below the greeting of its login
    assert entered.returncode == 5
    stopped = conformance("stop", MACHINE)
    assert (stopped.stdout, stopped.returncode) == (f"machine {MACHINE} is stopped\n", 0)
    assert conformance("stop", MACHINE).stdout == f"machine {MACHINE} does not run (shutoff)\n"
    refused = conformance("shell", "--node", MACHINE)
    assert refused.returncode == 3
    assert refused.stderr.endswith(f"machine {MACHINE} does not run (shutoff) (start it: vagrant up {MACHINE})\n")


def test_a_session_that_was_kept_on_a_machine_is_entered_and_ended(
    machine: Machines, small_suite: Suite, run_suite: Runner
) -> None:
    ran = run_suite(small_suite, "-k", "test_a", "--keep", "--testbed=vagrant", seconds=300)
    found = re.search(r"conformance shell --node ([\w-]+)', end it with 'conformance stop \1'", ran.output)
    assert found, ran.output
    entered = conformance("shell", "--node", found[1], stdin="id -un\n")
    assert "root file system: /var/lib/conformance/" in entered.stdout
    assert entered.stdout.endswith("vagrant\n")
    assert conformance("stop", found[1]).stdout == f"session {found[1]} has ended\n"
    assert machine.ssh("ls /var/lib/conformance") == ""
