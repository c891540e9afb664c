"""A pod and its containers step by step, for checks that are about pods.

The verbs are those of the CRI API; each returns what crictl did, and each is remembered for
replay. What the CRI runtime does wrong is a value; what we or the node do wrong is raised.
"""

from __future__ import annotations

import json
import re
import shlex
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from tenacity import Retrying, retry_if_result, stop_after_delay, wait_exponential

from conformance import cgroups, cri, proof
from conformance.errors import InfrastructureError
from conformance.model import Completed, ContainerSpec, ProcessSnapshot, RunResult, RuntimePath, Said
from conformance.node import Node, completed
from conformance.node import steps as s
from conformance.oci_config import merged

#: A request that takes longer hangs; crictl's own limit is in the services' crictl.yaml.
COMMAND_TIMEOUT_SECONDS = 25.0
#: After this a container that runs has said what it says at its start.
SPEAKS_SECONDS = 10.0
#: After this an attached client has said what it has to say, and a guest has ended whose input has.
ATTACHED_SECONDS = 4.0
#: Deadline of a request that ends a pod, on every node.
END_SECONDS = 20
ENDED = "CONTAINER_EXITED"
_FORWARDING = "Forwarding from "
_EVENT = re.compile(r'"containerId":\s*"(\w+)",\s*"containerEventType":\s*"(\w+)"')


class CriRuntime(Protocol):
    """What a pod needs to know of the launcher that made it."""

    node: Node
    path: RuntimePath

    @property
    def crictl(self) -> list[str]: ...
    def image_of(self, rootfs: str) -> str: ...
    def cgroup_of(self, container_id: str) -> str: ...
    def container_cgroup(self, pod: str, container_id: str) -> str: ...
    def look_at_daemon(self, done: Completed) -> None: ...
    def snapshot_of(self, container_id: str) -> ProcessSnapshot | None: ...
    def witnessed(self, result: RunResult) -> RunResult: ...


