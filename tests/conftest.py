"""What the harness's own tests share: a suite directory of their own, runs of pytest as a
person starts them, and the look at what is left on this machine afterwards."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from conformance.node import Node
from conformance.node import steps as s
from conformance.node.steps import Step
from conformance.testbeds import sandbox

REPOSITORY = Path(__file__).parents[1]
LOCKS = Path("/run/wasm-conformance")
STATE = Path("/var/lib/conformance")
#: What the plug-in's command line needs where no pyproject.toml of ours is above the suite.
PYTEST_INI = "[pytest]\naddopts = --strict-markers --import-mode=importlib -p no:cacheprovider\n"
RULE = """- id: {0}
  title: a rule of the harness's own tests
  level: MUST
  basis: {1}
  text: As it says.
  url: https://example.org/{0}
  area: tests
"""
HEAD = "from conformance import Feature, Limits, Mount, needs, needs_node, requirement\n\n\n"


@dataclass(frozen=True)
class Suite:
    """A suite directory with this repository's paths and whatever checks a test writes into it."""

    root: Path
    rules: list[str] = field(default_factory=list)

    def write(self, file: str, text: str) -> Path:
        """Write any file below the suite directory."""
        path = self.root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text).lstrip("\n"))
        return path

    def checks(self, text: str, file: str = "test_it.py") -> Suite:
        """Write checks; those that name no requirement get one."""
        body = textwrap.dedent(text).strip("\n")
        body = re.sub(r"(?<!\)\n)^def test_", '@requirement("TEST-RULE")\ndef test_', body, flags=re.MULTILINE)
        self.write(file, HEAD + body + "\n")
        if 'requirement("TEST-RULE")' in body:
            self.rule("TEST-RULE")
        return self

    def rule(self, name: str, basis: str = "parity") -> Suite:
        """Define a requirement."""
        if name not in self.rules:
            self.rules.append(name)
            file = self.root / "requirements" / "tests.yaml"
            file.write_text((file.read_text() if file.exists() else "") + RULE.format(name, basis))
        return self


@pytest.fixture
def suite(tmp_path: Path) -> Suite:
    """An empty suite directory with the three low-level paths."""
    root = tmp_path / "suites"
    for name in ("paths", "requirements", "expectations"):
        (root / name).mkdir(parents=True)
    for name in ("crun-wasmedge", "crun-native", "runc-native"):
        shutil.copy(REPOSITORY / "suites" / "paths" / f"{name}.yaml", root / "paths")
    (tmp_path / "pytest.ini").write_text(PYTEST_INI)
    return Suite(root)


@dataclass
class Ran:
    """A run of pytest that has ended, as its caller sees it."""

    exit_code: int
    output: str
    directory: Path

    @property
    def records(self) -> dict[str, dict[str, Any]]:
        """Whole lines of ``results.jsonl`` that are records, by the name of the check and path."""
        return {row["id"].partition("::")[2] or row["id"]: row for row in self.rows if row["kind"] == "record"}

    @property
    def rows(self) -> list[dict[str, Any]]:
        """All whole lines of ``results.jsonl``."""
        file = self.directory / "results.jsonl"
        lines = file.read_text().splitlines() if file.exists() else []
        return [json.loads(line) for line in lines]

    @property
    def judged(self) -> dict[str, str]:
        """Judged outcome by record id."""
        return {row["id"]: row["judged"] for row in self.rows if row["kind"] == "record"}

    def outcome(self, check: str) -> str:
        """Judged outcome of the record whose id contains ``check``."""
        found = [row["judged"] for name, row in self.records.items() if check in name]
        assert len(found) == 1, f"{check}: {found}\n{self.output}"
        return str(found[0])

    def reason(self, check: str) -> str:
        """The reason of the record whose id contains ``check``."""
        return next(str(row["reason"]) for name, row in self.records.items() if check in name)

    def results(self) -> dict[str, Any]:
        """``results.json``."""
        read: dict[str, Any] = json.loads((self.directory / "results.json").read_text())
        return read


