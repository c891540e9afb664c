"""The whole suite says the same over ssh as in the sandbox."""

from __future__ import annotations

import pytest

from tests.conftest import REPOSITORY, Running, SshMachine, Starter

pytestmark = pytest.mark.usefixtures("nothing_left")


def test_every_verdict_is_the_same_over_ssh_as_in_the_sandbox(start_suite: Starter, ssh_machine: SshMachine) -> None:
    def started(testbed: str) -> Running:
        environment = {"CONFORMANCE_SSH_CONFIG": str(ssh_machine.config)}
        return start_suite(REPOSITORY / "suites", f"--testbed={testbed}", environment=environment)

    here, there = started("sandbox"), started("ssh://root@machine")
    sandbox, ssh = here.end(180), there.end(180)
    assert sandbox.exit_code in (0, 1), sandbox.output
    assert len(sandbox.judged) > 10
    different = {
        key: (sandbox.judged.get(key), ssh.judged.get(key))
        for key in sandbox.judged | ssh.judged
        if sandbox.judged.get(key) != ssh.judged.get(key)
    }
    assert different == {}
    assert ssh.exit_code == sandbox.exit_code
    assert {row["node"]["init"] for row in ssh.rows if row["kind"] == "path"} == {"python3"}