@dataclass
class Pod:
    """A pod sandbox.

    Attributes:
        name: also its label and host name.
        place: its directory on the node: configurations and logs.
        config: the ``PodSandboxConfig`` it was asked for with.
        created: how ``runp`` ended.
        handler: runtime handler it was asked for with; empty for the default one.
    """

    runtime: CriRuntime
    name: str
    place: str
    config: dict[str, Any]
    handler: str
    created: Completed
    id: str = ""
    commands: list[str] = field(default_factory=list)
    containers: list[PodContainer] = field(default_factory=list)
    watching: int = 0
    forwarding: int = 0

    def command(
        self, *arguments: str, stdin: bytes = b"", timeout_seconds: float = COMMAND_TIMEOUT_SECONDS
    ) -> Completed:
        """Any command of crictl; remembered for replay."""
        step = s.Run([*self.runtime.crictl, *arguments], stdin=stdin, timeout_seconds=timeout_seconds)
        done = completed(step, self.runtime.node.batch([step])[0])
        self.commands.append(done.command)
        if not done.ok:
            self.runtime.look_at_daemon(done)
        return done

    def told(self, *arguments: str) -> Said:
        """What a command printed as a JSON object; empty where it failed or printed none."""
        done = self.command(*arguments)
        try:
            value = json.loads(done.stdout, object_hook=Said) if done.ok else Said()
        except ValueError:
            return Said()  # a check that looks for a key finds none
        return value if isinstance(value, Said) else Said()

    # ---- the sandbox

    def status(self) -> Said:
        """``PodSandboxStatus``."""
        return _part(self.told("inspectp", "--output=json", self.id), "status")

    def snapshot(self) -> ProcessSnapshot | None:
        """The pod's own process, which holds its namespaces; ``None`` where it has none or it has gone."""
        pid = _part(self.told("inspectp", "--output=json", self.id), "info").get("pid")
        return self.runtime.node.snapshot(pid) if isinstance(pid, int) and pid else None

    def stop(self) -> Completed:
        """``StopPodSandbox``."""
        return self._until_it_ends("stopp", self.id)

    def remove(self, *, force: bool = False) -> Completed:
        """``RemovePodSandbox``; with ``force`` crictl stops it first, as a kubelet does."""
        return self._until_it_ends("rmp", *(["--force"] if force else []), self.id)

    def _until_it_ends(self, *arguments: str) -> Completed:
        """A request that CRI-O gives to a guest as its grace period, up to the request's whole deadline.

        So the deadline does not grow with the node's pace; where the rest of the work comes too late, it is asked
        once more, as a kubelet does (``stopTimeoutFromContext`` in CRI-O's ``server/utils.go``).
        """
        words = [f"--timeout={END_SECONDS}s", *arguments]
        done = self.command(*words)
        return self.command(*words) if b"DeadlineExceeded" in done.stderr else done

    def stats(self) -> Said:
        """``PodSandboxStats`` of this pod."""
        rows = self.told("statsp", "--output=json", f"--id={self.id}").get("stats", [])
        return rows[0] if rows else Said()

    def network_namespace(self) -> str:
        """The file on the node that is the pod's network namespace; empty where it is not told."""
        spec = _part(_part(self.told("inspectp", "--output=json", self.id), "info"), "runtimeSpec")
        namespaces = _part(spec, "linux").get("namespaces") or []
        return next((str(n.get("path", "")) for n in namespaces if n.get("type") == "network"), "")

    def traces(self, network_namespace: str) -> tuple[str, ...]:
        """What there is of this pod on the node: processes that are named after it, its namespace, its cgroups."""
        ids = "|".join(one for one in (self.id, *(c.id for c in self.containers)) if one)
        find = s.Run(["pgrep", "--full", "--list-name", "--", ids or "no pod"])
        processes, namespace, groups = self.runtime.node.batch([
            find, s.Has(network_namespace or "/no-namespace"), s.CgroupList(self.runtime.cgroup_of(self.name)),
        ])  # fmt: skip
        return (
            *completed(find, processes).stdout.decode().splitlines(),
            *([network_namespace] if namespace.fields["there"] else []),
            *groups.fields["entries"],
        )

    def wait_until_gone(self, network_namespace: str, timeout_seconds: float = SPEAKS_SECONDS) -> tuple[str, ...]:
        """Wait until there are no :meth:`traces`; those that are left."""
        return tuple(
            _wait(
                lambda: self.traces(network_namespace), lambda left: not left, timeout_seconds * self.runtime.node.pace
            )
        )

    def address(self) -> str:
        """The pod's IP address; empty where it has none."""
        return str(_part(self.status(), "network").get("ip", ""))

    def forward(self, port: int) -> int:
        """``PortForward`` to a port of the pod, until the check ends; the port on the node, 0 when it was refused."""
        words = [*self.runtime.crictl, "port-forward", self.id, f":{port}"]
        run = s.Run(words, keep=True, until_output=_FORWARDING, timeout_seconds=COMMAND_TIMEOUT_SECONDS)
        started = self.runtime.node.do(run)
        self.forwarding = started.fields["handle"]
        self.commands.append(shlex.join(words))
        said = self.runtime.node.do(s.Output(self.forwarding, "\0never\0", 0.0)).blobs[0].decode("utf-8", "replace")
        found = re.search(rf"{_FORWARDING}[^ ]*:(\d+)", said)
        return int(found[1]) if found else 0

    def watch_events(self) -> None:
        """``GetContainerEvents`` from now on, until the check ends."""
        watch = s.Run([*self.runtime.crictl, "events", "--output=json"], keep=True, background=True)
        self.watching = self.runtime.node.do(watch).fields["handle"]
        self.commands.append(shlex.join(watch.argv))

    def events_of(self, container: PodContainer, last: str) -> list[str]:
        """Kinds of a container's events, in order, as soon as ``last`` is among them or the deadline has passed."""

        def look() -> list[str]:
            told = self.runtime.node.do(s.Output(self.watching, "\0never\0", 0.0)).blobs[0].decode("utf-8", "replace")
            return [kind for whose, kind in _EVENT.findall(told) if whose == container.id]

        seen = _wait(look, lambda kinds: last in kinds, SPEAKS_SECONDS * self.runtime.node.pace)
        return list(seen)

    # ---- its containers

    def create(
        self, spec: ContainerSpec, *, name: str = "guest", image: str = "", attempt: int = 0,
        changes: Mapping[str, Any] | None = None,
    ) -> PodContainer:  # fmt: skip
        """``CreateContainer``; whether that worked is in ``created``.

        Args:
            spec: what runs in it; its annotations are the container's own, the pod's are in the pod.
            name: of the container in this pod.
            image: used instead of one made of the spec's root file system.
            attempt: as a kubelet counts restarts.
            changes: fields laid over the ``ContainerConfig``.

        Raises:
            InfrastructureError: the node has no room for its configuration, or the CRI runtime has ended.
        """
        log = f"{name}-{attempt}.log"
        made = self.created  # in a pod that is not there, what was said of the pod
        if made.ok:
            config = cri.container_config(
                spec, image or spec.image or self.runtime.image_of(spec.rootfs), name=name, log=log
            )
            config["metadata"]["attempt"] = attempt
            made = self._made(f"{self.place}/{name}-{attempt}.json", merged(config, changes or {}))
        container = PodContainer(
            self, spec, f"{self.place}/{log}", made, made.stdout.decode().strip() if made.ok else ""
        )
        self.containers.append(container)
        return container

    def _made(self, file: str, config: Mapping[str, Any]) -> Completed:
        argv = [*self.runtime.crictl, "create", "--no-pull", self.id, file, f"{self.place}/pod.json"]
        step = s.Run(argv, timeout_seconds=COMMAND_TIMEOUT_SECONDS)
        answers = self.runtime.node.batch([s.Write(file, json.dumps(config, indent=1).encode()), step])
        if answers[0].error:
            raise InfrastructureError(f"{self.runtime.node.name}: cannot write below {self.place}: {answers[0].error}")
        made = completed(step, answers[1])
        self.commands.append(made.command)
        if not made.ok:
            self.runtime.look_at_daemon(made)
        return made

    def start(self, spec: ContainerSpec, **more: Any) -> PodContainer:
        """:meth:`create` and ``StartContainer``; a container that cannot be created is not started."""
        container = self.create(spec, **more)
        if container.created.ok:
            container.start()
        return container