@dataclass
class Running:
    """A run of pytest that goes on."""

    process: subprocess.Popen[str]
    directory: Path

    def wait_for_records(self, count: int, seconds: float = 30) -> None:
        """Until the journal holds that many records."""
        journal = self.directory / "results.jsonl"
        until(lambda: journal.exists() and journal.read_text().count('"kind": "record"') >= count, seconds)

    def wait_for_plan(self, seconds: float = 30) -> None:
        """Until the list of checks is written."""
        until((self.directory / "plan.json").exists, seconds)

    def end(self, seconds: float = 60) -> Ran:
        """Wait for its end."""
        try:
            output, _ = self.process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            output, _ = self.process.communicate(timeout=10)
            raise AssertionError(f"pytest did not end within {seconds} s:\n{output}") from None
        return Ran(self.process.returncode, output, self.directory)


Starter = Callable[..., Running]
Runner = Callable[..., Ran]


@pytest.fixture
def start_suite(tmp_path: Path) -> Iterator[Starter]:
    """Start pytest on a suite directory and give it back while it runs."""
    started: list[subprocess.Popen[str]] = []

    def start(
        where: Suite | Path, *options: str, runtime: str = "crun-wasmedge", control: bool = False,
        report_dir: Path | None = None, environment: dict[str, str] | None = None, before: tuple[str, ...] = (),
    ) -> Running:  # fmt: skip
        root = where.root if isinstance(where, Suite) else where
        directory = report_dir or tmp_path / f"report-{len(started)}"
        argv = [*before, sys.executable, "-m", "pytest", str(root), f"--runtime={runtime}", f"--report-dir={directory}"]
        argv += [*([] if control else ["--no-control"]), *options]
        process = subprocess.Popen(
            argv, cwd=REPOSITORY if root.is_relative_to(REPOSITORY) else root.parent, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="backslashreplace",
            env={**os.environ, "COLUMNS": "200", **(environment or {})}, start_new_session=True,
        )  # fmt: skip
        started.append(process)
        return Running(process, directory)

    yield start
    for process in started:
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)


@pytest.fixture
def run_suite(start_suite: Starter) -> Runner:
    """Run pytest on a suite directory to its end."""

    def run(*arguments: Any, seconds: float = 90, **more: Any) -> Ran:
        return start_suite(*arguments, **more).end(seconds)

    return run


def until(condition: Callable[[], object], seconds: float = 10) -> None:
    """Wait for something that must happen within this time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.02)


# ---- a machine behind ssh

#: Reaches the sandbox's own loopback: it has no link to this machine's network.
RELAY = """
import os, select, socket
there = socket.create_connection(("127.0.0.1", 22), 10)
while True:
    for ready in select.select([0, there], [], [])[0]:
        data = os.read(0, 65536) if ready == 0 else there.recv(65536)
        if not data:
            raise SystemExit
        there.sendall(data) if ready == 0 else os.write(1, data)
"""


@dataclass(frozen=True)
class SshMachine:
    """A sandbox in which an sshd listens.

    Attributes:
        node: the sandbox itself, as seen without ssh.
        config: an ssh_config that knows it as ``machine``.
    """

    node: Node
    config: Path


def first_process_of(session: str) -> int:
    """The pid, on this machine, of a sandbox's first process."""
    return int(json.loads((LOCKS / f"{session}.lock").read_text())["pid"])


