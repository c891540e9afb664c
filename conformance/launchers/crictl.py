"""Pods through a CRI runtime (containerd, CRI-O), asked by crictl as a kubelet would ask it.

crictl: https://github.com/kubernetes-sigs/cri-tools/blob/v1.36.0/docs/crictl.md. The path's
``binary`` is the CRI runtime, a service of ``vms/services`` that is started on the node; its
``runtime`` is the low-level one behind it, configured there as the handler of that name.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from conformance import cgroups, cri, preflight, proof, services
from conformance.build.component import program_on_node
from conformance.cri_images import IMAGE_TIMEOUT_SECONDS, CriImages
from conformance.errors import InfrastructureError, UnseenError
from conformance.launchers import Versions
from conformance.model import Completed, ContainerSpec, Feature, ProcessSnapshot, RunResult, RuntimePath, Said
from conformance.node import Node, completed
from conformance.node import steps as s
from conformance.oci_config import merged
from conformance.pods import Pod

#: The runtime handler that the services' configurations give to the low-level runtime of a path.
HANDLER = "under-test"
#: A request that takes longer hangs; crictl's own limit is in the services' crictl.yaml.
COMMAND_TIMEOUT_SECONDS = 25.0
#: How long crictl waits for one answer of the CRI runtime, at the pace of the reference machine.
ANSWER_SECONDS = 20.0
#: What each puts before a container's id to name its cgroup.
CONTAINER_CGROUPS = {"containerd": "", "crio": "crio-"}
#: Variables that each sets in every container by itself.
SETS_VARIABLES = {
    "containerd": frozenset({"PATH", "HOSTNAME"}),
    "crio": frozenset({"PATH", "HOSTNAME", "HOME", "TERM"}),
}
TOOLS = ("crictl", "pinns", "ctr")
#: containerd's own, which starts a low-level runtime.
LOW_LEVEL_SHIM = "io.containerd.runc.v2"
PAUSE_IMAGE = "localhost/pause:1"
#: With a PATH, as the one that Kubernetes uses: youki refuses a native container without. A SIGTERM that comes before
#: the program can catch it is lost, and CRI-O then waits for five minutes.
PAUSE_CONFIG = {
    "Entrypoint": ["/pause"],
    "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
    "StopSignal": "SIGKILL",
}
#: What they say where the node's CNI plug-ins or their configuration fail.
NETWORK_FAILURES = (b"failed to setup network", b"failed to create pod network", b"cni plugin not initialized",
                    b"no CNI configuration", b"failed to get network status")  # fmt: skip
#: What crictl says where nobody is at the other end of the socket, and how long who was there may take to end.
LOST_CONNECTIONS = (b"Unavailable", b"connection refused", b"connection error", b"connect: ")
ENDS_SECONDS = 3.0
#: In which a CRI runtime notices that a container's process has ended.
NOTICES_SECONDS = 5.0
#: Puts an OCI archive into the image store that the CRI runtime uses.
STORES = {"containerd": "CTR --address=DIRECTORY/containerd.sock --namespace=k8s.io"}
IMPORTS = {
    "containerd": f"{STORES['containerd']} images import --local --all-platforms ARCHIVE",
    "crio": "skopeo --policy=DIRECTORY/policy.json copy --quiet oci-archive:ARCHIVE"
    " containers-storage:[overlay@DIRECTORY/storage+DIRECTORY/run]NAME",
}
_STOP_ALL = '"$@" ps --quiet --no-trunc --pod="$0" | xargs -r "$@" stop --timeout=0'
_ARCHIVE = (Path(__file__).parents[1] / "node" / "oci_archive.py").read_text()


class Launcher:
    """See :class:`conformance.launchers.Launcher`."""

    features = frozenset({Feature.RUN, Feature.STDIN, Feature.PODS, Feature.IMAGES})
    handler, handler_without_annotations = HANDLER, f"{HANDLER}-unannotated"
    pause_image = PAUSE_IMAGE

    def __init__(self, node: Node, path: RuntimePath, binary: str, runtime: str = "") -> None:
        self.node, self.path, self.binary, self.runtime = node, path, binary, runtime
        self.handler_with_hook = f"{HANDLER}-hooked" if path.shim else HANDLER
        self.base = node.directory / path.name
        # of the service's directory, since paths may share one
        self.hook_file = str(node.directory / ("trace.py" if path.embedded else "snapshot-by-id.sh"))
        self.keep_bundles = False
        self.library_path: tuple[str, ...] = ()
        self.sets_variables = SETS_VARIABLES[path.binary]
        self.tools = {name: program_on_node(path.components, name) or name for name in TOOLS}
        self.images: dict[str, str] = {}
        self.native_root = ""
        self.service: services.Service
        self.watcher: services.Service | None = None
        self.cli: CriImages

    # ---- static facts

    def preflight(self) -> Versions:
        """Look at the programs, then start the CRI runtime; starts no container.

        Raises:
            InfrastructureError: something is missing, or the CRI runtime does not start; with its own words.
        """
        programs = {self.path.runtime: self.runtime, self.path.binary: self.binary, "crictl": self.tools["crictl"]}
        versions = preflight.look_at(self.node, self.path, programs, self.library_path)
        self.node.do(s.Write(self.hook_file, proof.hook_of(self.path, by_id=True)))
        hook = proof.hook_command(self.path, self.hook_file)
        known = {
            "daemon": self.binary, "program": next(iter(versions.digests)), "interpreter": hook[0],
            "hook": '","'.join(hook), **self.tools,
            "patience": str(round(ANSWER_SECONDS * self.node.pace)),
            "shim": next(iter(versions.digests)) if self.path.shim else LOW_LEVEL_SHIM,
            # runwasi's library (1.0.1) cannot live with hooks: see OCI-HOOKS-PRESTART-OPTIONAL and docs/paths.md
            "spec": "plain" if self.path.shim else "hooked",
        }  # fmt: skip
        service = self.path.service or self.path.binary
        wanted = services.description(service).values
        self.service = services.need(self.node, service, **{name: known[name] for name in wanted})
        self.snapshots = f"{self.service.directory}/snapshots"
        if self.path.shim:
            self._watch()
        contents = self._filled(f"{STORES[self.path.binary]} content") if self.path.binary in STORES else []
        self.cli = CriImages(self.node, self.crictl, self._importing, self.look_at_daemon, contents)
        return versions

    def _watch(self) -> None:
        """Have containers looked at from outside: a group for each pod, one in it for each container."""
        program = str(self.node.directory / "watcher.py")
        self.node.batch([s.Write(program, proof.WATCHER.read_bytes()), s.CgroupMake(self.cgroup_of(""))])
        self.watcher = services.need(self.node, "watcher", program=program, cgroup=self.cgroup_of(""), levels="2")
        self.snapshots = f"{self.watcher.directory}/snapshots"

    @property
    def crictl(self) -> list[str]:
        """crictl with its connection."""
        return [self.tools["crictl"], f"--config={self.service.directory}/crictl.yaml"]

    def restart(self) -> None:
        """End the CRI runtime and start it again; containers are not asked."""
        self.service.restart()

    def info(self) -> Said:
        """What the CRI runtime tells of itself: ``Status`` with its verbose part."""
        done = self.node.run([*self.crictl, "info", "--output=json"], timeout_seconds=COMMAND_TIMEOUT_SECONDS)
        try:
            value = json.loads(done.stdout, object_hook=Said)
            return value if isinstance(value, Said) else Said()
        except ValueError:
            return Said()  # a check that looks for a key finds none

    # ---- images

    def image_of(self, rootfs: str) -> str:
        """An image whose one layer is this directory of the node, made at first use.

        Raises:
            InfrastructureError: it cannot be made or imported; with the tool's own words.
        """
        if not self.images:
            self._import(self.native_root, PAUSE_IMAGE, PAUSE_CONFIG)
        if rootfs not in self.images:
            name = f"localhost/conformance-{hashlib.sha256(rootfs.encode()).hexdigest()[:12]}:1"
            self._import(rootfs, name, {})
            self.images[rootfs] = name
        return self.images[rootfs]

    def _import(self, rootfs: str, name: str, config: dict[str, Any]) -> None:
        archive = f"{self.service.directory}/image.tar"
        words = self._importing(archive, name)
        script = 'python3 -I -S -c "$1" "$2" "$3" "$4" > "$5" && { shift 5; "$@"; }'
        argv = ["sh", "-c", script, "sh", _ARCHIVE, rootfs, name, json.dumps(config), archive, *words]
        done = self.node.run(argv, timeout_seconds=IMAGE_TIMEOUT_SECONDS)
        if not done.ok:
            self.look_at_daemon(done)
            said = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:] or [done.how_it_ended()]
            raise InfrastructureError(f"{self.node.name}: {words[0]} cannot import {name}: {said[0]}")

    def _importing(self, archive: str, name: str) -> list[str]:
        """The command that puts an archive on the node into the CRI runtime's image store."""
        return self._filled(IMPORTS[self.path.binary], ARCHIVE=archive, NAME=name)

    def _filled(self, command: str, **known: str) -> list[str]:
        words = command.split()
        for key, value in {"DIRECTORY": self.service.directory, "CTR": self.tools["ctr"], **known}.items():
            words = [word.replace(key, value) for word in words]
        return words

    def _refuse_broken_node(self, done: Completed) -> None:
        """Pods get network and cgroup from the node: where that fails, nothing is said about the runtime."""
        if any(words in done.stderr for words in NETWORK_FAILURES):
            raise InfrastructureError(f"{self.node.name}: no network for a pod: {_message(done)}")
        if self._wants_systemd():
            # what they say names the pod; the first line is the same for every pod
            raise InfrastructureError(
                f"{self.service.description.name} on {self.node.name} is configured for systemd's cgroup driver,"
                f" and the cgroups of pods here are cgroupfs's\n{_message(done)}"
            )

    def _wants_systemd(self) -> bool:
        """Whether the CRI runtime is told to leave cgroups to systemd.

        containerd has one such option for each handler, in its ``Status``; CRI-O answers ``RuntimeConfig``.
        """
        if runtimes := ((self.info().get("config") or {}).get("containerd") or {}).get("runtimes"):
            return bool(((runtimes.get(HANDLER) or {}).get("options") or {}).get("SystemdCgroup"))
        told = self.node.run([*self.crictl, "runtime-config"], timeout_seconds=COMMAND_TIMEOUT_SECONDS)
        return b"SYSTEMD" in told.stdout

    def look_at_daemon(self, done: Completed) -> None:
        """Raise if the CRI runtime has ended.

        Args:
            done: a command that failed; one that met a closed connection gives a dying runtime time to end.
        """
        lost = any(words in done.stderr for words in LOST_CONNECTIONS)
        self.service.check(self.node.do(s.Wait(self.service.handle, timeout_seconds=ENDS_SECONDS if lost else 0.0)))

    def logged_of(self, container_ids: Collection[str]) -> str:
        """Lines of the CRI runtime's log that name one of these containers."""
        return self.service.lines_with(container_ids)

    # ---- one container in a pod of its own

    def run(self, spec: ContainerSpec) -> RunResult:
        """A pod and its container: created, started, waited for, looked at and removed, in one round trip."""
        image = spec.image or self.image_of(spec.rootfs)
        place, cgroup = f"{self.base}/{spec.id}", self.cgroup_of(spec.id)
        pod = cri.pod_config(spec.id, annotations=spec.annotations, cgroup_parent=cgroup, log_directory=place)
        container = cri.container_config(spec, image)
        start = s.Run(
            [*self.crictl, "run", "--no-pull", f"--runtime={HANDLER}", f"{place}/container.json", f"{place}/pod.json"],
            timeout_seconds=COMMAND_TIMEOUT_SECONDS,
        )  # fmt: skip
        before: list[s.Step] = [
            s.Mkdir(place),
            s.Write(f"{place}/pod.json", json.dumps(pod, indent=1).encode()),
            s.Write(f"{place}/container.json", json.dumps(container, indent=1).encode()),
            # the CRI has no such limit: a kubelet sets it on the pod's group
            s.CgroupMake(cgroup, {} if spec.limits.pids is None else {"pids.max": str(spec.limits.pids)}),
        ]
        at = len(before)
        steps = [*before, start]
        # whoever waits for input ends while it is given or after that: one limit for both
        ends_seconds = spec.timeout_seconds / 2 if spec.stdin else spec.timeout_seconds
        if spec.stdin:
            steps.append(s.Run(
                [*self.crictl, "attach", "--stdin", s.printed(at)], stdin=spec.stdin,
                timeout_seconds=ends_seconds, max_output_bytes=0,
            ))  # fmt: skip
        snapshot_at = len(steps)
        inspect = s.Run(
            [*self.crictl, "inspect", "--output=json", s.printed(at)], repeat_until="CONTAINER_EXITED",
            timeout_seconds=NOTICES_SECONDS,
        )  # fmt: skip
        remove = s.Run(
            [*self.crictl, "rmp", "--force", s.printed(snapshot_at + 2, r'"sandboxID": "(\w+)"')],
            timeout_seconds=COMMAND_TIMEOUT_SECONDS,
        )  # fmt: skip
        steps += [
            _read_snapshot(self.snapshots, at, wait_seconds=ENDS_SECONDS),
            s.WaitGone(s.printed(snapshot_at, r"^(\d+) "), ends_seconds),
            inspect,
            s.Read(f"{place}/{cri.LOG}", spec.max_output_bytes),
            s.CgroupRead(cgroup, cgroups.MEMORY_PEAK),
            remove,
            s.CgroupList(cgroup),
            self.service.has_ended(),
            # an engine that is the container's own program is mapped only after the hook has gone
            _read_snapshot(self.snapshots, at),
            s.CgroupRemove(cgroup, kill=True),
            *([] if self.keep_bundles else [s.Remove(place)]),
        ]  # fmt: skip
        answers = self.node.batch(steps)
        if answers[1].error:
            raise InfrastructureError(f"{self.node.name}: cannot write below {self.base}: {answers[1].error}")
        _, gone, inspected, log, peak, removed, groups, ended, snapshot = answers[snapshot_at : snapshot_at + 9]
        started = completed(start, answers[at])
        commands = [started.command]
        if not started.ok:
            self.look_at_daemon(started)
            self.cleanup([(spec.id, 0)])
            self._refuse_broken_node(started)
            return proof.result(self.path, spec, started, tuple(commands), None, None, groups.fields["entries"])
        self.service.check(ended)
        looked = completed(inspect, inspected)
        if not looked.ok:
            self.look_at_daemon(looked)
        commands.append(looked.command)
        if removed.error:  # nothing has told the pod's id
            self.cleanup([(spec.id, 0)])
        else:
            commands.append(completed(remove, removed).command)
        status = _status(looked)
        lines = cri.log_lines(log.blobs[0] if log.blobs else b"")
        stdout, stderr = cri.streams(lines)
        done = replace(
            started,
            exit_code=status.get("exitCode") if status.get("state") == "CONTAINER_EXITED" else None,
            timed_out=status.get("state") == "CONTAINER_RUNNING",
            stdout=stdout, stderr=stderr,
            seconds=started.seconds + gone.fields.get("seconds", 0.0) + looked.seconds,
        )  # fmt: skip
        seen = self._seen(snapshot)
        peak_bytes = cgroups.peak_bytes(peak.fields.get("values", {}))
        result = proof.result(self.path, spec, done, tuple(commands), seen, peak_bytes, groups.fields["entries"])
        return self.witnessed(replace(result, status=status))

    def witnessed(self, result: RunResult) -> RunResult:
        """The same result.

        Raises:
            UnseenError: the guest spoke and the watcher saw nothing: the node's fault, not the runtime's.
        """
        if self.watcher and result.guest_started and result.snapshot is None:
            raise UnseenError(f"{self.node.name}: the watcher did not see a container that ran, so busy it is")
        return result

    # ---- a pod step by step

    def pod(
        self, name: str, annotations: Mapping[str, str], *, handler: str = HANDLER, pid: int = cri.CONTAINER,
        changes: Mapping[str, Any] | None = None,
    ) -> Pod:  # fmt: skip
        """``RunPodSandbox``; whether that worked is in ``created``.

        Args:
            name: unique on the node.
            annotations: of the pod.
            handler: runtime handler; empty for the default one.
            pid: ``NamespaceMode`` of the PID namespace.
            changes: fields laid over the ``PodSandboxConfig``.
        """
        place, cgroup = f"{self.base}/{name}", self.cgroup_of(name)
        config = cri.pod_config(name, annotations=annotations, cgroup_parent=cgroup, log_directory=place, pid=pid)
        config = merged(config, changes or {})
        words = [f"--runtime={handler}"] if handler else []
        run = s.Run([*self.crictl, "runp", *words, f"{place}/pod.json"], timeout_seconds=COMMAND_TIMEOUT_SECONDS)
        written = s.Write(f"{place}/pod.json", json.dumps(config, indent=1).encode())
        _, wrote, _, ran = self.node.batch([s.Mkdir(place), written, s.CgroupMake(cgroup), run])
        if wrote.error:
            raise InfrastructureError(f"{self.node.name}: cannot write below {self.base}: {wrote.error}")
        created = completed(run, ran)
        if not created.ok:
            self.look_at_daemon(created)
            self._refuse_broken_node(created)
        made = created.stdout.decode().strip() if created.ok else ""
        return Pod(self, name, place, config, handler, created, made, [created.command])

    def snapshot_of(self, container_id: str) -> ProcessSnapshot | None:
        """A container's process as the createRuntime hook saw it, or the watcher."""
        return self._seen(self.node.batch([s.Read(f"{self.snapshots}/{container_id}")])[0])

    def _seen(self, answer: s.Answer) -> ProcessSnapshot | None:
        seen = proof.parse_hook(answer.blobs[0]) if answer.blobs else None
        if seen is None and self.watcher:
            self.watcher.check(self.node.do(self.watcher.has_ended()))
        return seen

    def container_cgroup(self, pod: str, container_id: str) -> str:
        """A container's own group below its pod's."""
        return f"{self.cgroup_of(pod)}/{CONTAINER_CGROUPS[self.path.binary]}{container_id}"

    def cgroup_of(self, container_id: str) -> str:
        """The pod's group, the parent of its containers'."""
        return f"/conformance/{self.node.session}/{self.path.name}/{container_id}".rstrip("/")

    def cleanup(self, containers: Sequence[tuple[str, int]]) -> None:
        """Remove pods by force; see :class:`conformance.launchers.Launcher`."""
        todo: list[s.Step] = []
        for container_id, handle in containers:
            find = s.Run([*self.crictl, "pods", "--quiet", "--no-trunc", f"--label={cri.LABEL}={container_id}"])
            todo += [
                find,
                # without grace period: a guest that knows no SIGTERM would take the runtime's own
                s.Run(["sh", "-c", _STOP_ALL, s.printed(len(todo), r"^(\w+)"), *self.crictl],
                      timeout_seconds=COMMAND_TIMEOUT_SECONDS),
                s.Run([*self.crictl, "rmp", "--force", s.printed(len(todo), r"^(\w+)")],
                      timeout_seconds=COMMAND_TIMEOUT_SECONDS),
                s.CgroupRemove(self.cgroup_of(container_id), kill=True),
                *([] if self.keep_bundles else [s.Remove(f"{self.base}/{container_id}")]),
                s.Release(handle),
            ]  # fmt: skip
        if todo:
            self.node.batch(todo)


def _read_snapshot(snapshots: str, at: int, *, wait_seconds: float = 0.0) -> s.Step:
    argv = ["cat", "--", s.printed(at, r"^(\w+)")]
    return s.Run(argv, cwd=snapshots, repeat_until="\nid ", timeout_seconds=wait_seconds)


def _message(done: Completed) -> str:
    """What crictl says went wrong, without what its logger puts around it."""
    lines = done.stderr.decode("utf-8", "replace").strip().splitlines() or [done.how_it_ended()]
    found = re.search(r'msg="((?:[^"\\]|\\.)*)"', lines[-1])
    return re.sub(r"\\+(.)", r"\1", found[1]) if found else lines[-1]


def _status(looked: Completed) -> dict[str, Any]:
    """The container's status; empty where the answer has none."""
    try:
        value = json.loads(looked.stdout, object_hook=Said)
    except ValueError:
        return {}
    status = value.get("status") if isinstance(value, dict) else None
    return status if isinstance(status, dict) else {}
