"""An OCI runtime driven by its command line, as conmon and the containerd shims drive it.

The command line is the one that runc, crun and youki share
(https://github.com/opencontainers/runtime-tools/blob/v0.9.0/docs/command-line-interface.md).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tenacity import Retrying, retry_if_result, stop_after_delay, wait_fixed

from conformance import cgroups, oci_config, preflight, proof
from conformance.errors import InfrastructureError
from conformance.launchers import Versions
from conformance.model import Completed, ContainerSpec, Feature, ProcessSnapshot, RunResult, RuntimePath, Said
from conformance.node import Node, completed
from conformance.node import steps as s

#: A runtime's own bookkeeping command that takes longer than this hangs.
COMMAND_TIMEOUT_SECONDS = 10.0
#: How long after its guest has spoken a runtime may take to write the pid file.
PID_FILE_SECONDS = 2.0
#: Starts the runtime where a check asks for a rootless container; in the container it is root.
ORDINARY_USER = 1000
TAKE_A_SNAPSHOT = "createRuntime"


class Launcher:
    """See :class:`conformance.launchers.Launcher`."""

    features = frozenset({
        Feature.RUN, Feature.ANNOTATIONS, Feature.LIFECYCLE, Feature.HOOKS, Feature.OCI_CONFIG, Feature.EXEC,
        Feature.TTY, Feature.STDIN, Feature.PAUSE, Feature.RUNTIME_COMMAND,
    })  # fmt: skip

    sets_variables: frozenset[str] = frozenset()

    def __init__(self, node: Node, path: RuntimePath, binary: str, runtime: str = "") -> None:
        self.node, self.path, self.binary = node, path, binary
        base = node.directory / path.name
        self.state_root = str(base / "state")
        self.bundles = base / "bundles"
        self.hook_file = str(base / "snapshot.sh")
        self.cgroup = f"/conformance/{node.session}/{path.name}"
        self.keep_bundles = False
        self.library_path: tuple[str, ...] = ()

    # ---- static facts

    def preflight(self) -> Versions:
        """Look at the binary, its engine and the node; starts no container.

        Raises:
            InfrastructureError: something is missing, does not start, or is not what the path needs.
        """
        versions = preflight.look_at(self.node, self.path, {self.path.binary: self.binary}, self.library_path)
        self.node.do(s.Write(self.hook_file, proof.hook_of(self.path)))
        return versions

    # ---- a container in one command

    def run(self, spec: ContainerSpec) -> RunResult:
        """``runtime run``: create, start, wait and delete in one command."""
        bundle = self.bundle(spec)
        argv = self.argv_for(spec, "run", "--bundle", bundle, *self._console(bundle, spec), spec.id)
        run = s.Run(
            argv, stdin=spec.stdin, hold_stdin=spec.hold_stdin, timeout_seconds=spec.timeout_seconds,
            max_output_bytes=spec.max_output_bytes,
            console_socket=f"{bundle}/console.sock" if spec.tty else None,
        )  # fmt: skip
        cgroup = self.cgroup_of(spec.id)
        remove = [] if self.keep_bundles else [s.Remove(bundle)]
        _, config, _, ran, hook, peak, groups, state, *_ = self.node.batch([
            *self.write_bundle(bundle, spec), run, s.Read(f"{bundle}/snapshot"),
            s.CgroupRead(cgroup, cgroups.MEMORY_PEAK), s.CgroupList(cgroup),
            s.Has(f"{self.state_root}/{spec.id}"), s.CgroupRemove(cgroup, kill=True), *remove,
        ])  # fmt: skip
        self._check_written(config)
        left = [*groups.fields["entries"], *([f"{self.state_root}/{spec.id}"] if state.fields["there"] else [])]
        done = completed(run, ran)
        snapshot = proof.parse_hook(hook.blobs[0]) if hook.blobs else None
        result = self.result(spec, done, (done.command,), snapshot, peak, left)
        if result.timed_out or state.fields.get("there"):
            self.cleanup([(spec.id, 0)])
        return result

    def result(
        self, spec: ContainerSpec, done: Completed, commands: tuple[str, ...], snapshot: ProcessSnapshot | None,
        peak: s.Answer, leftovers: Sequence[str] = (),
    ) -> RunResult:  # fmt: skip
        """Put together what is known of a container that has ended."""
        peak_bytes = cgroups.peak_bytes(peak.fields.get("values", {}))
        return proof.result(self.path, spec, done, commands, snapshot, peak_bytes, leftovers)

    # ---- a container step by step

    def create(self, spec: ContainerSpec) -> OciContainer:
        """``runtime create``: see :class:`conformance.launchers.Lifecycle`."""
        bundle = self.bundle(spec)
        pid_file = f"{bundle}/pid"
        argv = self.argv_for(
            spec, "create", "--bundle", bundle, "--pid-file", pid_file, *self._console(bundle, spec), spec.id
        )
        create = s.Run(
            argv, stdin=spec.stdin, hold_stdin=spec.hold_stdin, timeout_seconds=COMMAND_TIMEOUT_SECONDS, keep=True,
            max_output_bytes=spec.max_output_bytes,
            console_socket=f"{bundle}/console.sock" if spec.tty else None,
        )  # fmt: skip
        _, config, _, created, pid, hook = self.node.batch([
            *self.write_bundle(bundle, spec), create, s.Read(pid_file), s.Read(f"{bundle}/snapshot"),
        ])  # fmt: skip
        self._check_written(config)
        text = pid.blobs[0].decode("ascii", "replace").strip() if pid.blobs else ""
        return OciContainer(
            launcher=self,
            spec=spec,
            bundle=bundle,
            created=completed(create, created),
            pid=int(text) if text.isdigit() else 0,
            pid_text=text,
            hook=proof.parse_hook(hook.blobs[0]) if hook.blobs else None,
        )

    def launch(self, spec: ContainerSpec) -> OciContainer:
        """``runtime run`` without waiting for its end: comes back when the guest has announced itself.

        ``wait`` on the result is then about the runtime's own exit code, not the guest's.
        """
        bundle = self.bundle(spec)
        run = s.Run(
            self.argv_for(spec, "run", "--bundle", bundle, "--pid-file", f"{bundle}/pid", spec.id),
            stdin=spec.stdin, hold_stdin=spec.hold_stdin,
            timeout_seconds=spec.timeout_seconds, keep=True, until_output=proof.ANNOUNCEMENT.decode(),
            max_output_bytes=spec.max_output_bytes,
        )  # fmt: skip
        _, config, _, started, hook = self.node.batch(
            [*self.write_bundle(bundle, spec), run, s.Read(f"{bundle}/snapshot")]
        )
        self._check_written(config)
        text = self._pid_file(f"{bundle}/pid")
        number = int(text) if text.isdigit() else 0
        # what an ordinary user's runtime has made, that user's hook may not look into; root may, while the guest waits
        snapshot = self.node.snapshot(number) if spec.rootless and number else None
        if snapshot is None and hook.blobs:
            snapshot = proof.parse_hook(hook.blobs[0])
        return OciContainer(self, spec, bundle, completed(run, started), number, text, snapshot, of_runtime=True)

    def _pid_file(self, file: str) -> str:
        """What the pid file of ``run`` holds; a runtime may write it after the guest has spoken."""

        def look() -> str:
            answer = self.node.batch([s.Read(file)])[0]
            return answer.blobs[0].decode("ascii", "replace").strip() if answer.blobs else ""

        waiting = Retrying(
            retry=retry_if_result(lambda text: not text),
            stop=stop_after_delay(PID_FILE_SECONDS),
            wait=wait_fixed(0.01),
            retry_error_callback=lambda state: "",
        )
        return str(waiting(look))

    # ---- pieces

    def argv(self, command: str, *arguments: str) -> list[str]:
        """A command line of this runtime with this session's own state directory."""
        return preflight.words(self.library_path, self.binary, "--root", self.state_root, command, *arguments)

    def argv_for(self, spec: ContainerSpec, command: str, *arguments: str) -> list[str]:
        """The same for one container, with what its spec puts around the runtime."""
        options = ["--systemd-cgroup"] if spec.systemd_cgroup else []
        if spec.rootless:
            options += self.path.rootless_options
            state = f"{self.bundle(spec)}/state"
            user = ["setpriv", f"--reuid={ORDINARY_USER}", f"--regid={ORDINARY_USER}", "--clear-groups", "env"]
            words = [self.binary, *options, "--root", state, command, *arguments]
            return [*user, f"XDG_RUNTIME_DIR={self.bundle(spec)}", *preflight.words(self.library_path, *words)]
        words = [spec.binary or self.binary, *options, "--root", self.state_root, command, *arguments]
        return [*spec.wrapped_in, *preflight.words(self.library_path, *words)]

    def bundle(self, spec: ContainerSpec) -> str:
        return str(self.bundles / spec.id)

    def cgroup_of(self, container_id: str) -> str:
        """The group above the container's own, so that its counters outlive the container."""
        return f"{self.cgroup}/{container_id}"

    def write_bundle(self, bundle: str, spec: ContainerSpec) -> list[s.Step]:
        """The steps that lay out a bundle."""
        program, *words = proof.hook_command(self.path, self.hook_file)
        ours = [] if spec.rootless else [{"path": program, "args": [program, *words, f"{bundle}/snapshot"]}]
        hooks = {**spec.hooks, TAKE_A_SNAPSHOT: [*ours, *spec.hooks.get(TAKE_A_SNAPSHOT, [])]}
        config = oci_config.configuration(
            spec,
            cgroups_path=f"system.slice:conformance:{spec.id}"
            if spec.systemd_cgroup
            else f"{self.cgroup_of(spec.id)}/container",
            hooks=hooks,
            cgroup_v2=self.node.facts["cgroup_mode"] == "v2",
        )
        if spec.rootless:
            config = oci_config.for_ordinary_user(config, ORDINARY_USER)
        return [
            s.Mkdir(bundle, 0o777 if spec.rootless else 0o755),
            s.Write(f"{bundle}/config.json", json.dumps(config, indent=1).encode()),
            s.CgroupMake(self.cgroup_of(spec.id)),
        ]

    def _check_written(self, config: s.Answer) -> None:
        if config.error:
            # the directory, not the file: one cause has one message, so it is one error
            raise InfrastructureError(f"{self.node.name}: cannot write below {self.bundles}: {config.error}")

    def _console(self, bundle: str, spec: ContainerSpec) -> list[str]:
        return ["--console-socket", f"{bundle}/console.sock"] if spec.tty else []

    def command(
        self, *arguments: str, timeout_seconds: float = COMMAND_TIMEOUT_SECONDS, stdin: bytes = b""
    ) -> Completed:
        """Run one command of the runtime."""
        return self.node.run(self.argv(*arguments), timeout_seconds=timeout_seconds, stdin=stdin)

    def cleanup(self, containers: Sequence[tuple[str, int]]) -> None:
        """Remove containers by force, then whatever of them is still there."""
        todo: list[s.Step] = []
        for container_id, handle in containers:
            todo += [
                s.Run(self.argv("delete", "--force", container_id), timeout_seconds=COMMAND_TIMEOUT_SECONDS),
                s.CgroupRemove(self.cgroup_of(container_id), kill=True),
                s.Remove(f"{self.state_root}/{container_id}"),
                *([] if self.keep_bundles else [s.Remove(str(self.bundles / container_id))]),
                s.Release(handle),
            ]
        if todo:
            self.node.batch(todo)