@pytest.fixture(scope="session")
def ssh_machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshMachine]:
    """A machine that only ssh reaches, for ``--testbed=ssh://root@machine``."""
    place = tmp_path_factory.mktemp("ssh")
    for name in ("user", "host"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(place / name)], check=True, timeout=30)
    # named after our parent: it outlives a test, and is not something that a test has left
    node = sandbox.open_node("low-level", "", f"{os.getppid():x}-{secrets.token_hex(3)}")
    try:
        sshd = ["/usr/sbin/sshd", "-D", "-e", "-f", "/etc/ssh/conformance"]
        settings = "ListenAddress 127.0.0.1\nHostKey /etc/ssh/host\nAuthorizedKeysFile /etc/ssh/user.pub\nUsePAM no\n"
        steps: list[Step] = [
            s.Write("/etc/ssh/host", (place / "host").read_bytes(), 0o600),
            s.Write("/etc/ssh/user.pub", (place / "user.pub").read_bytes()),
            s.Write("/etc/ssh/conformance", settings.encode()),
            s.Mkdir("/run/sshd"),
            s.Run(sshd, keep=True, until_output="Server listening"),
        ]
        started = node.batch(steps)[-1]
        assert not started.fields["timed_out"], started.blobs
        pid = first_process_of(node.session)
        relay = place / "relay.py"
        relay.write_text(RELAY)
        config = place / "config"
        config.write_text(
            f"Host machine\n  ProxyCommand nsenter -t {pid} -n {sys.executable} -I {relay}\n"
            f"  IdentityFile {place / 'user'}\n  IdentitiesOnly yes\n"
            f"  StrictHostKeyChecking accept-new\n  UserKnownHostsFile {place / 'known_hosts'}\n  LogLevel ERROR\n"
        )
        yield SshMachine(node, config)
    finally:
        node.close()


# ---- what is left

#: Where a session's name is seen: the agent's program, a holder's name, a sandbox's cgroup, a container's.
TRACES = re.compile(
    rb"""\['main'\]\('([^']+)'\)|conformance-keep-([\w-]+)|wasm-conformance-([\w-]+)|/conformance/(\w+-\w{6})/"""
)


def traces() -> dict[str, str]:
    """What sessions of the harness have on this machine now: each thing, and the session it belongs to."""
    found: dict[str, str] = {}
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            command = (place / "cmdline").read_bytes()
            for match in TRACES.finditer(command + (place / "cgroup").read_bytes()):
                session = next(group for group in match.groups() if group).decode()
                shown = command.replace(b"\0", b" ")[:60].decode("ascii", "replace").replace("\n", " ")
                found[f"process {place.name} ({shown})"] = session
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        if mount := re.search(r"/wasm-conformance/([\w-]+)", line):
            found[f"mount {line.split()[4]}"] = mount[1]
    for line in Path("/proc/self/mounts").read_text().splitlines():
        if line.split()[2] in ("cgroup", "cgroup2"):
            for directory, groups, _ in os.walk(line.split()[1]):
                for group in groups:
                    if group.startswith("wasm-conformance-") or directory.endswith("/conformance"):
                        found[f"cgroup {directory}/{group}"] = group.removeprefix("wasm-conformance-")
    for place in (LOCKS, STATE):
        for path in place.glob("*"):
            found[f"file {path}"] = path.name.removesuffix(".lock")
    for path in Path("/run/netns").glob("*"):
        found[f"network namespace {path}"] = path.name
    return found


def left_by_the_dead() -> set[str]:
    """Traces of sessions whose pytest is gone or is this one; its pid begins the session's name."""
    own = f"{os.getpid():x}-"
    return {
        thing
        for thing, session in traces().items()
        if (opener := re.match(r"([0-9a-f]+)-", session))
        and (session.startswith(own) or not Path(f"/proc/{int(opener[1], 16)}").exists())
    }


@pytest.fixture
def nothing_left() -> Iterator[None]:
    """Within 5 s nothing of what the test started is on this machine.

    No process (and so no namespace), mount, cgroup or lock file. Other people's runs that go on
    meanwhile are not counted.
    """
    before = left_by_the_dead()
    yield
    deadline = time.monotonic() + 5
    while left := left_by_the_dead() - before:
        assert time.monotonic() < deadline, f"left behind: {sorted(left)}"
        time.sleep(0.05)
