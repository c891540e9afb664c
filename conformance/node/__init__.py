"""A machine we can run commands on, whatever carries the bytes to it.

A testbed supplies a command line at whose other end the agent (``agent.py``) reads
standard input; everything above that is the same for the sandbox, ssh and this machine.
"""

from __future__ import annotations

import dataclasses
import json
import os
import select
import struct
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, BinaryIO

from conformance.errors import InfrastructureError
from conformance.model import Completed, ProcessSnapshot
from conformance.node import steps as s
from conformance.node.steps import Answer, Step

if TYPE_CHECKING:
    from conformance.services import Service

#: Grace for the way there and back, above what the steps themselves may take.
ROUND_TRIP_SECONDS = 15.0
#: What is sent is also unpacked: an emulated machine on a busy host takes its time.
SLOWEST_BYTES_PER_SECOND = 1 << 20
#: How long the agent may take to say hello.
START_TIMEOUT_SECONDS = 30.0
#: The spawn time of an unloaded machine of the kind the deadlines were chosen on.
REFERENCE_SPAWN_SECONDS = 0.002
#: From the order to restart until the agent answers again; an emulated machine takes half a minute.
REBOOT_SECONDS = 600.0
#: As a power failure: nothing is stopped in order. Writes the disk first; the answer to the order comes before.
REBOOT = "sync; (sleep 0.3; exec systemctl reboot --force --force) </dev/null >/dev/null 2>&1 &"
BOOT_ID = "/proc/sys/kernel/random/boot_id"
#: With a session's name, the name of the process that keeps its node when the harness has gone.
HOLDER = "conformance-keep-"
AGENT_BOOTSTRAP = (
    "import sys,os\n"
    "def exactly(n):\n"
    "    d=b''\n"
    "    while len(d)<n:\n"
    "        p=os.read(0,n-len(d))\n"
    "        if not p: sys.exit(1)\n"
    "        d+=p\n"
    "    return d\n"
    "n=int(exactly(8))\n"
    "g={'__name__':'agent'}\n"
    "exec(compile(exactly(n),'conformance-agent','exec'),g)\n"
    "g['main'](%r)\n"
)


