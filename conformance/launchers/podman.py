"""podman: no daemon; conmon stands between podman and the low-level runtime.

Each session has a store of its own, so nothing of the machine's own podman is seen or touched.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from conformance import preflight, proof
from conformance.container_cli import IMAGE_TIMEOUT_SECONDS, CliContainer, ContainerCli
from conformance.launchers import Versions
from conformance.model import ContainerSpec, Feature, RunResult, RuntimePath
from conformance.node import Node, completed
from conformance.node import steps as s

#: Variables that podman-run(1) says it sets in every container.
SETS_VARIABLES = frozenset({"PATH", "HOME", "HOSTNAME", "container"})
#: Empties podman's run-time directories in the store $1 where the node has restarted: elsewhere they lie in /run,
#: and podman refuses those of another boot.
_AFTER_A_RESTART = """
boot=$(cat /proc/sys/kernel/random/boot_id)
[ "$boot" = "$(cat "$1/boot" 2>/dev/null)" ] || rm -rf "$1/run" "$1/tmp"
mkdir -p "$1"
echo "$boot" >"$1/boot"
"""


class Launcher:
    """See :class:`conformance.launchers.Launcher`."""

    features = frozenset({
        Feature.RUN, Feature.ANNOTATIONS, Feature.STDIN, Feature.IMAGES, Feature.ENGINE_COMMAND, Feature.STOP,
        Feature.HOOKS,
    })  # fmt: skip
    sets_variables = SETS_VARIABLES

    def __init__(self, node: Node, path: RuntimePath, binary: str, runtime: str = "") -> None:
        self.node, self.path, self.binary, self.runtime = node, path, binary, runtime
        self.store = store = node.directory / "podman"
        self.hook_file = str(node.directory / path.name / "snapshot.sh")
        self.hooks = str(node.directory / path.name / "hooks")
        self.keep_bundles = False
        self.library_path: tuple[str, ...] = ()
        self.cli = ContainerCli(
            node, path,
            command=(
                "env", "PODMAN_IGNORE_CGROUPSV1_WARNING=1", binary, f"--root={store}/root", f"--runroot={store}/run",
                f"--tmpdir={store}/tmp", "--cgroup-manager=cgroupfs", "--events-backend=none",
            ),
            # a read-only root and nothing more: podman would lay its own writable /run, /tmp and /var/tmp over it
            run_options=("--cgroups=no-conmon", "--read-only-tmpfs=false"),
            pull_options=("--tls-verify=false",),
            state=f"{store}/root/overlay-containers/*/userdata",
            before_run=self._own_options,
        )  # fmt: skip

    def preflight(self) -> Versions:
        """See :class:`conformance.launchers.Launcher`."""
        versions = preflight.look_at(
            self.node, self.path, {self.path.runtime: self.runtime, "podman": self.binary}, self.library_path
        )
        self.cli.must(["sh", "-c", _AFTER_A_RESTART, "sh", str(self.store)], "use its store")
        self.cli.command = (*preflight.words(self.library_path), *self.cli.command)
        # by its file: podman looks for a name in a list of its own
        self.runtime = next(iter(versions.digests))
        command = proof.hook_command(self.path, self.hook_file)
        ours = {"createRuntime": [{"path": command[0], "args": list(command)}]}
        self.node.batch(_hook_files(self.hooks, "00-snapshot", ours))
        self.node.do(s.Write(self.hook_file, proof.hook_of(self.path, by_annotation=True)))
        return versions

    def _own_options(self, spec: ContainerSpec) -> tuple[list[s.Step], list[str]]:
        """Global options for one container, with the steps that write what they name."""
        words = [f"--runtime={spec.binary or self.runtime}", f"--hooks-dir={self.hooks}"]
        if not spec.hooks:
            return [], words
        directory = f"{self.node.directory}/{self.path.name}/hooks-{spec.id}"
        return _hook_files(directory, "50-check", spec.hooks), [*words, f"--hooks-dir={directory}"]

    def run(self, spec: ContainerSpec) -> RunResult:
        """``podman run``."""
        return self._run_of_a_user(spec) if spec.rootless else self.cli.run(spec)

    def _run_of_a_user(self, spec: ContainerSpec) -> RunResult:
        """``podman run`` in an ordinary user's own systemd session, with that user's own store.

        The snapshot is root's, taken while the guest waits for its standard input: a hook of the user's may
        not look at all of its process.
        """
        node = self.node
        place = f"{node.directory}/{self.path.name}/of-a-user"
        session = ["systemd-run", "--quiet", "--user", f"--machine={node.facts['ordinary_user']}@.host", "--pipe",
                   "--wait", "--collect"]  # fmt: skip
        podman = [*session, self.binary, f"--root={place}/root", f"--runroot={place}/run", f"--tmpdir={place}/tmp"]
        image = f"localhost/{spec.id}"
        pipe = 'tar -C "$1" -c . | { shift; "$@"; }'
        node.do(s.Mkdir(place, 0o777))
        self.cli.must(
            ["sh", "-c", pipe, "sh", spec.rootfs, *podman, "import", "-", image], "make an image of an ordinary user's",
            IMAGE_TIMEOUT_SECONDS,
        )  # fmt: skip
        words = [f"--runtime={spec.binary or self.runtime}", "run", "--rm", "--interactive", f"--name={spec.id}"]
        words += ["--network=none", "--log-driver=none", *(f"--env={variable}" for variable in spec.env)]
        words += [f"--annotation={key}={value}" for key, value in spec.annotations.items()]
        run = s.Run(
            [*podman, *words, image, *spec.args], hold_stdin=True, timeout_seconds=spec.timeout_seconds, keep=True,
            until_output=proof.ANNOUNCEMENT.decode(), max_output_bytes=spec.max_output_bytes,
        )  # fmt: skip
        started = completed(run, node.batch([run])[0])
        asked = node.run([*podman, "inspect", "--format={{.State.Pid}}", spec.id]).stdout.strip()
        snapshot = node.snapshot(int(asked)) if asked.isdigit() else None
        ended = node.batch([s.Feed(started.handle, b"", True), s.Wait(started.handle, None, spec.timeout_seconds)])[1]
        done = replace(completed(s.Run(run.argv), ended), argv=tuple(run.argv))
        left = node.run([*podman, "ps", "--all", "--quiet"]).stdout.decode().split()
        node.batch([s.Run([*podman, "system", "reset", "--force"], timeout_seconds=60.0), s.Remove(place)])
        return proof.result(self.path, spec, done, (done.command,), snapshot, None, left)

    def launch(self, spec: ContainerSpec) -> CliContainer:
        """See :meth:`conformance.container_cli.ContainerCli.launch`."""
        return self.cli.launch(spec)

    def cleanup(self, containers: Sequence[tuple[str, int]]) -> None:
        """See :class:`conformance.launchers.Launcher`."""
        self.cli.cleanup(containers)


def _hook_files(directory: str, name: str, hooks: Mapping[str, Any]) -> list[s.Step]:
    """Files in the form of oci-hooks(5): used in the order of their names, and a name in a later directory wins."""
    files: list[s.Step] = []
    for stage, entries in hooks.items():
        for number, entry in enumerate(entries):
            text = {"version": "1.0.0", "hook": dict(entry), "when": {"always": True}, "stages": [stage]}
            files.append(s.Write(f"{directory}/{name}-{stage}-{number:02}.json", json.dumps(text).encode()))
    return files
