"""Machines of these tests' own: other state than the user's, so theirs are never touched."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from conformance.testbeds import vagrant
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
        tag = vagrant._place(MACHINE, "x").stem.rpartition("-")[2]
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
    for file in vagrant._place(MACHINE, "x").parent.glob(f"*-{vagrant._place(MACHINE, 'x').stem[-6:]}.*"):
        file.unlink()


@pytest.fixture
def machine(machines: Machines) -> Machines:
    """A machine that runs and is provisioned; kept for the next test."""
    vagrant.prepare([MACHINE], print)
    vagrant._started.clear()
    vagrant.finish(keep=True)
    return machines


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
