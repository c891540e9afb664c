"""The nouns of the harness: frozen values, no input or output.

Data flows one way: a :class:`RuntimePath` and a workload make a
:class:`ContainerSpec`; a launcher turns it into a :class:`RunResult`; a check
asserts on that; the verdict becomes a record (see ``conformance.report``).
"""

from __future__ import annotations

import enum
import json
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

NANOSECONDS = 1_000_000_000


class Feature(enum.StrEnum):
    """What a launcher or a path can do; a check that needs more is skipped with ``unsupported``."""

    RUN = "run"
    LIFECYCLE = "lifecycle"
    HOOKS = "hooks"
    OCI_CONFIG = "oci-config"
    EXEC = "exec"
    TTY = "tty"
    STDIN = "stdin"
    PAUSE = "pause"
    CHECKPOINT = "checkpoint"
    #: the path hands modules to a WebAssembly engine (a native control does not)
    WASM = "wasm"
    #: the host's runtime hands modules to an engine when asked to; where the engine is in the image it knows of none
    HANDLER = "handler"
    #: the guest is an ordinary process
    NATIVE = "native"
    #: the launcher's command line is that of a container engine: run, kill and exec by name
    ENGINE_COMMAND = "engine-command"
    #: a command that ends a container with its stop signal and, after a grace period, by force
    STOP = "stop"
    #: takes images, from an archive and from a registry
    IMAGES = "images"
    #: its documentation promises to run images of the platform wasi/wasm without further words
    WASM_PLATFORM = "wasm-platform"
    #: crun is the low-level runtime, whatever stands above it
    CRUN = "crun"
    #: the launcher's command line is the low-level runtime's own
    RUNTIME_COMMAND = "runtime-command"
    #: an ordinary user of the node has images and containers of their own
    USER_STORE = "user-store"
    #: annotations of any name reach the low-level runtime
    ANNOTATIONS = "annotations"
    #: the guest can listen on a socket: an ordinary process, or a module in an engine that has sockets
    LISTENER = "listener"
    #: containers live in pods, asked for through the CRI API
    PODS = "pods"
    #: the CRI runtime knows the stop signal of a container's configuration, which came to the API with version 1.33
    STOP_SIGNAL = "stop-signal"
    #: takes modules that are layers of an image by themselves
    MODULE_LAYERS = "module-layers"
    #: compiles such a module once and keeps the result in containerd's content store
    PRECOMPILES = "precompiles"


class SkipReason(enum.StrEnum):
    """Why a check was not tried. Each is decided in one place, never in a suite."""

    #: this launcher or path does not offer the feature
    UNSUPPORTED = "unsupported"
    #: this node lacks what the check needs (a cgroup controller, an LSM)
    UNAVAILABLE = "unavailable"
    #: switched off by the person who started the run
    DISABLED = "disabled"


class Raw(enum.StrEnum):
    """What happened, before anybody's expectations."""

    PASSED = "passed"
    FAILED = "failed"
    ERROR = "error"
    SKIPPED = "skipped"
    NOT_RUN = "not-run"


class Judged(enum.StrEnum):
    """What it means."""

    PASSED = "passed"
    FAILED = "failed"
    #: failed exactly as an expectation says
    EXPECTED_FAILURE = "expected-failure"
    #: an expectation says that it fails; it passed on the node's own binary
    UNEXPECTED_PASS = "unexpected-pass"
    #: an expectation says that it fails; it passed on a binary the user brought
    FIXED = "fixed"
    #: a project observation that did not hold; recorded, never red
    NOTED = "noted"
    #: the verdict would rest on an exit code that this path does not deliver
    INCONCLUSIVE = "inconclusive"
    ERROR = "error"
    NOT_RUN = "not-run"
    SKIPPED = "skipped"


#: Outcomes that make the run non-conformant (exit code 1).
RED = frozenset({Judged.FAILED, Judged.UNEXPECTED_PASS})
#: Outcomes that say nothing about the runtime (exit code 3).
INFRASTRUCTURE = frozenset({Judged.ERROR, Judged.NOT_RUN})