class Node:
    """A node at the other end of a pipe.

    Args:
        name: for messages.
        argv: command whose standard input and output reach ``python3`` with the bootstrap.
        session: names this session's directory and cgroups on the node.
        start_timeout_seconds: how long the agent may take to say hello.

    Raises:
        InfrastructureError: the agent did not start; the transport's own words are in it.
    """

    def __init__(
        self, name: str, argv: Sequence[str], session: str, *, start_timeout_seconds: float = START_TIMEOUT_SECONDS
    ) -> None:
        self.name = name
        self.session = session
        self.directory = PurePosixPath("/var/lib/conformance") / session
        self.dead = ""
        #: Time spent in commands and waits on the node, as measured there; the rest of a check is ours.
        self.busy_seconds = 0.0
        #: Steps in order, kept while a reproduction is being written.
        self.transcript: list[Step] | None = None
        #: Daemons that run there for us, by key; see :mod:`conformance.services`.
        self.services: dict[str, Service] = {}
        self._argv = list(argv)
        self._stderr = bytearray()
        self._roots: dict[str, PurePosixPath] = {}
        self._start(start_timeout_seconds)

    def _start(self, timeout_seconds: float) -> None:
        name = self.name
        try:
            self._process = subprocess.Popen(
                self._argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0,
                start_new_session=True,  # a Ctrl-C at the terminal is pytest's to handle, then ours
            )  # fmt: skip
        except OSError as error:
            raise InfrastructureError(f"{name}: cannot start {self._argv[0]}: {error.strerror}") from error
        assert self._process.stdout
        assert self._process.stderr
        assert self._process.stdin
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            os.set_blocking(pipe.fileno(), False)
        source = (Path(__file__).parent / "agent.py").read_bytes()
        self._send(b"%08d" % len(source) + source)
        hello, _ = self._receive(timeout_seconds)
        self.facts: dict[str, Any] = hello["hello"]
        self.agent_pid: int = hello["pid"]
        #: Deadlines are multiplied by this: a slow or busy node is not a hung guest.
        self.pace = max(1.0, min(20.0, self.facts["spawn_seconds"] / REFERENCE_SPAWN_SECONDS))

    @staticmethod
    def bootstrap(session: str) -> str:
        """The program to give to ``python3 -c`` on the node."""
        return AGENT_BOOTSTRAP % session

    # ---- what callers use

    def run(
        self, argv: Sequence[str], *, stdin: bytes = b"", timeout_seconds: float = 20.0,
        max_output_bytes: int = s.DEFAULT_MAX_OUTPUT_BYTES,
    ) -> Completed:  # fmt: skip
        """Run one command to its end. A timeout is a value in the result.

        Raises:
            InfrastructureError: the node is gone.
        """
        step = s.Run(argv, stdin=stdin, timeout_seconds=timeout_seconds, max_output_bytes=max_output_bytes)
        return completed(step, self.batch([step])[0])

    def free_bytes(self, directory: str) -> int:
        """Room for root in the file system of a directory.

        Raises:
            InfrastructureError: the node is gone, or the directory is.
        """
        done = self.run(["stat", "--file-system", "--format=%f %S", directory])
        if not done.ok:
            raise InfrastructureError(f"{self.name}: {directory} has gone: {done.how_it_ended()}")
        blocks, size = done.stdout.split()
        return int(blocks) * int(size)

    def batch(self, steps: Sequence[Step]) -> list[Answer]:
        """Do the steps in order, in one round trip.

        Raises:
            InfrastructureError: the node is gone, or did not answer within the steps' own deadlines.
        """
        if self.dead:
            raise InfrastructureError(self.dead)
        if self.transcript is not None:
            self.transcript.extend(steps)
        header: dict[str, Any] = {"steps": [], "blobs": []}
        blobs: list[bytes] = []
        allowed = ROUND_TRIP_SECONDS
        for step in steps:
            # not dataclasses.asdict: it copies every blob
            row = {f.name: getattr(step, f.name) for f in dataclasses.fields(step)}
            blob_field = getattr(step, "blob_field", None)
            if blob_field:
                row["blob"] = len(blobs)
                blobs.append(row.pop(blob_field))
            if "timeout_seconds" in row:
                row["timeout_seconds"] *= self.pace
                allowed += row["timeout_seconds"] + 5
            row["do"] = s.VERBS[type(step)]
            header["steps"].append(row)
        header["blobs"] = [len(b) for b in blobs]
        allowed += sum(header["blobs"]) / SLOWEST_BYTES_PER_SECOND
        text = json.dumps(header, default=_plain).encode()
        self._send(b"".join([struct.pack(">I", len(text)), text, *blobs]))
        answer, produced = self._receive(allowed)
        results = []
        for row in answer["answers"]:
            count = row.pop("blob_count")
            self.busy_seconds += row.get("seconds", 0.0)
            results.append(Answer(row, tuple(produced[:count])))
            del produced[:count]
        return results

    def do(self, step: Step) -> Answer:
        """One step; an operating-system error on the node is ours to raise.

        Raises:
            InfrastructureError: the node is gone or the step failed there.
        """
        answer = self.batch([step])[0]
        if answer.error:
            raise InfrastructureError(f"{self.name}: {s.VERBS[type(step)]} {answer.fields['where']}: {answer.error}")
        return answer

    def put(self, digest: str, tar: BinaryIO) -> PurePosixPath:
        """Unpack a tar on the node, once a session.

        Args:
            digest: names the directory, so the same content is sent once.
            tar: an uncompressed tar.

        Raises:
            InfrastructureError: no space, or the node is gone.
        """
        if digest not in self._roots:
            path = self.directory / "content" / digest
            self.do(s.Put(str(path), tar.read()))
            self._roots[digest] = path
        return self._roots[digest]

    def read_text(self, path: str, max_bytes: int = 1 << 16) -> str:
        """A small text file of the node.

        Raises:
            InfrastructureError: it cannot be read.
        """
        return self.do(s.Read(path, max_bytes)).blobs[0].decode("utf-8", "backslashreplace")

    def snapshot(self, pid: int) -> ProcessSnapshot | None:
        """``/proc/PID`` as it is now; ``None`` when the process has gone."""
        found = self.do(s.Snapshot(pid)).fields["snapshot"]
        return ProcessSnapshot(**{**found, "mapped": tuple(found["mapped"])}) if found else None

    def reboot(self, timeout_seconds: float = REBOOT_SECONDS) -> None:
        """Restart the machine with whatever runs on it, and come back with the same session and its files.

        Args:
            timeout_seconds: until the agent must answer again.

        Raises:
            InfrastructureError: it did not restart, or did not come back.
        """
        started = time.monotonic()
        deadline = started + timeout_seconds
        before = self.read_text(BOOT_ID)
        self.run(["sh", "-c", REBOOT])
        try:
            # not closed by us: an agent whose standard input ends removes the session's files
            self._process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            self._die(f"has not gone down within {timeout_seconds:.0f} s of being told to restart")
        while True:
            self.dead = ""
            self._stderr.clear()
            self._close_streams()
            try:
                self._start(START_TIMEOUT_SECONDS)
                break
            except InfrastructureError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.5)
        self._roots.clear()
        if self.read_text(BOOT_ID) == before:
            self._die("did not restart, although told to")
        self.busy_seconds += time.monotonic() - started

    def close(self, timeout_seconds: float = 20.0) -> None:
        """Let the agent end, which takes everything it started with it; bounded."""
        if self._process.stdin and not self._process.stdin.closed:
            self._process.stdin.close()
        try:
            self._process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(timeout_seconds)
        self._close_streams()
        self.dead = self.dead or f"{self.name}: closed"

    def _close_streams(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe:
                pipe.close()

    def leave_running(self) -> str:
        """Leave the node running after we have gone; returns how to reach and how to end it."""
        assert self._process.stdin is not None
        # Holds the agent's standard input open; found by its last word, gone when the node is.
        subprocess.Popen(
            ["sh", "-c", f"while [ -d /proc/{self._process.pid} ]; do sleep 1 >/dev/null; done", HOLDER + self.session],
            stdin=subprocess.DEVNULL, stdout=self._process.stdin, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        return (
            f"kept {self.name}: enter it with 'conformance shell --node {self.session}',"
            f" end it with 'conformance stop {self.session}'"
        )

    # ---- frames

    def _send(self, data: bytes) -> None:
        stdin = self._process.stdin
        assert stdin is not None
        view = memoryview(data)
        try:
            while view:
                # bounded by its progress: a network or an agent that stands still takes nothing
                if not select.select([], [stdin], [], ROUND_TRIP_SECONDS)[1]:
                    self._die("did not take what was sent in time")
                view = view[stdin.write(view) or 0 :]
        except (BrokenPipeError, ValueError):
            self._die("went away")

    def _receive(self, timeout_seconds: float) -> tuple[dict[str, Any], list[bytes]]:
        deadline = time.monotonic() + timeout_seconds
        (size,) = struct.unpack(">I", self._exactly(4, deadline))
        header = json.loads(self._exactly(size, deadline))
        return header, [self._exactly(n, deadline) for n in header.get("blobs", [])]

    def _exactly(self, size: int, deadline: float) -> bytes:
        stdout, stderr = self._process.stdout, self._process.stderr
        assert stdout
        assert stderr
        data = bytearray()
        watched = [stdout, stderr]
        while len(data) < size:
            left = deadline - time.monotonic()
            if left <= 0:
                self._die("did not answer in time")
            ready, _, _ = select.select(watched, [], [], left)
            if stderr in ready:
                piece = stderr.read(1 << 16)
                if not piece:
                    watched = [stdout]
                else:
                    self._stderr = (self._stderr + piece)[-8192:]
            if stdout in ready:
                piece = stdout.read(size - len(data))
                if not piece:
                    self._die("went away")
                data += piece or b""
        return bytes(data)

    def _die(self, how: str) -> None:
        process = self._process
        try:
            process.wait(2 if how == "went away" else 0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)
        if process.stderr and not process.stderr.closed:
            self._stderr += process.stderr.read() or b""
        said = self._stderr.decode("utf-8", "backslashreplace").strip().splitlines()
        self.dead = f"node {self.name} {how}" + (f": {said[-1]}" if said else f" (exit status {process.returncode})")
        raise InfrastructureError(self.dead)


def completed(step: s.Run, answer: Answer) -> Completed:
    """The result of a :class:`~conformance.node.steps.Run` step.

    Raises:
        InfrastructureError: the step itself failed on the node (not the command).
    """
    if answer.error:
        raise InfrastructureError(f"run {step.argv[0]}: {answer.error}")
    f = answer.fields
    return Completed(
        argv=tuple(f.get("argv", step.argv)),
        exit_code=f.get("exit_code"),
        signal=f.get("signal"),
        timed_out=bool(f.get("timed_out")),
        stdout=answer.blobs[0],
        stderr=answer.blobs[1],
        truncated=bool(f.get("truncated")),
        seconds=f["seconds"],
        first_output_seconds=f.get("first_output_seconds"),
        start_error=f.get("start_error", ""),
        max_rss_kib=f.get("max_rss_kib", 0),
        pid=f.get("pid", 0),
        handle=f.get("handle", 0),
    )


def _plain(value: object) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, (tuple, PurePosixPath)):
        return list(value) if isinstance(value, tuple) else str(value)
    raise TypeError(f"cannot send {type(value).__name__}")
