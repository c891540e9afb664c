"""docker: dockerd hands the container to containerd, whose shim starts the low-level runtime.

The daemon is one of this session (``vms/services/dockerd.yaml``), with a store of its own.
"""

from __future__ import annotations

from collections.abc import Sequence

from conformance import hooked_runtime, preflight, proof, services
from conformance.container_cli import CliContainer, ContainerCli
from conformance.launchers import Versions
from conformance.model import ContainerSpec, Feature, RunResult, RuntimePath
from conformance.node import Node
from conformance.node import steps as s

#: Variables that the reference of ``docker run`` says it sets in every Linux container.
SETS_VARIABLES = frozenset({"PATH", "HOME", "HOSTNAME"})


class Launcher:
    """See :class:`conformance.launchers.Launcher`."""

    features = frozenset({
        Feature.RUN, Feature.ANNOTATIONS, Feature.STDIN, Feature.IMAGES, Feature.ENGINE_COMMAND, Feature.STOP,
    })  # fmt: skip
    sets_variables = SETS_VARIABLES
    cli: ContainerCli
    daemon: services.Service

    def __init__(self, node: Node, path: RuntimePath, binary: str, runtime: str = "") -> None:
        self.node, self.path, self.binary, self.runtime = node, path, binary, runtime
        self.hook_file = str(node.directory / ("trace.py" if path.embedded else "snapshot.sh"))
        self.keep_bundles = False
        self.library_path: tuple[str, ...] = ()

    def preflight(self) -> Versions:
        """Look at client, daemon and runtime, and start the daemon.

        Raises:
            InfrastructureError: one of them is missing or does not work; names it.
        """
        programs = {self.path.runtime: self.runtime, "docker": self.binary, "dockerd": "dockerd"}
        versions = preflight.look_at(self.node, self.path, programs, self.library_path)
        self.node.do(s.Write(self.hook_file, proof.hook_of(self.path, by_annotation=True)))
        program = preflight.words(self.library_path, next(iter(versions.digests)))
        hooked = hooked_runtime.install(self.node, self.path, self.hook_file, program)
        self.daemon = services.need(self.node, "dockerd", runtime=self.path.runtime, hooked=hooked)
        self.cli = ContainerCli(
            self.node, self.path,
            command=(self.binary, f"--host=unix://{self.daemon.directory}/docker.sock"),
            run_options=(f"--runtime={self.path.runtime}-hooked",),
            state=f"{self.daemon.directory}/data/containers/*",
            health=(self.daemon.has_ended, self.daemon.check),
        )  # fmt: skip
        return versions

    def run(self, spec: ContainerSpec) -> RunResult:
        """``docker run``."""
        return self.cli.run(spec)

    def launch(self, spec: ContainerSpec) -> CliContainer:
        """See :meth:`conformance.container_cli.ContainerCli.launch`."""
        return self.cli.launch(spec)

    def cleanup(self, containers: Sequence[tuple[str, int]]) -> None:
        """See :class:`conformance.launchers.Launcher`."""
        self.cli.cleanup(containers)