@dataclass(frozen=True)
class Engine:
    """The WebAssembly engine of a path.

    Attributes:
        name: as the runtime spells it (``wasmedge``).
        library: start of the file name that must be mapped in the container's process. Empty
            where the engine is part of the runtime's program; ``version_pattern`` must then be in it.
        built_with: text that the runtime's version output must contain.
        version_pattern: regular expression that finds the engine's version in its file.
        version_function: C function of the library that returns it.
        abi: versions that the runtime was written for (``<27``).
        abi_reason: what goes wrong with others.
    """

    name: str
    library: str = ""
    built_with: str = ""
    version_pattern: str = ""
    version_function: str = ""
    abi: str = ""
    abi_reason: str = ""


@dataclass(frozen=True)
class Embedded:
    """An engine that is a program in the image: the host knows nothing of Wasm.

    Attributes:
        command: put before the module and its arguments; the program's file in the image first.
        component: what the program comes from; the node image's package where empty.
    """

    command: tuple[str, ...]
    component: str = ""

    @property
    def program(self) -> str:
        """The engine's file in the image."""
        return self.command[0]


@dataclass(frozen=True)
class RuntimePath:
    """One door: how a workload reaches an engine. One YAML file in ``suites/paths``.

    Attributes:
        name: kebab-case, outermost layer first.
        summary: one line for people.
        layers: outermost first.
        launcher: module name in ``conformance.launchers``.
        binary: what the launcher starts.
        guest: the twin that runs here.
        node: kind of node it needs.
        engine: for a Wasm path.
        request: OCI annotations that ask for Wasm.
        below: the path one layer down, if any.
        control: the same launcher with the native twin.
        features: what the path offers beyond its launcher.
        lacks: launcher features that this path does not offer.
        rootless_options: of the runtime, where an ordinary user starts it.
        environment: variables that every container gets, where the runtime starts nothing without them.
        service: in ``vms/services``, the daemon that is started; the one called as ``binary`` where empty.
        runtime: low-level runtime that the launcher hands containers to, where it is not the launcher's own.
        embedded: the engine is a program in the image.
        glue: globs of requirements whose verdict here also rests on this project's own code between a library
            and the engine; records and reports say so.
        brought: no package and no component of ours has its runtime: the user brings it.
        components: Debian packages (or components) whose versions belong in a record.
    """

    name: str
    summary: str
    layers: tuple[str, ...]
    launcher: str
    binary: str
    guest: Literal["wasm", "native"]
    components: tuple[str, ...] = ()
    node: str = "low-level"
    engine: Engine | None = None
    request: dict[str, str] = field(default_factory=dict)
    below: str | None = None
    control: str | None = None
    features: tuple[str, ...] = ()
    lacks: tuple[str, ...] = ()
    rootless_options: tuple[str, ...] = ()
    environment: tuple[str, ...] = ()
    runtime: str = ""
    service: str = ""
    embedded: Embedded | None = None
    glue: tuple[str, ...] = ()
    brought: bool = False
    file: Path = Path()
    line: int = 0

    @property
    def shim(self) -> bool:
        """What runs containers here is a containerd shim, not a low-level runtime behind containerd's own.

        Their names are a rule of containerd's:
        https://github.com/containerd/containerd/blob/v1.7.24/runtime/v2/README.md#binary-naming
        """
        return self.runtime.startswith("containerd-shim-")


@dataclass(frozen=True)
class Mount:
    """A bind mount from the node into the container."""

    source: str
    destination: str
    read_only: bool = False


@dataclass(frozen=True)
class Limits:
    """Resource limits of the container's cgroup; ``None`` means unlimited."""

    memory_bytes: int | None = None
    pids: int | None = None
    cpu_quota_us: int | None = None
    cpu_period_us: int = 100_000


