"""What the command lines of podman and docker have in common, which is nearly everything; ctr differs in its words.

Options: https://docs.podman.io/en/v5.4.2/markdown/podman-run.1.html and
https://docs.docker.com/reference/cli/docker/container/run/.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from conformance import cgroups, proof
from conformance.errors import InfrastructureError
from conformance.model import Completed, ContainerSpec, ProcessSnapshot, RunResult, RuntimePath, Said
from conformance.node import Node, completed
from conformance.node import steps as s

#: An engine's own bookkeeping command that takes longer than this hangs.
COMMAND_TIMEOUT_SECONDS = 20.0
#: Making an image of a root file system: the largest holds an engine's program of 180 MB.
IMAGE_TIMEOUT_SECONDS = 120.0
#: Names the file that the createRuntime hook writes (see :data:`conformance.proof.HOOK`).
SNAPSHOT_ANNOTATION = "org.conformance.snapshot"


def options(spec: ContainerSpec, cgroup: str, snapshot_file: str) -> list[str]:
    """The options of ``run`` and ``create`` for a spec, as both programs spell them.

    Args:
        spec: what the check asked for.
        cgroup: parent of the container's own.
        snapshot_file: where the hook writes.
    """
    limits = spec.limits
    words = ["--name", spec.id, "--network", "none", "--cgroup-parent", cgroup, "--log-driver", "none"]
    if not spec.image:  # otherwise the image says who and where, unless a check does
        words += ["--user", f"{spec.uid}:{spec.gid}", "--workdir", spec.cwd]
    words += [f"--group-add={gid}" for gid in spec.additional_gids]
    words += [f"--env={variable}" for variable in spec.env]
    words += ["--read-only"] if spec.read_only_root else []
    words += ["--interactive"] if spec.stdin or spec.hold_stdin else []
    words += ["--tty"] if spec.tty else []
    words += [f"--platform={spec.platform}"] if spec.platform else []
    for m in spec.mounts:
        words.append(f"--mount=type=bind,src={m.source},dst={m.destination}" + (",readonly" if m.read_only else ""))
    if limits.memory_bytes is not None:
        # swap equal to memory: no swap, so the limit is the limit
        words += [f"--memory={limits.memory_bytes}b", f"--memory-swap={limits.memory_bytes}b"]
    if limits.pids is not None:
        words += [f"--pids-limit={limits.pids}"]
    if limits.cpu_quota_us is not None:
        words += [f"--cpu-quota={limits.cpu_quota_us}", f"--cpu-period={limits.cpu_period_us}"]
    annotations = {**spec.annotations, SNAPSHOT_ANNOTATION: snapshot_file}
    return words + [f"--annotation={key}={value}" for key, value in annotations.items()]


@dataclass
class ContainerCli:
    """podman or docker on a node; a program with other words for the same says them in a subclass.

    Attributes:
        node, path: where, and for which path.
        command: the program with its global options; its own subcommands follow.
        before_run: global options for one container (podman's hook directories), after ``command``.
        run_options: options of ``run`` and ``create`` that every container gets.
        pull_options: of ``pull``, for a registry without TLS.
        state: pattern of the directories in which the engine keeps its containers.
        health: the step, and what to do with its answer, that tells whether the engine's daemon lives.
    """

    node: Node
    path: RuntimePath
    command: tuple[str, ...]
    run_options: tuple[str, ...]
    state: str
    before_run: Callable[[ContainerSpec], tuple[list[s.Step], list[str]]] = lambda spec: ([], [])
    health: tuple[Callable[[], s.Step], Callable[[s.Answer], None]] | None = None
    pull_options: tuple[str, ...] = ()
    keep: bool = False
    images: dict[str, str] = field(default_factory=dict)

    # ---- places

    @property
    def base(self) -> str:
        return str(self.node.directory / self.path.name)

    def cgroup_of(self, container_id: str) -> str:
        """The group above the container's own, so that its counters outlive the container."""
        return f"/conformance/{self.node.session}/{self.path.name}/{container_id}"

    def snapshot_file(self, container_id: str) -> str:
        return f"{self.base}/snapshots/{container_id}"

    # ---- images

    def image_of(self, rootfs: str) -> str:
        """An image whose one layer is this directory of the node, made at first use.

        Raises:
            InfrastructureError: the engine does not make it; with its own words.
        """
        if rootfs not in self.images:
            # by the directory: paths of one session share a store
            name = f"localhost/conformance-{hashlib.sha256(rootfs.encode()).hexdigest()[:12]}:1"
            self.must(self.import_command(rootfs, name), f"make an image of {rootfs}", IMAGE_TIMEOUT_SECONDS)
            self.images[rootfs] = name
        return self.images[rootfs]

    def import_command(self, rootfs: str, name: str) -> list[str]:
        """What makes an image of a directory of the node."""
        pipe = 'tar -C "$1" -c . | { shift; "$@"; }'
        return ["sh", "-c", pipe, "sh", rootfs, *self.command, "import", "-", name]

    def load(self, archive: str, name: str) -> Completed:
        """``load`` of an archive on the node, which names the image itself: a value, as what it says is a verdict."""
        return self._done("load", "--input", archive)

    def pull(self, reference: str, platform: str = "") -> Completed:
        """``pull`` from the registry on the node."""
        options = [*self.pull_options, *([f"--platform={platform}"] if platform else [])]
        return self._done("pull", *options, reference)

    def inspect(self, image: str) -> Said:
        """What ``image inspect`` says of an image; empty where there is none."""
        done = self._done("image", "inspect", image)
        try:
            return Said(json.loads(done.stdout)[0]) if done.ok else Said()
        except (ValueError, IndexError, TypeError):
            return Said()  # a check that looks for a key finds none

    def _done(self, *words: str) -> Completed:
        done = self.node.run([*self.command, *words], timeout_seconds=IMAGE_TIMEOUT_SECONDS)
        self.look_at_daemon()
        return done

    def must(self, argv: Sequence[str], what: str, timeout_seconds: float = COMMAND_TIMEOUT_SECONDS) -> Completed:
        """Run a command that prepares something.

        Raises:
            InfrastructureError: it failed; that says nothing about a runtime.
        """
        done = self.node.run(argv, timeout_seconds=timeout_seconds)
        if not done.ok:
            self.look_at_daemon()
            said = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:] or [done.how_it_ended()]
            raise InfrastructureError(f"{self.node.name}: {self.command[-1]} cannot {what}: {said[0]}")
        return done

    def look_at_daemon(self) -> None:
        """Raise if the engine's daemon has ended."""
        if self.health:
            self.health[1](self.node.do(self.health[0]()))

    # ---- a container in one command

    def argv(self, spec: ContainerSpec, own: Sequence[str], *more: str) -> list[str]:
        """The command line of ``run`` for a spec.

        Args:
            spec: what the check asked for.
            own: global options for this container.
            more: options of ``run``.
        """
        image = spec.image or self.image_of(spec.rootfs)
        words = options(spec, self.cgroup_of(spec.id), self.snapshot_file(spec.id))
        run = [*spec.wrapped_in, *self.command, *own, "run", *self.run_options, *more, *words]
        return [*run, image, *spec.program, *spec.args]

    def run(self, spec: ContainerSpec) -> RunResult:
        """``run --rm``: create, start, wait and delete in one command."""
        before, own = self.before_run(spec)
        run = s.Run(
            self.argv(spec, own, "--rm"), stdin=spec.stdin, hold_stdin=spec.hold_stdin,
            timeout_seconds=spec.timeout_seconds, max_output_bytes=spec.max_output_bytes,
        )  # fmt: skip
        cgroup, snapshot = self.cgroup_of(spec.id), self.snapshot_file(spec.id)
        steps: list[s.Step] = [
            s.Mkdir(f"{self.base}/snapshots"), *before, s.CgroupMake(cgroup), run,
            s.Read(snapshot), s.CgroupRead(cgroup, cgroups.MEMORY_PEAK), s.CgroupList(cgroup), s.List(self.state),
        ]  # fmt: skip
        if self.health:
            steps.append(self.health[0]())
        made, *rest = self.node.batch([*steps, s.CgroupRemove(cgroup, kill=True)])
        self._check_made(made)
        ran, hook, peak, groups, state, *health = rest[len(before) + 1 :]
        left = [*groups.fields["entries"], *state.fields["entries"]]
        done = completed(run, ran)
        if done.timed_out or state.fields["entries"]:
            self.cleanup([(spec.id, 0)])
        if self.health:
            self.health[1](health[0])
        snapshot_seen = proof.parse_hook(hook.blobs[0]) if hook.blobs else None
        return self.result(spec, done, (done.command,), snapshot_seen, peak, left)

    def launch(self, spec: ContainerSpec) -> CliContainer:
        """``run --rm`` without waiting for its end: comes back when the guest has announced itself."""
        before, own = self.before_run(spec)
        run = s.Run(
            self.argv(spec, own, "--rm"), stdin=spec.stdin, hold_stdin=spec.hold_stdin,
            timeout_seconds=spec.timeout_seconds, keep=True, until_output=proof.ANNOUNCEMENT.decode(),
            max_output_bytes=spec.max_output_bytes,
        )  # fmt: skip
        steps: list[s.Step] = [s.Mkdir(f"{self.base}/snapshots"), *before, s.CgroupMake(self.cgroup_of(spec.id)), run]
        made, *rest, started, hook = self.node.batch([*steps, s.Read(self.snapshot_file(spec.id))])
        self._check_made(made)
        self.look_at_daemon()
        seen = proof.parse_hook(hook.blobs[0]) if hook.blobs else None
        return CliContainer(self, spec, completed(run, started), seen)

    def _check_made(self, made: s.Answer) -> None:
        if made.error:
            raise InfrastructureError(f"{self.node.name}: cannot write below {self.base}: {made.error}")

    def result(
        self, spec: ContainerSpec, done: Completed, commands: tuple[str, ...], snapshot: ProcessSnapshot | None,
        peak: s.Answer, left: Sequence[str] = (),
    ) -> RunResult:  # fmt: skip
        peak_bytes = cgroups.peak_bytes(peak.fields.get("values", {}))
        return proof.result(self.path, spec, done, commands, snapshot, peak_bytes, left)

    def cleanup(self, containers: Sequence[tuple[str, int]]) -> None:
        """Remove containers by force; see :class:`conformance.launchers.Launcher`."""
        todo: list[s.Step] = []
        for container_id, handle in containers:
            todo += [
                *(
                    s.Run([*self.command, *words], timeout_seconds=COMMAND_TIMEOUT_SECONDS)
                    for words in self.removal(container_id)
                ),
                s.CgroupRemove(self.cgroup_of(container_id), kill=True),
                s.Release(handle),
            ]
        if todo:
            self.node.batch(todo)

    def removal(self, container_id: str) -> list[list[str]]:
        """The commands that remove a container whatever it does."""
        return [["rm", "--force", container_id]]

    def killing(self, container_id: str, signal: str) -> list[str]:
        """The command that sends a signal to a container."""
        return ["kill", f"--signal={signal}", container_id]

    def executing(self, container_id: str, argv: Sequence[str]) -> list[str]:
        """The command that runs another process in a container."""
        return ["exec", container_id, *argv]


