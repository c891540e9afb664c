"""What a check works with: one runtime path, and whatever it starts there.

Everything a check starts is remembered, so that its observations reach the record and nothing it started outlives it.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, cast

from testinfra.host import Host

from conformance import cri_specs, launchers, services
from conformance.build import oci_image
from conformance.build.oci_image import BuiltImage
from conformance.cri_images import CriImages
from conformance.cri_specs import Spec
from conformance.errors import InfrastructureError, NotRun
from conformance.launchers.oci import OciContainer
from conformance.model import (
    Completed,
    ContainerSpec,
    Feature,
    Mount,
    ProcessSnapshot,
    Race,
    RunResult,
    RuntimePath,
    Said,
)
from conformance.node import Node
from conformance.node import steps as s
from conformance.node.testinfra_backend import host_of
from conformance.pods import Pod, PodContainer
from conformance.user_workloads import UserWorkload, packed

if TYPE_CHECKING:
    from conformance.session import Session

#: Annotations with which crun and youki are asked to hand a module to an engine.
REQUESTS = frozenset({"run.oci.handler", "module.wasm.image/variant"})


@dataclass
class OpenPath:
    """A runtime path on a node, looked at and tried."""

    path: RuntimePath
    node: Node
    launcher: launchers.Launcher
    versions: launchers.Versions
    root: PurePosixPath
    corpus_root: PurePosixPath
    brought: bool
    canary: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    #: what critest said of its specs, and why it said nothing
    specs: Mapping[str, Spec] = field(default_factory=dict)
    specs_missing: str = ""


class PathUnderTest:
    """What a check works with: one runtime path, and whatever the check starts on it."""

    def __init__(self, opened: OpenPath, session: Session, check: str) -> None:
        self._opened, self._session, self._check = opened, session, check
        self._corpus = session.settings.corpus
        self.results: list[RunResult] = []
        self.containers: list[OciContainer] = []
        self.pods: list[Pod] = []
        self.of_critest: Spec | None = None
        self.observed: dict[str, Any] = {}
        self.commands: list[str] = []
        self._places: list[str] = []
        self._busy_before = opened.node.busy_seconds
        self._count = 0
        self.attempts = 1
        #: the runtime's own race that each failed attempt has met
        self.races: list[Race] = []

    @property
    def name(self) -> str:
        return self._opened.path.name

    @property
    def request(self) -> Mapping[str, str]:
        """The annotations that ask for Wasm on this path."""
        return self._opened.path.request

    @property
    def node(self) -> Node:
        """The machine the containers run on."""
        return self._opened.node

    @property
    def host(self) -> Host:
        """The node as pytest-testinfra sees it."""
        return host_of(self.node)

    @property
    def launcher(self) -> Any:
        """The launcher, for checks that need more than :meth:`run` and :meth:`create`."""
        return self._opened.launcher

    @property
    def sets_variables(self) -> frozenset[str]:
        """Variables that this way of starting containers says it sets in each of them."""
        return self._opened.launcher.sets_variables

    @property
    def native_root(self) -> str:
        """The native twins' root file system on the node, to take a side-car from."""
        return str(self._opened.corpus_root / "native")

    @property
    def wasm_root(self) -> str:
        """The modules' root file system on the node."""
        return str(self._opened.corpus_root / "wasm")

    @property
    def engine_file(self) -> str:
        """The engine's library on the node, empty on a control."""
        return self._opened.versions.engine_file

    def module(self, workload: str) -> str:
        """Path of a workload in the container: a module here, its native twin on a control.

        Raises:
            InfrastructureError: no such workload, or none for this kind of guest.
        """
        guest = self._corpus.guests.get(workload)
        name = None if guest is None else (guest.wasm if self._opened.path.guest == "wasm" else guest.native)
        if name is None:
            raise InfrastructureError(f"the corpus has no workload '{workload}' for {self._opened.path.guest} paths")
        return f"/{name}"

    def bytes_of(self, workload: str) -> bytes:
        """The module, or its native twin, itself."""
        return (self._corpus.path / self._opened.path.guest / self.module(workload).lstrip("/")).read_bytes()

    @staticmethod
    def new_nonce() -> str:
        """A word that no other container has; whoever prints it is the guest that got it."""
        return secrets.token_hex(8)

    def command_of(self, workload: str) -> tuple[str, ...]:
        """What a container on this path runs for a workload: the engine's program first, where the image holds one."""
        embedded = self._opened.path.embedded
        return (*(embedded.command if embedded else ()), self.module(workload))

    def spec(self, workload: str, args: Sequence[str] = (), env: Sequence[str] = (), **more: Any) -> ContainerSpec:
        """What :meth:`run` and :meth:`create` ask for: the nonce is the last argument and the last variable."""
        self._count += 1
        nonce = more.pop("nonce", self.new_nonce())
        named = {variable.partition("=")[0] for variable in env}
        always = [v for v in self._opened.path.environment if v.partition("=")[0] not in named]
        embedded = self._opened.path.embedded if more.get("guest") != "native" else None
        return ContainerSpec(**{
            "id": f"c{self._count}-{secrets.token_hex(4)}",
            "module": workload,
            "rootfs": str(self._opened.root),
            "args": (more.pop("argv0", None) or self.module(workload), *args, *([f"nonce={nonce}"] if nonce else [])),
            "program": embedded.command if embedded else (),
            "env": (*always, *env, *([f"CONFORMANCE_NONCE={nonce}"] if nonce else [])),
            "annotations": self._opened.path.request,
            "nonce": nonce,
            **more,
        })  # fmt: skip

    def run(self, workload: str, args: Sequence[str] = (), env: Sequence[str] = (), **more: Any) -> RunResult:
        """Run a workload in a container to its end.

        Args:
            workload: name in the corpus.
            args: after the module's own path.
            env: ``KEY=value``; nothing else is added but the nonce.
            more: any other field of :class:`conformance.model.ContainerSpec`.
        """
        return self._ran(self._opened.launcher.run(self.spec(workload, args, env, **more)))

    def run_spec(self, spec: ContainerSpec) -> RunResult:
        """Run a container described in full."""
        return self._ran(self._opened.launcher.run(spec))

    def run_user_workload(self, workload: UserWorkload) -> RunResult:
        """Run a user's own module, which announces nothing."""
        digest, tar = packed(workload)
        return self.run(
            workload.name, args=workload.args, env=[f"{k}={v}" for k, v in workload.env.items()],
            argv0=f"/{workload.module.name}", rootfs=str(self.node.put(digest, tar)), stdin=workload.stdin.encode(),
            timeout_seconds=workload.timeout_seconds, read_only_root=False, nonce="",
        )  # fmt: skip

    def _ran(self, result: RunResult) -> RunResult:
        self.results.append(result)
        self.commands.extend(result.commands)
        return result

    def create(self, workload: str, args: Sequence[str] = (), env: Sequence[str] = (), **more: Any) -> OciContainer:
        """Create a container without starting it; it is removed after the check."""
        return self.create_spec(self.spec(workload, args, env, **more))

    def create_spec(self, spec: ContainerSpec) -> OciContainer:
        """Create a container described in full."""
        container = cast(OciContainer, self.launcher.create(spec))
        self.containers.append(container)
        return container

    def live(self, workload: str, **more: Any) -> RunResult:
        """Run a workload from ``create`` to ``delete``, step by step where the path has steps.

        For checks of what happens on the way: whether ``run`` itself ends is a check of its own (CLI-RUN-ENDS).
        """
        if Feature.LIFECYCLE not in self.launcher.features:
            return self.run(workload, **more)
        container = self.create(workload, **more)
        container.start()
        result = self.finish(container)
        container.delete()
        return result

    def launch(self, workload: str, args: Sequence[str] = (), env: Sequence[str] = (), **more: Any) -> OciContainer:
        """Start a container in one command and come back when its guest has announced itself."""
        container = cast(OciContainer, self.launcher.launch(self.spec(workload, args, env, **more)))
        self.containers.append(container)
        return container

    def image(self, *workloads: str, platform: str = "linux/amd64", index: bool = False, **more: Any) -> BuiltImage:
        """An image that holds workloads of this path's kind and nothing else.

        Args:
            workloads: their names in the corpus.
            platform: ``os/architecture``.
            index: the tag points to an index.
            more: ``config`` and ``annotations`` of the image, ``files`` (path to bytes) in its first
                layer, ``above`` (the layers after it), ``modules`` (each a layer by itself).
        """
        first: dict[str, bytes | None] = {self.module(name).lstrip("/"): self.bytes_of(name) for name in workloads}
        layers = ({**first, **more.pop("files", {})}, *more.pop("above", ()))
        self._count += 1
        # lower case and new for each check: stores and registries go by the name
        name = f"localhost/check-{secrets.token_hex(4)}:{self._count}"
        return oci_image.build(name, [oci_image.Content(platform, layers, **more)], index=index)

    def load(self, image: BuiltImage) -> Completed:
        """Load an image from an archive on the node."""
        return self._kept(self.launcher.cli.load(self._archive(image), image.name))

    def push(self, image: BuiltImage) -> str:
        """Bring an image into the registry that is served on the node; returns the reference to pull.

        Raises:
            InfrastructureError: the registry does not start or does not take it.
        """
        registry = services.need(self.node, "registry", port=str(services.registry_port(self.node.session)))
        reference = f"127.0.0.1:{registry.values['port']}/{image.name.partition('/')[2]}"
        words = ["skopeo", "copy", "--quiet", "--all", "--preserve-digests", "--dest-tls-verify=false"]
        source = f"oci-archive:{self._archive(image)}"
        pushed = self.node.run([*words, source, f"docker://{reference}"], timeout_seconds=60)
        registry.check(self.node.do(registry.has_ended()))
        if not pushed.ok:
            said = pushed.stderr.decode("utf-8", "replace").strip().splitlines()[-1:] or [pushed.how_it_ended()]
            raise InfrastructureError(f"{self.node.name}: the registry does not take {image.name}: {said[0]}")
        return reference

    def pull(self, reference: str, platform: str = "") -> Completed:
        """Pull an image from that registry."""
        return self._kept(self.launcher.cli.pull(reference, platform))

    def inspect_image(self, name: str) -> Said:
        """What ``image inspect`` says."""
        return cast(Said, self.launcher.cli.inspect(name))

    @property
    def images(self) -> CriImages:
        """The images of a CRI runtime, for checks of pods."""
        return cast(CriImages, self.launcher.cli)

    def remove_image(self, image: str) -> Completed:
        """``RemoveImage`` of a CRI runtime."""
        return self._kept(self.images.remove(image))

    def _archive(self, image: BuiltImage) -> str:
        file = f"{self.node.directory}/archives/{image.name.partition('/')[2].replace(':', '-')}.tar"
        if not self.node.do(s.Has(file)).fields["there"]:
            self.node.do(s.Write(file, image.archive))
            self._places.append(file)
        return file

    def _kept(self, done: Completed) -> Completed:
        self.commands.append(done.command)
        return done

    def pod(self, annotations: Mapping[str, str] | None = None, **more: Any) -> Pod:
        """Ask for a pod; it is removed after the check, with its containers.

        Args:
            annotations: of the pod; those that ask for Wasm where a check gives none.
            more: further arguments of :meth:`conformance.launchers.crictl.Launcher.pod`.
        """
        self._count += 1
        name = f"p{self._count}-{secrets.token_hex(4)}"
        asked = self._opened.path.request if annotations is None else annotations
        pod = cast(Pod, self.launcher.pod(name, asked, **more))
        self.pods.append(pod)
        return pod

    def spec_of_critest(self, name: str, chosen: Collection[str], directory: Path) -> Spec:
        """What critest says of one of its specs.

        Args:
            name: of the spec.
            chosen: all that are wanted of this path; they run at the first call.
            directory: of the lists that critest is run by.

        Raises:
            InfrastructureError: the first time that critest fails; see :func:`conformance.cri_specs.run`.
            NotRun: every further time.
        """
        opened = self._opened
        if opened.specs_missing:
            raise NotRun(f"critest has failed on {self.name}: {opened.specs_missing}")
        if not opened.specs:
            try:
                opened.specs = cri_specs.run(self.launcher, chosen, directory)
            except InfrastructureError as error:
                opened.specs_missing = str(error).partition("\n")[0]
                raise
        self.of_critest = opened.specs[name]
        return self.of_critest

    def directory(self, files: Mapping[str, str] | None = None) -> str:
        """A fresh directory on the node, to be mounted into a container; holds these files."""
        self._count += 1
        place = f"{self.node.directory}/shared/{secrets.token_hex(4)}"
        writes = [s.Write(f"{place}/{name}", text.encode()) for name, text in (files or {}).items()]
        self.node.batch([s.Mkdir(place, 0o777), *writes])
        self._places.append(place)
        return place

    def files_in(self, directory: str) -> list[str]:
        """Names in a directory of the node."""
        return [PurePosixPath(p).name for p in self.node.do(s.List(f"{directory}/*")).fields["entries"]]

    def lines_of(self, file: str) -> list[str]:
        """Lines of a file on the node; none where there is no such file."""
        answer = self.node.batch([s.Read(file)])[0]
        return answer.blobs[0].decode("utf-8", "replace").splitlines() if answer.blobs else []

    def node_seconds(self) -> float:
        """The node's wall clock, in seconds since 1970."""
        return float(self.node.run(["date", "+%s"]).stdout)

    def runtime_named(self, name: str) -> str:
        """The runtime under another name on the node, for those that choose a handler by theirs."""
        place = self.directory()
        binary = self._opened.launcher.binary
        self.node.run(["sh", "-c", 'ln -s "$(command -v -- "$1")" "$2"', "sh", binary, f"{place}/{name}"])
        return f"{place}/{name}"

    def features(self) -> Said:
        """What ``runtime features`` prints (features.md of the runtime specification); empty if no JSON."""
        done = self.launcher.command("features")
        self.commands.append(done.command)
        try:
            return Said(json.loads(done.stdout))
        except ValueError:
            return Said()  # a check that looks for a key finds none

    @property
    def program(self) -> str:
        """The runtime's program on the node."""
        return next(iter(self._opened.versions.digests))

    def runtime_digest(self) -> str:
        """SHA-256 of the runtime's program as it is now."""
        return self.node.run(["sha256sum", self.program]).stdout.decode().partition(" ")[0]

    def native_program(self, workload: str) -> Mount:
        """The native twin of a workload mounted at ``/native-WORKLOAD``, for hooks that run inside."""
        return Mount(f"{self.native_root}/{workload}", f"/native-{workload}", read_only=True)

    def engine_in(self, process: ProcessSnapshot) -> bool:
        """Whether this path's engine is mapped in a process; a control has none."""
        engine = self._opened.path.engine
        if engine is None:
            return False
        if not engine.library:  # linked into the runtime's program
            return process.exe == self.engine_file or process.exe.startswith("/memfd:")
        return any(PurePosixPath(m).name.startswith(engine.library) for m in process.mapped)

    def runs_guest(self, process: ProcessSnapshot, workload: str) -> bool:
        """Whether a process is the one that runs this guest: in the engine, or as the program itself."""
        if self._opened.path.engine:
            if not self._opened.path.engine.library:  # linked into the runtime, whose program the process then still is
                return bool(process.exe) and process.exe not in (self.module(workload), f"/{workload}")
            return self.engine_in(process)
        return process.exe == self.module(workload)

    def finish(self, container: OciContainer | PodContainer, timeout_seconds: float = 10.0) -> RunResult:
        """Wait for a created container's guest to end."""
        result = container.wait(timeout_seconds)
        self.results.append(result)
        return result

    def busy_seconds(self) -> float:
        """Time that this check's commands and waits took on the node."""
        return self.node.busy_seconds - self._busy_before

    def observe(self, **observations: Any) -> None:
        """Record what was seen; an expectation can pin it."""
        self.observed.update(observations)

    def observations(self) -> dict[str, Any]:
        """What an expectation can pin: how the last container ended, and what the check noted."""
        last: dict[str, Any] = {}
        if self.results:
            result = self.results[-1]
            last = {
                "exit_code": result.exit_code,
                "signal": result.signal,
                "timed_out": result.timed_out,
                "marker": "present" if result.guest_started else "absent",
                "engine": PurePosixPath(result.proof.engine).name or None,
            }
            if errors := [report["errno"] for report in result.reports if report.get("errno")]:
                last["errors"] = errors
        if self.of_critest:
            last |= {"spec": self.of_critest.name, "at": self.of_critest.at, "said": self.of_critest.said}
        if self.unproven():
            last["unproven"] = True  # never what an expectation means, unless it pins it
        return {**last, **self.observed}

    def guest(self) -> dict[str, Any] | None:
        """Name, digest and size of the workload that ran last, and how Wasm was asked for."""
        asked = [r.asked for r in self.results] or [c.spec for c in self.containers]
        known = self._corpus.guests.get(asked[-1].module) if asked else None
        if known is None:
            return None
        wasm = self._opened.path.guest == "wasm"
        digest, size = (known.wasm_sha256, known.wasm_bytes) if wasm else (known.native_sha256, known.native_bytes)
        return {"name": known.name, "sha256": digest or "", "bytes": size or 0, "request": self._request(asked[-1])}

    def _request(self, spec: ContainerSpec) -> str:
        """How a container asked for Wasm: annotations, the image's platform, the image's own engine, the name alone."""
        if self._opened.path.guest == "native" or spec.guest == "native":
            return "none"
        if spec.program:
            return f"program {PurePosixPath(spec.program[0]).name}"
        asked = [f"annotation {key}={value}" for key, value in sorted(spec.annotations.items()) if key in REQUESTS]
        asked += [f"platform {spec.platform}"] if spec.platform else []
        name = PurePosixPath(spec.args[0]).name if spec.args else "of the image"
        return ", ".join(asked) or f"argv0 {name}"

    def unproven(self) -> list[str]:
        """Guests that spoke although the engine or the nonce is not proven: such a pass is none."""
        return [repr(r.proof) for r in self.results if r.guest_started and not r.proof]

    def all_commands(self) -> list[str]:
        """Every command of the check, in order as far as containers overlap."""
        own = (c for container in self.containers for c in container.commands)
        specs = [self.of_critest.command] if self.of_critest else []
        return [*self.commands, *specs, *own, *(c for pod in self.pods for c in pod.commands)]

    def reboot_node(self) -> None:
        """Restart the node as a power failure would; files stay, processes and what lies in memory do not.

        Only for a check with ``@needs_node("reboot")``.

        Raises:
            InfrastructureError: it does not come back.
        """
        self._session.reboot(self._opened)
        for container in self.containers:
            container.created = replace(container.created, handle=0)  # of an agent that has gone

    def begin_again(self) -> None:
        """Remove the check's containers and forget what was seen of them."""
        self.clean_up()
        for seen in (self.results, self.containers, self.pods, self.observed, self.commands, self._places):
            seen.clear()
        self.attempts += 1

    def told(self) -> str:
        """What the runtime has printed on its standard error of this check's containers and pods.

        And what its CRI runtime has in its log of those that have started: the only place where it says that it has
        lost what a container printed. Of one that has not started there was nothing to lose.
        """
        stepwise = [container for pod in self.pods for container in pod.containers]
        ended = [result.completed for result in self.results] + [pod.created for pod in self.pods]
        ended += [c.created for c in self.containers] + [c.created for c in stepwise]
        ended += [c.started for c in stepwise if c.started]
        started = {result.status.get("id") for result in self.results} | {c.id for c in stepwise}
        started -= {None, *(c.id for c in stepwise if not (c.started and c.started.ok))}
        said = b"\n".join(done.stderr for done in ended).decode("utf-8", "replace")
        logged = self.launcher.logged_of(started) if started and not self.node.dead else ""
        return f"{said}\n{logged}"

    def clean_up(self) -> None:
        """Remove the check's containers, whatever state they are in."""
        if self.node.dead:
            return
        started = [(c.id, c.created.handle) for c in self.containers]
        started += [(pod.name, handle) for pod in self.pods for handle in (pod.watching, pod.forwarding)]
        self._opened.launcher.cleanup(started)
        if self._places:
            self.node.batch([s.Remove(place) for place in self._places])