@dataclass(frozen=True)
class ContainerSpec:
    """Everything a check may ask for, in no runtime's own words.

    Attributes:
        id: unique in the node; also names the cgroup.
        module: the workload's name in the corpus.
        rootfs: directory on the node that becomes the container's root, or an image's one layer.
        image: name of an image that the engine has, used instead of one made of ``rootfs``.
        platform: of that image, where it is not the node's own.
        args: the whole argument vector as the guest should see it, the module's path first.
        program: put before them: the engine's own command, where that is a program in the image.
        env: ``KEY=value`` strings, in order; nothing is added to them.
        stdin: bytes for the guest, then end of file.
        systemd_cgroup: let systemd make the cgroup, as a scope named ``conformance-ID``.
        rootless: start the runtime as an ordinary user, in a user namespace and without cgroup.
        annotations: those that ask for Wasm, unless a check sets its own.
        oci: changes merged into ``config.json`` (needs ``Feature.OCI_CONFIG``).
        extra_mounts: entries of ``mounts`` in the words of config.md, after ``mounts``.
        hooks: hooks in the words of config.md, after the one that takes the snapshot.
        announces: name that the guest will print, where it is not the module's.
        guest: the twin that is asked for, where it is not the path's own (a native side-car).
        wrapped_in: command put before the runtime's own, to change what surrounds the runtime.
        binary: another name for the runtime; some choose their handler by it.
    """

    id: str
    module: str
    rootfs: str
    args: tuple[str, ...]
    program: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    cwd: str = "/"
    uid: int = 0
    gid: int = 0
    additional_gids: tuple[int, ...] = ()
    mounts: tuple[Mount, ...] = ()
    limits: Limits = Limits()
    read_only_root: bool = True
    stdin: bytes = b""
    hold_stdin: bool = False
    tty: bool = False
    systemd_cgroup: bool = False
    rootless: bool = False
    annotations: Mapping[str, str] = field(default_factory=dict)
    oci: Mapping[str, Any] = field(default_factory=dict)
    extra_mounts: tuple[Mapping[str, Any], ...] = ()
    hooks: Mapping[str, Any] = field(default_factory=dict)
    announces: str = ""
    guest: Literal["wasm", "native"] | None = None
    wrapped_in: tuple[str, ...] = ()
    binary: str | None = None
    image: str = ""
    platform: str = ""
    nonce: str = ""
    timeout_seconds: float = 20.0
    max_output_bytes: int = 4 * 1024 * 1024


@dataclass(frozen=True)
class Completed:
    """A command that was run on a node. A timeout is a value here, not an exception.

    Attributes:
        exit_code: as the shell reports it for an exit; ``None`` when a signal ended it or it never started.
        signal: the number of the signal that ended it.
        start_error: why it could not be started (``ENOENT``...).
        truncated: the output went past ``max_output_bytes``; the rest was read and dropped.
        first_output_seconds: from start to the first byte on either stream.
        pid: of the process, in the node's PID namespace.
    """

    argv: tuple[str, ...]
    exit_code: int | None
    signal: int | None
    timed_out: bool
    stdout: bytes
    stderr: bytes
    truncated: bool
    seconds: float
    first_output_seconds: float | None = None
    start_error: str = ""
    max_rss_kib: int = 0
    pid: int = 0
    handle: int = 0

    @property
    def ok(self) -> bool:
        """Exit code 0 within the deadline."""
        return self.exit_code == 0 and not self.timed_out

    @property
    def command(self) -> str:
        """The command as it can be typed into a shell."""
        return shlex.join(self.argv)

    def how_it_ended(self) -> str:
        """``exit 42``, ``signal 9``, ``timeout after 20.0 s`` or ``could not start: ENOENT``."""
        if self.start_error:
            return f"could not start: {self.start_error}"
        if self.timed_out:
            return f"timeout after {self.seconds:.1f} s"
        if self.signal is not None:
            return f"signal {self.signal}"
        return f"exit {self.exit_code}"

    def __repr__(self) -> str:
        return (
            f"\n  $ {self.command}\n  {self.how_it_ended()} after {self.seconds * 1000:.0f} ms"
            f"{_shown('stdout', self.stdout)}{_shown('stderr', self.stderr)}\n"
        )


@dataclass(frozen=True)
class ProcessSnapshot:
    """``/proc/PID`` of a container's process, read from outside the container."""

    pid: int
    container_id: str = ""
    comm: str = ""
    exe: str = ""
    mapped: tuple[str, ...] = ()
    status: Mapping[str, str] = field(default_factory=dict)
    namespaces: Mapping[str, str] = field(default_factory=dict)
    descriptors: Mapping[str, str] = field(default_factory=dict)
    limits: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    cgroups: tuple[str, ...] = ()
    oom_score_adj: str = ""
    apparmor: str = ""


