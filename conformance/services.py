"""Daemons that a path needs on its node: dockerd, a registry, containerd, CRI-O.

Each is declared once in ``vms/services/NAME.yaml``: its configuration files, its command and the
question that it answers when it is ready. It is started when the first path needs it, has a
directory of its own there, and ends with the node's agent. One that dies is started once more;
the check that met it is an error, whatever the check itself found.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from tenacity import Retrying, retry_if_result, stop_after_delay, wait_fixed

from conformance import documents
from conformance.errors import InfrastructureError, NotRun, UsageError
from conformance.node import Node
from conformance.node import steps as s

DESCRIPTIONS = Path(__file__).parents[1] / "vms" / "services"
#: How often a daemon is started on one node, and how much of its log a message shows.
STARTS = 2
LOG_LINES = 20
READY_TIMEOUT_SECONDS = 10.0
_PLACEHOLDER = re.compile(r"@([a-z_]+)@")
#: A line as logrus writes it, and one that a program writes last: who, a colon, what.
_LOGGED = re.compile(
    r'time="[^"]*" level=(?P<level>\w+) msg=(?P<said>"(?:[^"\\]|\\.)*"|\S+)(?:.* error=(?P<why>"(?:[^"\\]|\\.)*"|\S+))?'
)
_COMPLAINT = re.compile(r"\S[^:]*: \S")


@dataclass(frozen=True)
class File:
    """A file of a daemon's directory; ``@name@`` stands for a value."""

    path: str
    text: str
    mode: str = "0644"


@dataclass(frozen=True)
class Description:
    """One file of ``vms/services``.

    Attributes:
        name: the file's own.
        command: what is started; ``@directory@`` is the daemon's own directory on the node.
        ready: a command that succeeds when the daemon answers.
        ready_seconds: how long that may take at the reference pace.
        files: written before the start, below the directory.
        values: further names that may stand between ``@``, given by who needs the daemon.
    """

    name: str
    command: tuple[str, ...]
    ready: tuple[str, ...]
    ready_seconds: int
    files: tuple[File, ...] = ()
    values: tuple[str, ...] = ()


def description(name: str, directory: Path = DESCRIPTIONS) -> Description:
    """Read ``<directory>/<name>.yaml``.

    Raises:
        UsageError: no such file, or a mistake in it (with file, line and key).
    """
    path = directory / f"{name}.yaml"
    if not path.is_file():
        raise UsageError(f"no service is called '{name}'; known: {', '.join(names(directory))}")
    rows = documents.load(path)
    if len(rows) != 1:
        raise UsageError(f"{path}:1: a service is one mapping, found {len(rows)}")
    found = documents.fill(Description, rows[0], path)
    if found.name != name:
        raise UsageError(f"{path}:{rows[0]['__lines__']['name']}: name '{found.name}' differs from the file's name")
    known = {"directory", "registry", *network_of(""), *found.values}
    texts = [*found.command, *found.ready, *(text for file in found.files for text in (file.path, file.text))]
    for wrong in sorted({name for text in texts for name in _PLACEHOLDER.findall(text)} - known):
        raise UsageError(f"{path}:1: nothing stands for '@{wrong}@'; known: {', '.join(sorted(known))}")
    return found


def names(directory: Path = DESCRIPTIONS) -> list[str]:
    """Every service there is."""
    return sorted(file.stem for file in directory.glob("*.yaml"))


def network_of(directory: str) -> dict[str, str]:
    """A bridge's name and the start of its /24 network, for a daemon that puts containers on one.

    They are its own, whatever else runs on the node: two daemons on one bridge would give the same addresses twice.
    """
    digest = hashlib.sha256(directory.encode()).digest()
    return {"bridge": f"cni{digest[:4].hex()}", "network": f"10.{64 + digest[4] % 64}.{digest[5]}"}


