"""What a node can be asked to do in one round trip; each step is a value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

DEFAULT_MAX_OUTPUT_BYTES = 4 * 1024 * 1024


#: Starts a word that stands for what an earlier step of the batch printed: no real argument can hold it.
PRINTED = "\0printed:"


def printed(by_step: int, pattern: str = r"^(\S+)") -> str:
    """A word of a step for what an earlier step of the same batch printed, or the file it read, holds.

    Args:
        by_step: its index in the batch.
        pattern: regular expression; its first group is taken. Where it does not match, the step
            that has the word is not done, and its answer's ``error`` says so.
    """
    return f"{PRINTED}{by_step}:{pattern}"


@dataclass(frozen=True)
class Run:
    """Run a command to its end.

    Attributes:
        stdin: given to the command, then end of file (unless ``hold_stdin``).
        keep: return a handle that keeps gathering the streams after the command has ended
            or, with ``until_output``, once that text was printed; with ``background`` at once.
        console_socket: listen there for the terminal that an OCI runtime hands over.
        repeat_until: run it again, within the deadline, until its standard output holds this text.
    """

    argv: Sequence[str]
    stdin: bytes = b""
    timeout_seconds: float = 20.0
    max_output_bytes: int = DEFAULT_MAX_OUTPUT_BYTES
    env: Mapping[str, str] | None = None
    cwd: str = "/"
    hold_stdin: bool = False
    keep: bool = False
    background: bool = False
    until_output: str | None = None
    console_socket: str | None = None
    repeat_until: str | None = None
    blob_field = "stdin"


@dataclass(frozen=True)
class Wait:
    """Wait for the end of a kept command (``handle``) or of an adopted process (``pid``)."""

    handle: int | None = None
    pid: int | None = None
    timeout_seconds: float = 20.0


@dataclass(frozen=True)
class WaitGone:
    """Wait until a process has gone that is not ours to reap."""

    pid: int | str
    timeout_seconds: float = 20.0


@dataclass(frozen=True)
class Output:
    """Wait until a kept command has printed ``text``."""

    handle: int
    text: str
    timeout_seconds: float = 20.0


@dataclass(frozen=True)
class Feed:
    """Write to a held standard input."""

    handle: int
    data: bytes = b""
    close: bool = False
    blob_field = "data"


@dataclass(frozen=True)
class Release:
    """Forget a kept command; it is killed if it still runs."""

    handle: int


@dataclass(frozen=True)
class Write:
    """Write a file; it appears complete or not at all."""

    path: str
    data: bytes
    mode: int = 0o644
    blob_field = "data"


@dataclass(frozen=True)
class Read:
    """Read a file's first ``max_bytes``."""

    path: str
    max_bytes: int = DEFAULT_MAX_OUTPUT_BYTES


@dataclass(frozen=True)
class Remove:
    """Remove a file or a tree, if it is there."""

    path: str


@dataclass(frozen=True)
class Mkdir:
    """Make a directory and its parents."""

    path: str
    mode: int = 0o755


@dataclass(frozen=True)
class List:
    """Names that match a shell pattern."""

    pattern: str


@dataclass(frozen=True)
class Has:
    """Whether a path is there."""

    path: str


@dataclass(frozen=True)
class Kill:
    """Send a signal to a process of the node."""

    pid: int
    signal: int


@dataclass(frozen=True)
class Snapshot:
    """Read ``/proc/PID``."""

    pid: int


@dataclass(frozen=True)
class Put:
    """Unpack a tar into a directory, unless it is there already."""

    path: str
    data: bytes
    blob_field = "data"


@dataclass(frozen=True)
class CgroupMake:
    """Make a cgroup in every hierarchy and write these of its files, each where it is."""

    path: str
    values: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class CgroupRead:
    """Read files of a cgroup, each from the first hierarchy that has it."""

    path: str
    names: Sequence[str]


@dataclass(frozen=True)
class CgroupRemove:
    """Remove a cgroup and everything below it, in every hierarchy."""

    path: str
    kill: bool = False


@dataclass(frozen=True)
class CgroupList:
    """Cgroups below ``path``."""

    path: str


@dataclass(frozen=True)
class Facts:
    """What the node is."""


Step = (
    Run | Wait | WaitGone | Output | Feed | Release | Write | Read | Remove | Mkdir | List | Has | Kill | Snapshot | Put
    | CgroupMake | CgroupRead | CgroupRemove | CgroupList | Facts
)  # fmt: skip

#: The agent's name of each step.
VERBS: Mapping[type, str] = {
    Run: "run", Wait: "wait", WaitGone: "wait_gone", Output: "output", Feed: "feed", Release: "release", Write: "write",
    Read: "read", Remove: "remove", Mkdir: "mkdir", List: "list", Has: "has", Kill: "kill",
    Snapshot: "snapshot", Put: "put", CgroupMake: "cgroup_make", CgroupRead: "cgroup_read",
    CgroupRemove: "cgroup_remove", CgroupList: "cgroup_list", Facts: "facts",
}  # fmt: skip


@dataclass(frozen=True)
class Answer:
    """What a step produced: plain fields and, for some, bytes."""

    fields: Mapping[str, Any]
    blobs: tuple[bytes, ...] = ()

    @property
    def error(self) -> str:
        """Name of the errno with which the step failed (``ENOSPC``), or an empty string."""
        return str(self.fields.get("os_error", ""))