class Missing:
    """Stands for what a guest or runtime did not say: equal to nothing, false, empty.

    A check that looks for it fails by its ``assert``; an exception would be an error of ours.
    """

    def __getitem__(self, _: object) -> Missing:
        return self

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *_: self

    def __iter__(self) -> Iterator[Any]:
        return iter(())

    def __bool__(self) -> bool:
        return False

    def __len__(self) -> int:
        return 0

    def __int__(self) -> int:
        return -1

    def __contains__(self, _: object) -> bool:
        return False

    def __eq__(self, _: object) -> bool:
        return False

    def __lt__(self, _: object) -> bool:
        return False

    __le__ = __gt__ = __ge__ = __lt__

    def __sub__(self, _: object) -> Missing:
        return self

    __rsub__ = __sub__

    def __hash__(self) -> int:
        return 0

    def __repr__(self) -> str:
        return "<nothing was said>"


class Said(dict[str, Any]):
    """What a guest or runtime said; a key it did not say gives :class:`Missing`."""

    def __missing__(self, _: str) -> Missing:
        return Missing()


class Reports(tuple[Mapping[str, Any], ...]):
    """A guest's reports in order; one it did not make gives :class:`Missing`."""

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, int) and not -len(self) <= index < len(self):
            return Missing()
        return super().__getitem__(index)


@dataclass(frozen=True)
class Proof:
    """Whether the guest ran, this time, in the engine the path claims. Truthy when it did.

    Attributes:
        missing: what is not proven, each in a few words; empty when everything is.
        marker: target and nonce as the guest printed them.
        engine: the file that was mapped in the container's process; empty where no guest of the path's kind spoke.
    """

    missing: tuple[str, ...]
    marker: Mapping[str, str] = field(default_factory=dict)
    engine: str = ""
    comm: str = ""

    def __bool__(self) -> bool:
        return not self.missing

    def __repr__(self) -> str:
        if self.missing:
            return "not proven: " + "; ".join(self.missing)
        where = f" in {self.engine}" if self.engine else ""
        return f"proven: {self.marker.get('target', 'engine')}{where}"


@dataclass(frozen=True)
class RunResult:
    """What one container did, as seen by whoever started it.

    Attributes:
        completed: the runtime's own process.
        commands: every command of ours that led here, replayable in this order.
        snapshot: of the container's process, taken by a hook or while the guest waits.
        proof: see :class:`Proof`.
        guest_started: the guest's announcement is on one of the streams.
        report: all ``@report`` objects of the guest, merged in order.
        reports: the same, one by one.
        memory_peak_bytes: of the container's cgroup, the runtime included.
        asked: what the check asked for.
        leftovers: cgroups and state that the runtime did not remove.
        container_id: as the low-level runtime knows it: an engine above gives names of its own.
        status: of the container as the CRI API tells it (reason, message, timestamps), where there is one.
    """

    asked: ContainerSpec
    completed: Completed
    commands: tuple[str, ...]
    proof: Proof
    snapshot: ProcessSnapshot | None
    announcement: Mapping[str, str]
    reports: Reports
    stdout: bytes
    stderr: bytes
    memory_peak_bytes: int | None = None
    leftovers: tuple[str, ...] = ()
    container_id: str = ""
    status: Mapping[str, Any] = field(default_factory=dict)

    @property
    def proven(self) -> Proof:
        """Assert on this first: without it an exit code says nothing."""
        return self.proof

    @property
    def guest_started(self) -> bool:
        """The guest printed its announcement."""
        return bool(self.announcement)

    @property
    def exit_code(self) -> int | None:
        """What the runtime's caller sees; ``None`` after a signal or a timeout."""
        return None if self.completed.timed_out else self.completed.exit_code

    @property
    def signal(self) -> int | None:
        """The signal that ended the runtime's own process."""
        return self.completed.signal

    @property
    def timed_out(self) -> bool:
        """The deadline passed; the container was then killed by us."""
        return self.completed.timed_out

    @property
    def report(self) -> Said:
        """All reports of the guest merged, later keys win."""
        merged = Said()
        for one in self.reports:
            merged.update(one)
        return merged

    def __repr__(self) -> str:
        said = f"\n  guest said: {json.dumps(self.report)[:600]}" if self.reports else ""
        commands = "".join(f"\n  $ {c}" for c in self.commands)
        return (
            f"\n  container {self.asked.id}: {self.completed.how_it_ended()} after"
            f" {self.completed.seconds * 1000:.0f} ms; {self.proof!r}{commands}{said}"
            f"{_shown('stdout', self.stdout)}{_shown('stderr', self.stderr)}\n"
        )


