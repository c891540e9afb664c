"""Machines that are the user's: behind ssh, and boxes that are not ours."""

from __future__ import annotations

import hashlib
import json
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY, Runner, Suite
from tests.vms.conftest import MACHINE, Machines, PlainMachine, plain_machine

SSH = "--testbed=ssh://vagrant@machine"
REBOOT = REPOSITORY / "suites" / "lifecycle" / "test_reboot.py"


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlainMachine]:
    """A machine that somebody started by hand."""
    with plain_machine(tmp_path_factory.mktemp("plain")) as there:
        yield there


@pytest.fixture(autouse=True)
def ssh_config(theirs: PlainMachine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONFORMANCE_SSH_CONFIG", str(theirs.config))


def test_only_provision_installs_anything_on_it(
    theirs: PlainMachine, small_suite: Suite, run_suite: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "one").write_text("#!/bin/sh\necho one\n")
    monkeypatch.setenv("CONFORMANCE_COMPONENTS", f"one={tmp_path}/one")
    theirs.ssh("dpkg --remove --force-depends runc")
    look = "find /opt/conformance /var/lib/conformance* -type f 2>/dev/null; command -v runc"
    plain = run_suite(small_suite, "-k", "test_a", SSH, seconds=300)
    assert plain.exit_code == 0, plain.output
    assert theirs.ssh(look) == ""

    provisioned = run_suite(small_suite, "-k", "test_a", SSH, "--provision", seconds=900)
    assert provisioned.exit_code == 0, provisioned.output
    assert "installing packages: runc" in provisioned.output
    assert "installed (1 files)" in provisioned.output
    assert theirs.ssh("/opt/conformance/bin/one; command -v runc") == "one\n/usr/sbin/runc\n"

    again = run_suite(small_suite, "-k", "test_a", SSH, "--provision", seconds=300)
    assert again.exit_code == 0, again.output
    assert "provisioning" not in again.output


def test_what_cannot_be_installed_is_one_line_and_no_verdict(
    theirs: PlainMachine, small_suite: Suite, run_suite: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "two").write_text("two")
    monkeypatch.setenv("CONFORMANCE_COMPONENTS", f"two={tmp_path}/two")
    theirs.ssh("mkdir -p /opt/conformance/bin/two.conformance-partial")  # its place is taken
    ran = run_suite(small_suite, SSH, "--provision", seconds=300)
    assert ran.exit_code == 3
    assert "provisioning machine failed: IsADirectoryError" in ran.output
    assert not [row for row in ran.records.values() if row["raw"] in ("passed", "failed")]
    theirs.ssh("rmdir /opt/conformance/bin/two.conformance-partial")


def test_it_is_restarted_only_where_the_user_allows_it(theirs: PlainMachine, run_suite: Runner) -> None:
    asked = "cat /proc/sys/kernel/random/boot_id"
    before = theirs.ssh(asked)
    kept = run_suite(REBOOT, SSH, seconds=300)
    assert (kept.exit_code, kept.outcome("after_a_reboot")) == (3, "skipped")  # no check was tried
    assert theirs.ssh(asked) == before
    restarted = run_suite(REBOOT, SSH, "--allow-reboot", seconds=600)
    assert (restarted.exit_code, restarted.outcome("after_a_reboot")) == (0, "passed"), restarted.output
    assert theirs.ssh(asked) not in (before, "")


def test_a_box_that_is_not_ours_gets_the_packages_it_lacks(
    machines: Machines, small_suite: Suite, run_suite: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with plain_machine(tmp_path) as there:
        there.ssh("dpkg --remove --force-depends runc; rm /etc/conformance-image; sync")
        there.ssh("systemctl poweroff --force")
        disk = there.disk
    convert = ["qemu-img", "convert", "-O", "qcow2", str(disk), str(tmp_path / "box.img")]
    subprocess.run(convert, check=True, timeout=300)
    (tmp_path / "metadata.json").write_text(json.dumps({"provider": "libvirt", "format": "qcow2", "virtual_size": 10}))
    with tarfile.open(tmp_path / "theirs.box", "w") as archive:
        for name in ("metadata.json", "box.img"):
            archive.add(tmp_path / name, name)
    monkeypatch.setenv("CONFORMANCE_BOX", str(tmp_path / "theirs.box"))
    machines("destroy", "-f", MACHINE)
    try:
        ran = run_suite(small_suite, "-k", "test_a", "--testbed=vagrant", seconds=900)
        assert ran.exit_code == 0, ran.output
        machines("up", MACHINE)
        assert machines.ssh("cat /etc/conformance-image; command -v runc") == "/usr/sbin/runc\n"
    finally:
        machines("destroy", "-f", MACHINE)
        subprocess.run(["vagrant", "box", "remove", "--force", "--all", box_name(tmp_path / "theirs.box")], check=False)


def box_name(file: Path) -> str:
    """What the Vagrantfile calls a box that is a file."""
    return f"conformance-{hashlib.sha256(file.read_bytes()).hexdigest()[:12]}"
