"""The box under plain QEMU, and Vagrant as a person uses it. Minutes, where instructions are emulated."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from conformance.build import box
from tests.vms.conftest import MACHINE, Machines, plain_machine


def test_the_box_s_disk_starts_under_plain_qemu(tmp_path: Path) -> None:
    with plain_machine(tmp_path) as there:
        assert f'"box": "{box.box(print).digest}"' in there.ssh("cat /etc/conformance-image")
        assert "login:" in there.console.read_text(errors="replace")


def test_up_provisions_and_the_machine_says_what_it_is(machine: Machines) -> None:
    assert f'"box": "{box.box(print).digest}"' in machine.ssh("cat /etc/conformance-image")
    assert "v2" in machine.ssh("stat -fc %T /sys/fs/cgroup | sed s/cgroup2fs/v2/; systemctl is-system-running --wait")
    assert machine.ssh("systemctl --failed --no-legend") == ""
    assert "running" in machine("status", MACHINE)


def test_the_insecure_key_is_replaced(machine: Machines) -> None:
    assert "insecure" not in machine.ssh("cat /home/vagrant/.ssh/authorized_keys")


def test_provisioning_again_changes_nothing_and_a_replaced_component_only_itself(
    machine: Machines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in (("one", "1"), ("two", "2")):
        (tmp_path / name).write_text(f"#!/bin/sh\necho {text}\n")
    monkeypatch.setenv("CONFORMANCE_COMPONENTS", f"one={tmp_path}/one two={tmp_path}/two")
    assert len(re.findall(r"(?:one|two) +- -> [0-9a-f]{12} installed", machine("provision", MACHINE))) == 2
    stamps = "stat -c '%i %Y' /opt/conformance/bin/*"
    before = machine.ssh(stamps).splitlines()
    assert "installed" not in machine("provision", MACHINE)
    assert machine.ssh(stamps).splitlines() == before

    (tmp_path / "one").write_text("#!/bin/sh\necho changed\n")
    said = machine("provision", MACHINE)
    assert re.search(r"one +[0-9a-f]{12} -> [0-9a-f]{12} installed", said)
    assert re.search(r"two +[0-9a-f]{12} unchanged", said)
    after = machine.ssh(stamps).splitlines()
    assert (after[0] != before[0], after[1]) == (True, before[1])
    assert machine.ssh("sudo one") == "changed\n"

    monkeypatch.delenv("CONFORMANCE_COMPONENTS")
    assert machine("provision", MACHINE).count("removed") == 2
    assert machine.ssh("ls /opt/conformance/bin") == ""


def test_provisioning_that_fails_half_way_is_told_and_can_be_repeated(
    machine: Machines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("aa", "bb"):
        (tmp_path / name).write_text(name)
    monkeypatch.setenv("CONFORMANCE_COMPONENTS", f"aa={tmp_path}/aa bb={tmp_path}/bb")
    machine.ssh("mkdir -p /opt/conformance/bin/bb.conformance-partial")  # its place is taken
    said = machine("provision", MACHINE, check=False)
    assert "aa" in said
    assert "IsADirectoryError" in said
    assert machine.ssh("cat /var/lib/conformance-provisioned 2>&1 || true").count("No such file") <= 1
    machine.ssh("rmdir /opt/conformance/bin/bb.conformance-partial")
    said = machine("provision", MACHINE)
    assert re.search(r"aa .* unchanged", said)
    assert re.search(r"bb .* installed", said)
    monkeypatch.delenv("CONFORMANCE_COMPONENTS")
    machine("provision", MACHINE)


def test_halt_and_up_again_is_the_same_machine(machine: Machines) -> None:
    machine.ssh("touch /root/mark")
    machine("halt", MACHINE)
    assert "shutoff" in machine("status", MACHINE)
    machine("up", MACHINE)
    assert machine.ssh("ls /root/mark") == "/root/mark\n"


def test_destroy_leaves_nothing(machine: Machines) -> None:
    domain = machine.domain
    assert domain in machine.virsh("list", "--name")
    machine("destroy", "-f", MACHINE)
    assert domain not in machine.virsh("list", "--all", "--name")
    assert domain not in machine.virsh("vol-list", "default")
    others = machine.virsh("list", "--name").strip()  # the network belongs to all machines of Vagrant's
    assert others or "vagrant-libvirt" not in machine.virsh("net-list", "--all", "--name")
    commands = [p.read_bytes() for p in Path("/proc").glob("[0-9]*/cmdline") if p.exists()]
    assert not [c for c in commands if domain.encode() in c]