@dataclass(frozen=True)
class Requirement:
    """One rule that a check is bound to. From ``suites/requirements/*.yaml``.

    Attributes:
        id: never reused.
        title: the rule in a few words.
        level: RFC 2119 keyword as the source uses it.
        basis: what gives the rule its force, see ``docs/architecture.md``.
        text: the source's own words.
        url: the source, at a tag.
        area: the group it is shown in.
    """

    id: str
    title: str
    level: Literal["MUST", "SHOULD", "MAY"]
    basis: Literal["spec", "upstream-doc", "parity", "project"]
    text: str
    url: str
    area: str
    profiles: tuple[str, ...] = ()
    file: Path = Path()
    line: int = 0


#: Instead of a check's id: no guest of the path starts, so every check that needs one fails for one reason.
WHOLE_PATH = "*"


@dataclass(frozen=True)
class Expectation:
    """A known failure, pinned to what is observed. From ``suites/expectations/*.yaml``.

    Attributes:
        check: id in the catalogue, or ``*`` where no guest of the path ever starts.
        paths: names or globs.
        observed: observations that must all be equal for the failure to be this one; with ``*`` those of the
            path's canary, ``starts: false`` among them.
        affects: component name to a version specifier (``==1.21``, ``<1.30``); all must match.
        when: node facts that must be equal (``cgroup_mode: v1``).
        reason: one line for people.
        issue: URL of the upstream issue, or empty when only a reproduction exists.
        reproduction: one command, needed where there is no issue.
        shows: text that run.sh of the reproduction prints when the failure is there.
        reviewed: when a person last looked.
    """

    check: str
    paths: tuple[str, ...]
    observed: dict[str, Any]
    reason: str
    reviewed: str
    affects: dict[str, str] = field(default_factory=dict)
    when: dict[str, Any] = field(default_factory=dict)
    issue: str = ""
    reproduction: str = ""
    shows: str = ""
    file: Path = Path()
    line: int = 0

    @property
    def id(self) -> str:
        """File name and line: enough to find it."""
        return f"{self.file.name}:{self.line}"


@dataclass(frozen=True)
class Race:
    """A race of a runtime's own, which strikes now and then. From ``suites/races/*.yaml``.

    The check that it strikes is tried again and says so in its record; one that it strikes each time fails.

    Attributes:
        said: what the runtime tells then, on its standard error or in the log of the CRI runtime.
        paths: names or globs.
        affects, when, reason, issue, reviewed: as of an :class:`Expectation`.
    """

    said: str
    paths: tuple[str, ...]
    reason: str
    issue: str
    reviewed: str
    affects: dict[str, str] = field(default_factory=dict)
    when: dict[str, Any] = field(default_factory=dict)
    file: Path = Path()
    line: int = 0


@dataclass(frozen=True)
class Check:
    """One test function of a suite, found without importing it.

    Attributes:
        id: ``process/test_exit_codes.py::test_exit_code_42_reaches_the_caller``.
        requirement: id of the rule it is bound to.
        needs: features without which it is skipped.
    """

    id: str
    requirement: str
    needs: frozenset[Feature]
    needs_node: tuple[str, ...]
    sentence: str
    file: Path
    line: int


def _shown(name: str, data: bytes, limit: int = 1200) -> str:
    """A stream for people: escapes visible, long ones cut in the middle."""
    if not data:
        return ""
    text = data[: limit // 2] + (b" [...] " + data[-limit // 2 :] if len(data) > limit else data[limit // 2 :])
    lines = text.decode("utf-8", "backslashreplace").splitlines()
    body = "".join(f"\n    {printable(line)}" for line in lines)
    return f"\n  {name} ({len(data)} bytes):{body}"


def printable(text: str) -> str:
    """``text`` with everything that a terminal or an XML parser would act on made visible."""
    return "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text)
