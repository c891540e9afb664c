"""A folder that shows what a check saw with the runtime alone: root file system, bundles
and a ``run.sh``, for a maintainer to run or to attach to an issue.

Made from the steps that the check sent to the node. What only observes (``/proc``, cgroup
files) is left out: the script is about what the runtime is asked and what it answers. Above a
low-level runtime stand podman and docker: there the script makes the image and repeats their
command line, with a store of its own (podman) or with the machine's own daemon (docker).
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from conformance.build.guests import Corpus
from conformance.container_cli import SNAPSHOT_ANNOTATION, ContainerCli
from conformance.errors import InfrastructureError
from conformance.launchers.oci import TAKE_A_SNAPSHOT
from conformance.node import steps as s
from conformance.node.steps import Step
from conformance.path_under_test import OpenPath

#: Those whose commands need no daemon of the harness.
LAUNCHERS = ("oci", "podman", "docker")
#: Replaced by the folder's own place when the script runs.
HERE = "@HERE@"
PID = "@PID@"
#: Orphans of the runtime become children of this process, as they would of conmon or a shim;
#: it notes how each ended, because nobody but the parent is told.
SUBREAPER = """\
import ctypes, os, subprocess, sys
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
shell = subprocess.Popen(["sh", *sys.argv[2:]], env={**os.environ, "WITH_PARENT": "1"}).pid
while True:
    pid, status = os.wait()
    code = os.waitstatus_to_exitcode(status)
    if pid == shell:
        sys.exit(code)
    with open(f"{sys.argv[1]}/ended.{pid}", "w") as file:
        file.write(f"exit {code}" if code >= 0 else f"signal {-code}")
"""
HEAD = """\
#!/bin/sh
# {title}
# Needs root, {needs} and nothing of the harness{more}
# RUNTIME={another} tries another build.
set -u
exec 2>&1
RUNTIME=${{RUNTIME:-{runtime}}}
folder=$(cd "$(dirname "$0")" && pwd)
if [ -z "${{HERE:-}}" ]; then
    HERE=$(mktemp -d)
    export HERE
    cp -a "$folder/." "$HERE/"
    find "$HERE" -name '*.in' | while read -r file; do
        sed "s#{here}#$HERE#g" "$file" > "${{file%.in}}"
    done
fi
spoke() {{ # wait until the guest has announced itself
    for _ in $(seq 100); do grep -q '^@guest ' "$HERE/out.$1" && break; sleep 0.1; done
}}
"""
#: Of a runtime that is started by itself.
OF_A_RUNTIME = """\
state=$HERE/state
ended() { # a container's id: how its process ended, when it has
    pid=$(cat "$HERE/bundles/$1/pid" 2>/dev/null)
    for _ in $(seq 100); do
        [ -e "$HERE/ended.$pid" ] && { echo "# the container's process ended: $(cat "$HERE/ended.$pid")"; break; }
        sleep 0.1
    done
    cat "$HERE/out.$1"; cat "$HERE/err.$1" >&2
}
finish() {
    [ -e "$HERE/ids" ] && sort -u "$HERE/ids" | while read -r id; do
        "$RUNTIME" --root "$state" delete --force "$id" 2>/dev/null
    done
    rm -rf "$HERE"
    find /sys/fs/cgroup -depth -type d -path '*/conformance-reproduction*' -exec rmdir {} \\; 2>/dev/null
}
"""
#: Of podman and docker: {command} with its global options, and how what the script made is forgotten.
OF_AN_ENGINE = """\
engine() {{ {command} "$@"; }}
ended() {{ # a container's id: wait for its command
    wait
    cat "$HERE/out.$1" "$HERE/err.$1"
}}
finish() {{
    [ -e "$HERE/ids" ] && sort -u "$HERE/ids" | while read -r id; do engine rm --force "$id" >/dev/null 2>&1; done
    engine {forget} >/dev/null 2>&1
    rm -rf "$HERE"
}}
"""
PARENT = """\
if [ -z "${WITH_PARENT:-}" ]; then
    python3 "$HERE/parent.py" "$HERE" "$0"
    code=$?
    finish
    exit "$code"