@dataclass
class OciContainer:
    """A container between ``create`` and ``delete``.

    Attributes:
        pid: from the pid file; 0 when there is none.
        pid_text: what the pid file held.
        hook: the process as the createRuntime hook saw it.
        of_runtime: ``wait`` is about the runtime's own process, which is still there.
    """

    launcher: Launcher
    spec: ContainerSpec
    bundle: str
    created: Completed
    pid: int
    pid_text: str
    hook: ProcessSnapshot | None
    commands: tuple[str, ...] = ()
    of_runtime: bool = False

    def __post_init__(self) -> None:
        self.commands = (self.created.command,)

    @property
    def id(self) -> str:
        return self.spec.id

    def start(self) -> Completed:
        """``runtime start``."""
        return self.command("start", self.id)

    def state(self) -> Said:
        """``runtime state``; empty when the container is unknown or the answer is no JSON object."""
        done = self.command("state", self.id)
        try:
            value = json.loads(done.stdout) if done.ok else {}
        except (ValueError, RecursionError):
            return Said()  # a check that expects a status finds none
        return Said(value) if isinstance(value, dict) else Said()

    @property
    def status(self) -> str:
        """``status`` of :meth:`state`, empty when there is none."""
        return str(self.state().get("status", ""))

    def kill(self, signal: str, *, everything: bool = False) -> Completed:
        """``runtime kill``."""
        return self.command("kill", *(["--all"] if everything else []), self.id, signal)

    def delete(self, *, force: bool = False) -> Completed:
        """``runtime delete``."""
        return self.command("delete", *(["--force"] if force else []), self.id)

    def pause(self) -> Completed:
        """``runtime pause``."""
        return self.command("pause", self.id)

    def resume(self) -> Completed:
        """``runtime resume``."""
        return self.command("resume", self.id)

    def exec(self, *argv: str, timeout_seconds: float = COMMAND_TIMEOUT_SECONDS) -> Completed:
        """``runtime exec`` in the running container."""
        return self.command("exec", self.id, *argv, timeout_seconds=timeout_seconds)

    def command(self, *arguments: str, timeout_seconds: float = COMMAND_TIMEOUT_SECONDS) -> Completed:
        """Any command of the runtime; remembered for replay."""
        done = self.launcher.command(*arguments, timeout_seconds=timeout_seconds)
        self.commands += (done.command,)
        return done

    def wait_until_output(self, text: str = "@guest ", timeout_seconds: float = 10.0) -> bool:
        """Wait until the guest has printed ``text``; False when the deadline passed or it ended without."""
        answer = self.launcher.node.do(s.Output(self.created.handle, text, timeout_seconds))
        return not answer.fields["timed_out"]

    def output(self) -> bytes:
        """Both streams so far."""
        answer = self.launcher.node.do(s.Output(self.created.handle, "\0never\0", 0.0))
        return answer.blobs[0] + answer.blobs[1]

    def feed(self, data: bytes = b"", *, close: bool = True) -> None:
        """Write to the guest's standard input, then end it unless ``close`` is false."""
        self.launcher.node.do(s.Feed(self.created.handle, data, close))

    def snapshot(self) -> ProcessSnapshot | None:
        """``/proc/PID`` as it is now; ``None`` when the process has gone."""
        return self.launcher.node.snapshot(self.pid) if self.pid else None

    def cgroup_values(self, *names: str) -> Said:
        """Files of the container's own cgroup, each from the hierarchy that has it."""
        group = f"{self.launcher.cgroup_of(self.id)}/container"
        return Said(self.launcher.node.do(s.CgroupRead(group, names)).fields["values"])

    def oom_kills(self) -> int:
        """Processes of this container that its memory limit has ended."""
        return cgroups.oom_kills(self.cgroup_values(*cgroups.OOM_FILES))

    def throttled_periods(self, timeout_seconds: float = 5.0) -> int:
        """Periods in which the CPU quota held this container back.

        Args:
            timeout_seconds: to wait for the first: on a busy node a guest may not get as much as its quota.
        """
        waiting = Retrying(
            retry=retry_if_result(lambda count: count < 1), stop=stop_after_delay(timeout_seconds),
            wait=wait_fixed(0.1), retry_error_callback=lambda state: 0,
        )  # fmt: skip
        return int(waiting(lambda: cgroups.throttled_periods(self.cgroup_values(*cgroups.CPU_FILES))))

    def cpu_seconds_used(self, during_seconds: float) -> float:
        """CPU time that this container uses while we watch for so long."""
        before = cgroups.cpu_seconds(self.cgroup_values(*cgroups.CPU_FILES))
        self.launcher.node.run(["sleep", str(during_seconds)])
        return cgroups.cpu_seconds(self.cgroup_values(*cgroups.CPU_FILES)) - before

    def wait_until_busy(self, cpu_seconds: float = 0.02, timeout_seconds: float = 10.0) -> bool:
        """Wait until this container has used so much more CPU time; False when it does not."""
        waiting = Retrying(
            retry=retry_if_result(lambda used: used < cpu_seconds), stop=stop_after_delay(timeout_seconds),
            retry_error_callback=lambda state: state.outcome.result() if state.outcome else 0.0,
        )  # fmt: skip
        return bool(waiting(self.cpu_seconds_used, during_seconds=0.1) >= cpu_seconds)

    def wait_until_status(self, wanted: str, timeout_seconds: float = 5.0) -> str:
        """Wait until the state has this status; the last one seen. A v1 freezer freezes by and by."""
        waiting = Retrying(
            retry=retry_if_result(lambda status: status != wanted),
            stop=stop_after_delay(timeout_seconds),
            wait=wait_fixed(0.02),
            retry_error_callback=lambda state: state.outcome.result() if state.outcome else "",
        )
        return str(waiting(lambda: self.status))

    def rewrite_config(self, changes: Mapping[str, Any]) -> None:
        """Change ``config.json`` of the bundle, as somebody might after ``create``."""
        node, file = self.launcher.node, f"{self.bundle}/config.json"
        config = json.loads(node.read_text(file, s.DEFAULT_MAX_OUTPUT_BYTES))
        node.do(s.Write(file, json.dumps(oci_config.merged(config, changes)).encode()))

    def leftovers(self) -> tuple[str, ...]:
        """Cgroups and state of this container that exist now."""
        launcher = self.launcher
        groups, state = launcher.node.batch([
            s.CgroupList(launcher.cgroup_of(self.id)), s.Has(f"{launcher.state_root}/{self.id}"),
        ])  # fmt: skip
        return (*groups.fields["entries"], *([f"{launcher.state_root}/{self.id}"] if state.fields["there"] else []))

    def wait(self, timeout_seconds: float = 10.0) -> RunResult:
        """Wait for the guest's end, as the parent of its process: its own exit code or signal."""
        launcher = self.launcher
        step = s.Wait(self.created.handle, None if self.of_runtime else self.pid or None, timeout_seconds)
        ended, peak, hook = launcher.node.batch([
            step, s.CgroupRead(launcher.cgroup_of(self.id), cgroups.MEMORY_PEAK), s.Read(f"{self.bundle}/snapshot"),
        ])  # fmt: skip
        done = completed(s.Run(self.created.argv), ended)
        if self.spec.hold_stdin and not done.timed_out:
            self.feed()
        done = replace(done, argv=self.created.argv)
        # an engine that is the container's own program is mapped only after create
        snapshot = (proof.parse_hook(hook.blobs[0]) if hook.blobs else None) or self.hook
        return launcher.result(self.spec, done, self.commands, snapshot, peak)
