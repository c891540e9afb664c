"""ctr, containerd's own command line: its shim starts the low-level runtime.

Options: https://github.com/containerd/containerd/blob/v1.7.24/cmd/ctr/commands/run/run.go. What they cannot say
(hooks, limits, supplementary groups, a check's own changes of config.json) is said with ``--config``, which takes
the whole configuration from a file. The daemon is one of this session (``vms/services/containerd-for-ctr.yaml``).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from conformance import hooked_runtime, oci_config, preflight, proof, services
from conformance.build.component import program_on_node
from conformance.container_cli import SNAPSHOT_ANNOTATION, CliContainer, ContainerCli
from conformance.launchers import Versions
from conformance.model import Completed, ContainerSpec, Feature, Limits, RunResult, RuntimePath, Said
from conformance.node import Node
from conformance.node import steps as s

NAMESPACE = "conformance"
#: The shim that starts a low-level runtime. Another one, as those for Wasm alone, is no path of this launcher yet.
SHIM = "io.containerd.runc.v2"
#: containerd's default for images that set none, in oci.WithImageConfigArgs.
SETS_VARIABLES = frozenset({"PATH"})
_ARCHIVE = (Path(__file__).parents[1] / "node" / "oci_archive.py").read_text()


class Launcher:
    """See :class:`conformance.launchers.Launcher`."""

    features = frozenset({
        Feature.RUN, Feature.ANNOTATIONS, Feature.STDIN, Feature.IMAGES, Feature.HOOKS, Feature.OCI_CONFIG,
        Feature.ENGINE_COMMAND,
    })  # fmt: skip
    sets_variables = SETS_VARIABLES
    cli: CtrCli
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
        containerd = program_on_node(self.path.components, "containerd") or "containerd"
        programs = {self.path.runtime: self.runtime, "ctr": self.binary, "containerd": containerd}
        versions = preflight.look_at(self.node, self.path, programs, self.library_path)
        self.node.do(s.Write(self.hook_file, proof.hook_of(self.path, by_annotation=True)))
        program = preflight.words(self.library_path, next(iter(versions.digests)))
        hooked = hooked_runtime.install(self.node, self.path, self.hook_file, program)
        self.daemon = services.need(self.node, "containerd-for-ctr", daemon=containerd)
        self.cli = CtrCli(
            self.node, self.path,
            command=(self.binary, f"--address={self.daemon.directory}/containerd.sock", f"--namespace={NAMESPACE}"),
            run_options=(f"--runtime={SHIM}", f"--runc-binary={hooked}"),
            pull_options=("--plain-http",),
            state=f"{self.daemon.directory}/state/io.containerd.runtime.v2.task/{NAMESPACE}/*",
            health=(self.daemon.has_ended, self.daemon.check),
        )  # fmt: skip
        self.cli.hook = proof.hook_command(self.path, self.hook_file)
        self.cli.before_run = self.cli.configuration
        return versions

    def run(self, spec: ContainerSpec) -> RunResult:
        """``ctr run --rm``, once more where nothing of the guest was heard.

        ctr stops to read as soon as it hears of the guest's end (containerd issue 5741), so on a busy machine one
        of some hundred containers seems to have said nothing. One that is silent twice is.
        """
        result = self.cli.run(spec)
        if not spec.nonce or result.timed_out or not result.snapshot or result.stdout or result.stderr:
            return result
        again = self.cli.run(spec)
        return replace(again, commands=(*result.commands, *again.commands))

    def launch(self, spec: ContainerSpec) -> CliContainer:
        """See :meth:`conformance.container_cli.ContainerCli.launch`."""
        return self.cli.launch(spec)

    def cleanup(self, containers: Sequence[tuple[str, int]]) -> None:
        """See :class:`conformance.launchers.Launcher`."""
        self.cli.cleanup(containers)


class CtrCli(ContainerCli):
    """What ctr says in other words than podman and docker.

    Attributes:
        hook: the createRuntime hook that takes the snapshot; a configuration in a file holds it among its own.
    """

    hook: tuple[str, ...] = ()

    def import_command(self, rootfs: str, name: str) -> list[str]:
        """See :meth:`conformance.container_cli.ContainerCli.import_command`."""
        pipe = 'python3 -I -S -c "$1" "$2" "$3" "{}" | { shift 3; "$@"; }'
        return ["sh", "-c", pipe, "sh", _ARCHIVE, rootfs, name, *self.command, "images", "import", "-"]

    def load(self, archive: str, name: str) -> Completed:
        """``images import``, of whatever platform the image is."""
        return self._done("images", "import", "--all-platforms", "--no-unpack", archive)

    def pull(self, reference: str, platform: str = "") -> Completed:
        """``images pull`` from the registry on the node."""
        options = [*self.pull_options, *([f"--platform={platform}"] if platform else [])]
        return self._done("images", "pull", *options, reference)

    def inspect(self, image: str) -> Said:
        """Name and digest, under the key that podman and docker use; empty where there is no such image."""
        rows = self._done("images", "list", f"name=={image}").stdout.decode("utf-8", "replace").splitlines()[1:]
        return Said({"RepoDigests": [f"{image}@{row.split()[2]}" for row in rows if len(row.split()) > 2]})

    def argv(self, spec: ContainerSpec, own: Sequence[str], *more: str) -> list[str]:
        """The command line of ``run``; see :meth:`conformance.container_cli.ContainerCli.argv`."""
        words = [*spec.wrapped_in, *self.command, "run", *self.run_options, *more]
        if own:
            return [*words, *own, spec.id]
        image = spec.image or self.image_of(spec.rootfs)
        return [*words, *self._options(spec), image, spec.id, *spec.program, *spec.args]

    def _options(self, spec: ContainerSpec) -> list[str]:
        words = [f"--cgroup={self._cgroups_path(spec.id)}"]
        if not spec.image:  # otherwise the image says who and where, unless a check does
            words += [f"--user={spec.uid}:{spec.gid}", f"--cwd={spec.cwd}"]
        words += [f"--env={variable}" for variable in spec.env]
        words += ["--read-only"] if spec.read_only_root else []
        words += [f"--platform={spec.platform}"] if spec.platform else []
        for m in spec.mounts:
            how = "rbind:ro" if m.read_only else "rbind:rw"
            words.append(f"--mount=type=bind,src={m.source},dst={m.destination},options={how}")
        annotations = {**spec.annotations, SNAPSHOT_ANNOTATION: self.snapshot_file(spec.id)}
        return words + [f"--annotation={key}={value}" for key, value in annotations.items()]

    def configuration(self, spec: ContainerSpec) -> tuple[list[s.Step], list[str]]:
        """For what no option says: the whole configuration in a file, with the steps that write it."""
        if not (spec.oci or spec.hooks or spec.extra_mounts or spec.additional_gids or spec.limits != Limits()):
            return [], []
        ours = {"path": self.hook[0], "args": list(self.hook)}
        config = oci_config.configuration(
            spec, cgroups_path=self._cgroups_path(spec.id),
            hooks={**spec.hooks, "createRuntime": [ours, *spec.hooks.get("createRuntime", [])]},
            cgroup_v2=self.node.facts["cgroup_mode"] == "v2",
        )  # fmt: skip
        config["annotations"] = {**config.get("annotations", {}), SNAPSHOT_ANNOTATION: self.snapshot_file(spec.id)}
        file = f"{self.base}/config-{spec.id}.json"
        return [s.Write(file, json.dumps(config, indent=1).encode())], [f"--config={file}"]

    def _cgroups_path(self, container_id: str) -> str:
        return f"{self.cgroup_of(container_id)}/container"

    def removal(self, container_id: str) -> list[list[str]]:
        """See :meth:`conformance.container_cli.ContainerCli.removal`."""
        return [["tasks", "rm", "--force", container_id], ["containers", "rm", container_id]]

    def killing(self, container_id: str, signal: str) -> list[str]:
        """See :meth:`conformance.container_cli.ContainerCli.killing`."""
        return ["tasks", "kill", f"--signal={signal}", container_id]

    def executing(self, container_id: str, argv: Sequence[str]) -> list[str]:
        """See :meth:`conformance.container_cli.ContainerCli.executing`."""
        return ["tasks", "exec", "--exec-id=second", container_id, *argv]
