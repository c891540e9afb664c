"""Open a shell in a sandbox, with the guests and a bundle ready to run.

Without --node in a fresh sandbox that ends with the shell; with it in a node that --keep left,
or on a machine of the Vagrantfile.
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
from conformance.build.staging import machines
from conformance.cli.replay import REPOSITORY
from conformance.cli.stop import kept
from conformance.documents import fill, load, nearest
from conformance.errors import InfrastructureError, UsageError
from conformance.launchers.oci import Launcher
from conformance.model import RuntimePath
from conformance.path_under_test import PathUnderTest
from conformance.session import Session, Settings
from conformance.testbeds import as_root, sandbox, ssh, vagrant
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
    parser.add_argument(
        "--node", metavar="NAME", help="enter this kept session, or this machine, instead of a fresh sandbox"
    )


def run(options: argparse.Namespace) -> int:
    """See :class:`conformance.cli.Command`."""
    if not options.node:
        return _enter_fresh(options.runtime)
    if options.node in machines():
        return _enter_over_ssh(vagrant.enter(options.node))
    carried_by = kept().get(options.node)
    words = Path(f"/proc/{carried_by[1]}/cmdline").read_bytes().decode().split("\0")[:-1] if carried_by else []
    if words[:1] == ["ssh"]:
        reach = words[:-1]  # the last word is the agent
        look = ssh.as_root(shlex.join(["sh", "-c", LOOK_AROUND, "look", options.node]))
        subprocess.run([*reach, look], stdin=subprocess.DEVNULL, check=False)
        return _enter_over_ssh(reach)
    return _enter_kept(options.node)


def _enter_over_ssh(reach: list[str]) -> int:
    """A shell of the user who logs in; with a terminal where we have one."""
    terminal = ["-t"] if sys.stdin.isatty() else []
    return subprocess.run(["ssh", *terminal, *(w for w in reach[1:] if w != "-T")], check=False).returncode


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
        under_test = PathUnderTest(opened, session, "shell")
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
        close = nearest(session, [*known, *machines()])
        more = f"did you mean '{close}'?" if close else f"there are: {', '.join([*known, *machines()])}"
        raise UsageError(f"no sandbox or machine is called '{session}'; {more}")
    file = str(LOCKS / f"{session}.lock")
    text = Path(file).read_text() if os.geteuid() == 0 else subprocess.check_output(as_root(["cat", file]), text=True)
    described: dict[str, object] = json.loads(text)
    if "pid" not in described:
        raise InfrastructureError(f"sandbox {session} has not started yet", hint="try again")
    return described


def _progress(message: str) -> None:
    print(message, file=sys.stderr)
