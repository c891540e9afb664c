"""Open a shell in a sandbox, with the guests and a bundle ready to run.

Without --node in a fresh sandbox that ends with the shell; with it in one that --keep left.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

from conformance.build.guests import corpus
from conformance.cli.replay import REPOSITORY
from conformance.documents import fill, load, nearest
from conformance.errors import InfrastructureError, UsageError
from conformance.launchers.oci import Launcher
from conformance.model import RuntimePath
from conformance.session import PathUnderTest, Session, Settings
from conformance.testbeds import as_root, sandbox
from conformance.testbeds.enclosure import LOCKS

#: The shell joins the sandbox's cgroups first: nsenter changes the view of them, not the membership.
ENTER = """pid=$1; shift
while [ "$1" != -- ]; do
    [ -d "$1/agent" ] && echo $$ > "$1/agent/cgroup.procs" || echo $$ > "$1/cgroup.procs"
    shift
done
shift
exec nsenter --target "$pid" --all env --ignore-environment "TERM=${TERM:-dumb}" HOME=/root LANG=C.UTF-8 \\
    PATH=/opt/conformance/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@"
"""
#: What a kept sandbox holds, printed from the inside.
LOOK_AROUND = """cd "/var/lib/conformance/$1" || exit
for tree in content/*/wasm content/*/native; do echo "root file system: $PWD/$tree"; done
for bundle in */bundles/*; do [ -d "$bundle" ] && last=$bundle; done
[ -z "$last" ] || echo "the last bundle, to try again:
  ${last%%-*} --root /run/again run --bundle $PWD/$last again"
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """See :class:`conformance.cli.Command`."""
    parser.add_argument(
        "--runtime", default="crun-wasmedge", metavar="PATH", help="what the bundle is for (default: crun-wasmedge)"
    )
    parser.add_argument("--node", metavar="SESSION", help="enter this kept sandbox instead of a fresh one")


def run(options: argparse.Namespace) -> int:
    """See :class:`conformance.cli.Command`."""
    return _enter_kept(options.node) if options.node else _enter_fresh(options.runtime)


def _enter_kept(session: str) -> int:
    lock = _lock(session)
    looked = subprocess.run(_argv(lock, ["sh", "-c", LOOK_AROUND, "look", session]), check=False)
    if looked.returncode != 0:
        raise InfrastructureError(f"cannot enter sandbox {session}", hint="nsenter's own words are above")
    return subprocess.run(_argv(lock, ["bash"]), check=False).returncode


def _enter_fresh(name: str) -> int:
    path = _path(name)
    sandbox.prepare([path.node], _progress)
    session = Session(Settings("sandbox", corpus(_progress), {}))
    try:
        opened = session.open(path)
        launcher = opened.launcher
        if not isinstance(launcher, Launcher):
            raise UsageError(f"--runtime={name}: no bundle to show, {path.launcher} takes images")
        under_test = PathUnderTest(opened, session.settings.corpus, "shell")
        spec = under_test.spec("arguments", ["one two", "three"])
        bundle = launcher.bundle(spec)
        opened.node.batch(launcher.write_bundle(bundle, spec))
        lines = [
            f"root file systems: {opened.root.parent}/wasm  {opened.root.parent}/native",
            f"a bundle of guest 'arguments' for {path.name} (its config.json is yours to change):",
            f"  {_command(path, launcher.state_root, bundle)}",
        ]
        print("\n".join(lines), file=sys.stderr, flush=True)
        return subprocess.run(_argv(_lock(opened.node.session), ["bash"]), check=False).returncode
    finally:
        session.close()


def _path(name: str) -> RuntimePath:
    """From its file alone: a check that is being written must not keep the shell from opening."""
    files = {file.stem: file for file in (REPOSITORY / "suites" / "paths").glob("*.yaml")}
    if name not in files:
        close = nearest(name, files)
        more = f"did you mean '{close}'?" if close else f"known: {', '.join(sorted(files))}"
        raise UsageError(f"unknown runtime '{name}'; {more}")
    return fill(RuntimePath, load(files[name])[0], files[name])


def _command(path: RuntimePath, state_root: str, bundle: str) -> str:
    return shlex.join([path.binary, "--root", state_root, "run", "--bundle", bundle, "try-1"])


def _argv(lock: dict[str, object], command: list[str]) -> list[str]:
    cgroups = lock["cgroups"]
    assert isinstance(cgroups, list)
    return as_root(["sh", "-c", ENTER, "enter", str(lock["pid"]), *cgroups, "--", *command])


def _lock(session: str) -> dict[str, object]:
    """The description that a sandbox's keeper wrote; it holds the pid of the sandbox's first process.

    Raises:
        UsageError: no such sandbox.
    """
    listed = subprocess.run(as_root(["ls", "--", str(LOCKS)]), capture_output=True, text=True, check=False).stdout
    known = [name.removesuffix(".lock") for name in listed.split() if name.endswith(".lock")]
    if session not in known:
        close = nearest(session, known)
        more = f"did you mean '{close}'?" if close else f"there are: {', '.join(known) or 'none'}"
        raise UsageError(f"no sandbox is called '{session}'; {more}")
    file = str(LOCKS / f"{session}.lock")
    text = Path(file).read_text() if os.geteuid() == 0 else subprocess.check_output(as_root(["cat", file]), text=True)
    described: dict[str, object] = json.loads(text)
    if "pid" not in described:
        raise InfrastructureError(f"sandbox {session} has not started yet", hint="try again")
    return described


def _progress(message: str) -> None:
    print(message, file=sys.stderr)
