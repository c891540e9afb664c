"""Machines of these tests' own: other state than the user's, so theirs are never touched."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from conformance.build import box
from conformance.build.accelerator import accelerator
from conformance.build.staging import file_of
from conformance.testbeds import ssh, vagrant
from tests.conftest import REPOSITORY, Runner, Suite

VIRSH = ["virsh", "-c", "qemu:///system"]
MACHINE = "low-level"


@dataclass
class Machines:
    """Vagrant, as a person types it."""

    state: Path

    def __call__(self, *words: str, seconds: float = 600, check: bool = True) -> str:
        """Run ``vagrant WORDS``; gives back everything it said."""
        done = subprocess.run(
            ["vagrant", *words], cwd=REPOSITORY, capture_output=True, text=True, timeout=seconds, check=False
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    @property
    def domain(self) -> str:
        """libvirt's name of the machine."""
        tag = file_of(MACHINE, "x").stem.rpartition("-")[2]
        return f"conformance-{tag}-{MACHINE}"

    def virsh(self, *words: str) -> str:
        """Run ``virsh WORDS``."""
        return subprocess.run([*VIRSH, *words], capture_output=True, text=True, timeout=60, check=False).stdout

    def ssh(self, script: str, seconds: float = 120) -> str:
        """Run a shell script on the machine as root."""
        done = subprocess.run(
            [*vagrant._ssh(MACHINE), MACHINE, "sudo sh -s"], input=script, capture_output=True, text=True,
            timeout=seconds, check=False,
        )  # fmt: skip
        return done.stdout


def conformance(*words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """A command of the harness, as a person types it."""
    return subprocess.run(
        [f"{sys.prefix}/bin/conformance", *words], cwd=REPOSITORY, input=stdin, capture_output=True, text=True,
        timeout=300, check=False,
    )  # fmt: skip


@pytest.fixture(scope="session")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    """State of our own for Vagrant; whatever a test leaves is destroyed at the end."""
    state = tmp_path_factory.mktemp("vagrant") / "state"
    os.environ["VAGRANT_DOTFILE_PATH"] = str(state)
    os.environ["VAGRANT_CHECKPOINT_DISABLE"] = "1"
    yield Machines(state)
    Machines(state)("destroy", "-f", check=False)
    left = file_of(MACHINE, "x").parent.glob(f"*-{file_of(MACHINE, 'x').stem[-6:]}.*")
    assert [state] * state.exists() + list(left) == []


@pytest.fixture
def machine(machines: Machines) -> Machines:
    """A machine that runs and is provisioned; kept for the next test."""
    vagrant.prepare([MACHINE], print)
    vagrant._started.clear()
    vagrant.finish(keep=True)
    return machines


@dataclass
class PlainMachine:
    """The box's disk under plain QEMU, as somebody may start it by hand.

    Attributes:
        disk: an overlay of the box's.
        config: an ssh_config that knows it as ``machine``, with Vagrant's well-known key.
        console: what it says on its serial line.
    """

    disk: Path
    config: Path
    console: Path

    def ssh(self, script: str, seconds: float = 120) -> str:
        """Run a shell script there as root."""
        argv = [*ssh.client(str(self.config)), "machine", "sudo sh -s"]
        done = subprocess.run(argv, input=script, capture_output=True, text=True, timeout=seconds, check=False)
        return done.stdout


@contextlib.contextmanager
def plain_machine(place: Path) -> Iterator[PlainMachine]:
    """Start one and wait for its sshd; switch it off at the end."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    key = place / "key"
    home = Path(os.environ.get("VAGRANT_HOME") or Path.home() / ".vagrant.d")
    key.write_bytes((home / "insecure_private_key").read_bytes())
    key.chmod(0o600)
    config = place / "ssh_config"
    config.write_text(
        f"Host machine\n  HostName 127.0.0.1\n  Port {port}\n  User vagrant\n  IdentityFile {key}\n"
        "  IdentitiesOnly yes\n  StrictHostKeyChecking no\n  UserKnownHostsFile /dev/null\n  LogLevel ERROR\n"
    )
    there = PlainMachine(box.overlay_of(box.box(print), place / "disk.qcow2"), config, place / "console")
    argv = box.virtual_machine_argv(there.disk, accelerator=accelerator(), memory_mib=1024, cpus=2, ssh_port=port)
    with there.console.open("wb") as output:
        qemu = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
        try:
            deadline = time.monotonic() + 300
            while not there.ssh("cat /proc/1/comm", 60):
                assert qemu.poll() is None, there.console.read_text(errors="replace")[-2000:]
                assert time.monotonic() < deadline, there.console.read_text(errors="replace")[-2000:]
                time.sleep(0.2)
            yield there
        finally:
            qemu.kill()
            qemu.wait(20)


@pytest.fixture
def small_suite(suite: Suite) -> Suite:
    """Five checks, the second of which takes its time."""
    body = '@requirement("TEST-RULE")\ndef test_{0}(path):\n    assert path.run("exit-return-0").exit_code == 0\n\n\n'
    slow = (
        "def test_b_slow(path):\n    path.node.run(['sh', '-c', 'touch /run/slow; sleep 60; rm /run/slow'],"
        " timeout_seconds=90)\n    assert path.run('exit-return-0').exit_code == 0\n\n\n"
    )
    names = ["c", "d", "e"]
    return suite.checks(body.format("a") + slow + "".join(body.format(n) for n in names))


__all__ = ["Machines", "Runner"]