@dataclass
class Service:
    """A daemon on a node.

    Attributes:
        directory: its own, on the node.
        handle: of its process.
        starts: how often it has been started.
    """

    node: Node
    description: Description
    directory: str
    values: Mapping[str, str]
    handle: int = 0
    starts: int = 0

    @property
    def log_file(self) -> str:
        return f"{self.directory}/log"

    def has_ended(self) -> s.Wait:
        """The step that asks whether the daemon has ended; hand its answer to :meth:`check`."""
        return s.Wait(self.handle, timeout_seconds=0.0)

    def check(self, answer: s.Answer) -> None:
        """Go on if the daemon runs; otherwise start it once more and say so.

        Raises:
            InfrastructureError: it has ended; a check that met that says nothing about the runtime.
            NotRun: it has ended too often.
        """
        if answer.fields["timed_out"]:
            return
        how = f"{self.description.name} on {self.node.name} has ended ({_ending(answer)})"
        log = self.log()
        said = _said(log) if answer.fields.get("signal") is None else ""
        if self.starts >= STARTS:
            raise NotRun(f"{how}, {self.starts} times by now{said}")
        self.start()
        raise InfrastructureError(f"{how}; it was started again{said}\n{log}")

    def restart(self) -> None:
        """End it in order and start it again, as its administrator would.

        Raises:
            InfrastructureError: it did not end, or does not start again.
        """
        ended = self.node.batch([
            s.Run(["kill", str(self.node.do(self.has_ended()).fields["pid"])]),
            s.Wait(self.handle, timeout_seconds=READY_TIMEOUT_SECONDS),
        ])[1]  # fmt: skip
        if ended.fields["timed_out"]:
            raise InfrastructureError(f"{self.description.name} on {self.node.name} does not end\n{self.log()}")
        self.starts -= 1  # only starts after an unwanted end are counted
        self.start()

    def start(self) -> None:
        """Write its files, start it and wait until it answers.

        Raises:
            InfrastructureError: it ended, or did not answer in time; with the end of its log.
        """
        what, node = self.description, self.node
        self.starts += 1
        writes = [
            s.Write(f"{self.directory}/{self._filled(f.path)}", self._filled(f.text).encode(), int(f.mode, 8))
            for f in what.files
        ]
        command = ["sh", "-c", 'exec "$@" >>"$0" 2>&1', self.log_file, *map(self._filled, what.command)]
        *written, started = node.batch([
            s.Mkdir(self.directory), *writes,
            s.Run(command, keep=True, background=True, env=None, timeout_seconds=float(what.ready_seconds)),
        ])  # fmt: skip
        if unwritten := next((answer.error for answer in written if answer.error), ""):
            raise InfrastructureError(f"{node.name}: cannot write below {self.directory}: {unwritten}")
        if started.error:
            raise InfrastructureError(f"{node.name}: cannot start {what.name}: {started.error}")
        self.handle = started.fields["handle"]
        asked = s.Run([*map(self._filled, what.ready)], timeout_seconds=READY_TIMEOUT_SECONDS)
        waiting = Retrying(
            retry=retry_if_result(lambda state: state == "starting"),
            stop=stop_after_delay(what.ready_seconds * node.pace),
            wait=wait_fixed(0.05),
            retry_error_callback=lambda state: f"did not answer within {what.ready_seconds * node.pace:.0f} s",
        )
        if problem := waiting(self._state, asked):
            log = self.log()
            raise InfrastructureError(f"{what.name} on {node.name} {problem}{_said(log)}\n{log}")

    def _state(self, asked: s.Run) -> str:
        """Empty when it answers, ``starting``, or how it ended."""
        ended, answered = self.node.batch([self.has_ended(), asked])
        if not ended.fields["timed_out"]:
            return f"has ended ({_ending(ended)})"
        return "" if answered.fields.get("exit_code") == 0 else "starting"

    def log(self) -> str:
        """The end of its log; empty where there is none."""
        answer = self.node.batch([s.Run(["tail", "-n", str(LOG_LINES), self.log_file])])[0]
        return answer.blobs[0].decode("utf-8", "backslashreplace").strip()

    def lines_with(self, words: Collection[str]) -> str:
        """Lines of its log with any of these words in them; empty where there is none."""
        patterns = [f"--regexp={word}" for word in words]
        found = self.node.run(["grep", "--fixed-strings", *patterns, "--", self.log_file])
        return found.stdout.decode("utf-8", "backslashreplace")

    def _filled(self, text: str) -> str:
        registry = f"127.0.0.1:{registry_port(self.node.session)}"
        known = {"directory": self.directory, "registry": registry, **network_of(self.directory), **self.values}
        return _PLACEHOLDER.sub(lambda found: known[found[1]], text)


def need(node: Node, name: str, **values: str) -> Service:
    """The daemon of that name on a node, started at the first call with these values.

    Args:
        node: where it is needed.
        name: file in ``vms/services``.
        values: what stands for the names that its description lists.

    Raises:
        InfrastructureError: it does not start; with the end of its log.
        UsageError: a mistake in its description.
    """
    key = f"{name} {sorted(values.items())}"
    if key not in node.services:
        what = description(name)
        if set(values) != set(what.values):
            raise UsageError(f"service {name} needs {', '.join(what.values) or 'no values'}, given: {sorted(values)}")
        # a short name: the paths of sockets have a limit of 108 bytes
        place = f"{name}-{len(node.services)}" if node.services else name
        service = Service(node, what, f"{node.directory}/{place}", values)
        service.start()
        node.services[key] = service
    return node.services[key]


def logs(node: Node) -> dict[str, str]:
    """The end of every daemon's log on a node, by its directory, for a record; nothing where the node is dead."""
    alive = [] if node.dead else node.services.values()
    return {service.directory.rpartition("/")[2]: service.log() for service in alive}


def complaint(log: str) -> str:
    """What a daemon complains of last, in its own words; empty where it does not complain.

    Args:
        log: lines of logrus (https://github.com/sirupsen/logrus), and what a program prints before it ends.

    >>> complaint('time="now" level=fatal msg="cannot listen" error="address in use"')
    'cannot listen: address in use'
    """
    for line in reversed(log.splitlines()):
        logged = _LOGGED.match(line)
        if logged and logged["level"] in ("error", "fatal", "panic"):
            parts = (part for part in (logged["said"], logged["why"]) if part)
            return ": ".join(re.sub(r"\\(.)", r"\1", p[1:-1]) if p.startswith('"') else p for p in parts)
        if not logged and _COMPLAINT.match(line):
            return line
    return ""


def _said(log: str) -> str:
    said = complaint(log)
    return f": {said}" if said else ""


def _ending(answer: s.Answer) -> str:
    signal = answer.fields.get("signal")
    return f"signal {signal}" if signal is not None else f"exit {answer.fields.get('exit_code')}"


def registry_port(session: str) -> int:
    """A port for the registry of a session: workers may share a machine's network."""
    return 20000 + zlib.crc32(session.encode()) % 10000