@dataclass
class CliContainer:
    """A container that runs, with the ``run`` command still attached to it.

    Attributes:
        created: the ``run`` command, as far as it has come.
        hook: the container's process as the createRuntime hook saw it.
        commands: what was done to it, for replay.
    """

    cli: ContainerCli
    spec: ContainerSpec
    created: Completed
    hook: ProcessSnapshot | None
    commands: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.commands = (self.created.command,)

    @property
    def id(self) -> str:
        return self.spec.id

    @property
    def pid(self) -> int:
        """Of the container's process, on the node; 0 when the hook did not see it."""
        return self.hook.pid if self.hook else 0

    def snapshot(self) -> ProcessSnapshot | None:
        """``/proc/PID`` as it is now; ``None`` when the process has gone."""
        return self.cli.node.snapshot(self.pid) if self.pid else None

    def kill(self, signal: str) -> Completed:
        """``kill --signal``."""
        return self.command(*self.cli.killing(self.id, signal))

    def stop(self, grace_seconds: int) -> Completed:
        """``stop``: the stop signal, and after the grace period KILL."""
        return self.command("stop", f"--time={grace_seconds}", self.id)

    def exec(self, *argv: str) -> Completed:
        """``exec`` in the running container."""
        return self.command(*self.cli.executing(self.id, argv))

    def command(self, *arguments: str) -> Completed:
        """Any command of the engine; remembered for replay."""
        done = self.cli.node.run([*self.cli.command, *arguments], timeout_seconds=COMMAND_TIMEOUT_SECONDS)
        self.cli.look_at_daemon()
        self.commands += (done.command,)
        return done

    def feed(self, data: bytes = b"", *, close: bool = True) -> None:
        """Write to the guest's standard input, then end it unless ``close`` is false."""
        self.cli.node.do(s.Feed(self.created.handle, data, close))

    def wait(self, timeout_seconds: float = 10.0) -> RunResult:
        """Wait for the end of the ``run`` command, which hands the guest's exit code on."""
        cli, cgroup = self.cli, self.cli.cgroup_of(self.id)
        ended, hook, peak, groups = cli.node.batch([
            s.Wait(self.created.handle, None, timeout_seconds), s.Read(cli.snapshot_file(self.id)),
            s.CgroupRead(cgroup, cgroups.MEMORY_PEAK), s.CgroupList(cgroup),
        ])  # fmt: skip
        done = replace(completed(s.Run(self.created.argv), ended), argv=self.created.argv)
        seen = proof.parse_hook(hook.blobs[0]) if hook.blobs else self.hook
        return cli.result(self.spec, done, self.commands, seen, peak, groups.fields["entries"])