fi
"""


def write_reproduction(folder: Path, opened: OpenPath, corpus: Corpus, steps: Iterable[Step]) -> None:
    """Write the folder.

    Args:
        folder: is made; must not exist or be empty.
        opened: the path that the steps were sent to.
        corpus: where the guests' files are.
        steps: of one check, in order.

    Raises:
        InfrastructureError: it cannot be written.
    """
    cli = getattr(opened.launcher, "cli", None)
    writer = _EngineWriter(folder, opened, corpus, cli) if cli else _Writer(folder, opened, corpus)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        writer.write(list(steps))
    except OSError as error:
        raise InfrastructureError(f"cannot write {error.filename or folder}: {error.strerror}") from error


class _Writer:
    def __init__(self, folder: Path, opened: OpenPath, corpus: Corpus) -> None:
        self.folder, self.opened, self.corpus = folder, opened, corpus
        self.node = opened.node
        base = str(self.node.directory)
        self.places = {
            f"{base}/content/{corpus.digest}/wasm": f"{HERE}/rootfs-wasm",
            f"{base}/content/{corpus.digest}/native": f"{HERE}/rootfs-native",
            f"{base}/{opened.path.name}": HERE,
            base: HERE,
        }
        self.lines: list[str] = []
        self.used: set[str] = set()
        self.waits = False
        self.containers: dict[str, str] = {}

    def write(self, steps: list[Step]) -> None:
        for step in steps:
            self._step(step)
        self._roots()
        head = self._head()
        body = "\n".join(self.lines)
        if self.waits:
            (self.folder / "parent.py").write_text(SUBREAPER)
            script = f"{head}{PARENT}{body}\nexit 0\n"
        else:
            script = f"{head}trap finish EXIT\n{body}\nexit 0\n"
        run = self.folder / "run.sh"
        run.write_text(script)
        run.chmod(0o755)

    def _head(self) -> str:
        binary = self.opened.path.binary
        return HEAD.format(
            title=self.opened.path.summary, needs=binary, runtime=binary, another=f"/path/to/your/{binary}", here=HERE,
            more="; where it waits for a container's process, python3 too" if self.waits else "",
        ) + OF_A_RUNTIME  # fmt: skip

    def _step(self, step: Step) -> None:
        if isinstance(step, s.Write):
            self._file(step)
        elif isinstance(step, s.Mkdir):
            self.lines.append(f"mkdir -p {self._shell(step.path)}")
        elif isinstance(step, s.Run):
            self._run(step)
        elif isinstance(step, s.Output) and step.timeout_seconds > 0:
            self.lines.append(f"spoke {self._last()}")
        elif isinstance(step, s.Feed) and step.close:
            self.lines.append(f'kill "$(cat "$HERE/holder.{self._last()}")" 2>/dev/null')
        elif isinstance(step, s.Wait):
            self.waits = True
            self.lines.append(f"ended {self._last()}")
        elif isinstance(step, s.Read) and not any(place in step.path for place in ("/bundles/", "/snapshots/")):
            self.lines.append(
                f"echo {shlex.quote('# ' + Path(step.path).name + ':')}; cat {self._shell(step.path)}; echo"
            )

    def _last(self) -> str:
        return next(reversed(self.containers), "none")

    def _file(self, step: s.Write) -> None:
        target = self._place(step.path)
        inside = self.folder / target.removeprefix(f"{HERE}/")
        inside.parent.mkdir(parents=True, exist_ok=True)
        if target.endswith("/config.json"):
            config = self._config(json.loads(step.data))
            name = inside.with_name("config.json.in")
            if name.exists() or inside.exists():  # rewritten after create: belongs into the script's flow
                later = inside.with_name("config.json.later.in")
                later.write_text(config)
                self.lines.append(f'cp "{self._variable(target)}.later" "{self._variable(target)}"')
            else:
                name.write_text(config)
        else:
            inside.write_bytes(step.data)

    def _config(self, config: dict[str, Any]) -> str:
        """The bundle's configuration without our own hook, and with the folder's own paths."""
        hooks = config.get("hooks", {})
        ours = [h for h in hooks.get(TAKE_A_SNAPSHOT, []) if self.opened.launcher.hook_file not in h.get("args", [])]
        hooks = {**hooks, TAKE_A_SNAPSHOT: ours}
        config["hooks"] = {name: entries for name, entries in hooks.items() if entries}
        self.used.update(Path(a).name for a in config.get("process", {}).get("args", [])[:1])
        self.used.update(Path(m["source"]).name for m in config.get("mounts", []) if "source" in m)
        config.get("linux", {})["cgroupsPath"] = f"/conformance-reproduction/{config.get('hostname', 'c')}"
        return self._place(json.dumps(config, indent=1))

    def _run(self, step: s.Run) -> None:
        argv = list(step.argv)
        self.used.update(Path(word).name for word in argv)
        runtime = next((i for i, word in enumerate(argv) if word == "--root"), None)
        if runtime is None:
            self.lines.append(" ".join(self._shell(word) for word in argv) + ' || echo "# exit status $?"')
            return
        words = [self._shell(word) for word in argv]
        words[runtime - 1] = '"$RUNTIME"' if argv[runtime - 1] == self.opened.launcher.binary else words[runtime - 1]
        words[runtime + 1] = '"$state"'
        command = " ".join(words)
        name, container = argv[runtime + 2], argv[-1]
        if name in ("run", "create"):
            container = argv[-1]
            self.lines.append(f'echo {shlex.quote(container)} >> "$HERE/ids"')
        source = self._input(step, container)
        self.lines.append(f"echo '$ {name} {container}'")
        if step.keep:
            self.containers[container] = name
            background = " &" if step.until_output is not None else ""
            self.lines.append(f'{command} {source} > "$HERE/out.{container}" 2> "$HERE/err.{container}"{background}')
            self.lines.append(f"spoke {container}" if background else 'echo "# exit status $?"')
        else:
            self.lines.append(f'{command} {source}; echo "# exit status $?"')

    def _input(self, step: s.Run, container: str) -> str:
        if step.hold_stdin:
            self.lines.append(f'mkfifo "$HERE/in.{container}"')
            self.lines.append(f'sleep 600 > "$HERE/in.{container}" & echo $! > "$HERE/holder.{container}"')
            return f'< "$HERE/in.{container}"'
        if step.stdin:
            (self.folder / f"in.{container}").write_bytes(step.stdin)
            return f'< "$HERE/in.{container}"'
        return "< /dev/null"

    def _place(self, text: str) -> str:
        for theirs, ours in self.places.items():
            text = text.replace(theirs, ours)
        return text

    def _variable(self, placed: str) -> str:
        return placed.replace(HERE, "$HERE")

    def _shell(self, word: str) -> str:
        placed = self._place(word)
        # a process id of the recorded run: here it is the one in the container's pid file
        placed = re.sub(r"^/proc/\d+/", f"/proc/{PID}/", placed)
        if HERE not in placed and PID not in placed:
            return shlex.quote(placed)
        escaped = placed.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$").replace("`", "\\`")
        pid = f'$(cat "$HERE/bundles/{self._last()}/pid")'
        return f'"{self._variable(escaped).replace(PID, pid)}"'

    def _roots(self) -> None:
        """The root file systems, with the guests that the check used and no others."""
        guests = {g.wasm for g in self.corpus.guests.values()} | {
            g.native for g in self.corpus.guests.values() if g.native
        }
        for kind in ("wasm", "native"):
            target = self.folder / f"rootfs-{kind}"
            for source in (self.corpus.path / kind).iterdir():
                if source.name in guests and source.name not in self.used:
                    continue
                target.mkdir(exist_ok=True)
                if source.is_dir():
                    shutil.copytree(source, target / source.name, symlinks=True)
                else:
                    shutil.copy2(source, target / source.name)


class _EngineWriter(_Writer):
    """For podman and docker: the images that the check used are made first, then its command lines follow."""

    def __init__(self, folder: Path, opened: OpenPath, corpus: Corpus, cli: ContainerCli) -> None:
        super().__init__(folder, opened, corpus)
        self.cli = cli
        self.podman = opened.path.launcher == "podman"

    def write(self, steps: list[Step]) -> None:
        used = {word for step in steps if isinstance(step, s.Run) for word in step.argv}
        for rootfs, name in self.cli.images.items():
            if name in used:
                self.lines.append(f"tar -C {self._shell(rootfs)} -c . | engine import - {name} >/dev/null")
        super().write(steps)

    def _head(self) -> str:
        path = self.opened.path
        another, more = f"/path/to/your/{path.runtime}", ""
        forget = "system reset --force"
        if not self.podman:
            another, more = "NAME", f"; dockerd must know the runtime: --add-runtime {path.runtime}=FILE"
            forget = f"rmi --force {' '.join(self.cli.images.values())}"
        head = HEAD.format(
            title=path.summary, needs=f"{path.binary}, {path.runtime}", runtime=path.runtime, another=another,
            here=HERE, more=more,
        )  # fmt: skip
        # the machine's own daemon, not that of the harness
        command = " ".join(self._shell(word) for word in self.cli.command if not word.startswith("--host="))
        return head + OF_AN_ENGINE.format(command=command, forget=forget)

    def _step(self, step: Step) -> None:
        """Files that the harness needs (hooks that take a snapshot) are none of the engine's business."""
        if isinstance(step, s.Mkdir) or (isinstance(step, s.Write) and "/hooks" in step.path):
            return
        if isinstance(step, s.Wait):
            if self.containers:
                self.lines.append(f"ended {self._last()}")
            return
        super()._step(step)

    def _run(self, step: s.Run) -> None:
        argv = list(step.argv)
        length = len(self.cli.command)
        start = next((i for i in range(len(argv)) if tuple(argv[i : i + length]) == self.cli.command), None)
        if start is None:
            super()._run(step)
            return
        self.used.update(Path(word).name for word in argv)
        words = [*argv[:start], "engine", *self._asked(argv[start + length :])]
        name = argv[argv.index("--name") + 1] if "--name" in argv else ""
        if name:
            self.lines.append(f'echo {shlex.quote(name)} >> "$HERE/ids"')
        source = self._input(step, name)
        command = " ".join(self._shell(word) for word in words).replace("@RUNTIME@", '"$RUNTIME"')
        if step.keep:
            self.containers[name] = "run"
            self.lines.append(f'{command} {source} > "$HERE/out.{name}" 2> "$HERE/err.{name}" &')
            self.lines.append(f"spoke {name}")
        else:
            self.lines.append(f'{command} {source}; echo "# exit status $?"')

    def _asked(self, words: Iterable[str]) -> list[str]:
        """A command's words without what only lets the harness look, its low-level runtime as a variable."""
        asked: list[str] = []
        for word in words:
            if asked and asked[-1] == "--cgroup-parent":
                asked.pop()
            elif word.startswith("--runtime="):
                asked.append("--runtime=@RUNTIME@")
            elif not word.startswith(("--hooks-dir=", f"--annotation={SNAPSHOT_ANNOTATION}=")):
                asked.append(word)
        return asked