@dataclass
class PodContainer:
    """A container of a pod.

    Attributes:
        spec: what it was made of.
        log_file: on the node.
        created, started: how ``create`` and ``start`` ended.
        id: the CRI runtime's; empty where it was not created.
    """

    pod: Pod
    spec: ContainerSpec
    log_file: str
    created: Completed
    id: str
    started: Completed | None = None

    @property
    def _node(self) -> Node:
        return self.pod.runtime.node

    def start(self) -> Completed:
        """``StartContainer``."""
        self.started = self.pod.command("start", self.id)
        return self.started

    def status(self) -> Said:
        """``ContainerStatus``."""
        return _part(self.pod.told("inspect", "--output=json", self.id), "status")

    @property
    def state(self) -> str:
        """``CONTAINER_CREATED``, ``CONTAINER_RUNNING``, ``CONTAINER_EXITED``, or empty."""
        return str(self.status().get("state", ""))

    @property
    def pid(self) -> int:
        """Of its process; 0 when it has none."""
        pid = _part(self.pod.told("inspect", "--output=json", self.id), "info").get("pid")
        return pid if isinstance(pid, int) else 0

    def snapshot(self) -> ProcessSnapshot | None:
        """``/proc/PID`` as it is now; ``None`` when the process has gone."""
        pid = self.pid
        return self._node.snapshot(pid) if pid else None

    def stop(self, grace_seconds: int) -> Completed:
        """``StopContainer`` with a grace period."""
        return self.pod.command("stop", f"--timeout={grace_seconds}", self.id)

    def remove(self) -> Completed:
        """``RemoveContainer``; crictl stops a running container first, as a kubelet does."""
        return self.pod.command("rm", "--force", self.id)

    def exec_sync(self, *argv: str, timeout_seconds: float = COMMAND_TIMEOUT_SECONDS) -> Completed:
        """``ExecSync``."""
        return self.pod.command("exec", "--sync", self.id, *argv, timeout_seconds=timeout_seconds)

    def attach(self, stdin: bytes = b"", timeout_seconds: float = ATTACHED_SECONDS) -> Completed:
        """``Attach``: to the output, and to the input where bytes are given, which then ends."""
        words = ["--stdin"] if stdin else []
        return self.pod.command("attach", *words, self.id, stdin=stdin, timeout_seconds=timeout_seconds)

    def update(self, **options: int) -> Completed:
        """``UpdateContainerResources``; options of ``crictl update`` with underscores."""
        words = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
        return self.pod.command("update", *words, self.id)

    def reopen_log(self) -> Completed:
        """``ReopenContainerLog``."""
        return self.pod.command("logs", "--reopen", self.id)

    def stats(self) -> Said:
        """``ContainerStats``."""
        rows = self.pod.told("stats", "--output=json", f"--id={self.id}").get("stats", [])
        return rows[0] if rows else Said()

    def raw_log(self) -> bytes:
        """The log file's bytes; none where there is no file."""
        answer = self._node.batch([s.Read(self.log_file, 4 * self.spec.max_output_bytes)])[0]
        return answer.blobs[0] if answer.blobs else b""

    def log(self) -> list[cri.LogLine]:
        """The lines of the log file."""
        return cri.log_lines(self.raw_log())

    def wait_until_output(self, text: bytes = proof.ANNOUNCEMENT, timeout_seconds: float = SPEAKS_SECONDS) -> bool:
        """Wait until the log holds ``text``; False when the deadline passed or the container did not start."""
        seconds = timeout_seconds * self._node.pace if self.started and self.started.ok else 0.0
        return text in _wait(self.raw_log, lambda log: text in log, seconds)

    def wait_until_state(self, wanted: str, timeout_seconds: float = SPEAKS_SECONDS) -> str:
        """Wait until the status has this state; the last one seen."""
        return str(_wait(lambda: self.state, lambda state: state == wanted, timeout_seconds * self._node.pace))

    def cgroup_values(self, *names: str) -> Said:
        """Files of the container's own cgroup, each from the hierarchy that has it."""
        group = self.pod.runtime.container_cgroup(self.pod.name, self.id)
        found = self._node.do(s.CgroupRead(group, names)).fields["values"]
        return Said(found)

    def wait(self, timeout_seconds: float = SPEAKS_SECONDS) -> RunResult:
        """Wait for its end and tell what is known of it; a container that never started has no guest."""
        begun = time.monotonic()
        told = self.started or self.created
        status: Mapping[str, Any] = {}
        stdout = stderr = b""
        if self.id:
            self.wait_until_state(ENDED, timeout_seconds)
            status = self.status()
            stdout, stderr = cri.streams(self.log())
        if told.ok:
            ended = status.get("state") == ENDED
            told = replace(
                told, stdout=stdout, stderr=stderr, exit_code=status.get("exitCode") if ended else None,
                timed_out=not ended, seconds=time.monotonic() - begun,
            )  # fmt: skip
        seen = self.pod.runtime.snapshot_of(self.id) if self.id else None
        if seen and told.timed_out and self.pod.runtime.path.embedded:
            # the hook goes on looking until the end; before that the engine is seen in the process as it is now
            seen = self.snapshot() or seen
        result = proof.result(
            self.pod.runtime.path, self.spec, told, tuple(self.pod.commands), seen,
            cgroups.peak_bytes(self.cgroup_values(*cgroups.MEMORY_PEAK)) if self.id else None,
        )  # fmt: skip
        return self.pod.runtime.witnessed(replace(result, status=status))


def _wait(look: Callable[[], Any], enough: Callable[[Any], bool], timeout_seconds: float) -> Any:
    waiting = Retrying(
        retry=retry_if_result(lambda seen: not enough(seen)),
        stop=stop_after_delay(timeout_seconds),
        # each look may be a command on the node: the longer it lasts, the seldomer
        wait=wait_exponential(multiplier=0.03, exp_base=1.5, max=0.25),
        retry_error_callback=lambda state: state.outcome.result() if state.outcome else None,
    )
    return waiting(look)


def _part(value: Mapping[str, Any], key: str) -> Said:
    part = value.get(key)
    return part if isinstance(part, Said) else Said()
