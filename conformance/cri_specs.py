"""The specs of critest, cri-tools' own check of a CRI runtime: run by critest itself, told apart here.

critest is run once for a path, as its documentation says
(https://github.com/kubernetes-sigs/cri-tools/blob/v1.36.0/docs/validation.md), and writes Ginkgo's report
(https://pkg.go.dev/github.com/onsi/ginkgo/v2/types#Report). What that says of a spec is a :class:`Spec`; what
keeps it from saying so is raised. The images that the specs pull are made on the node, of BusyBox, and served
there: the services' configurations send every registry's name to the one on the node.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from conformance import documents, services
from conformance.build.component import program_on_node
from conformance.errors import InfrastructureError, UsageError
from conformance.launchers.crictl import ENDS_SECONDS, HANDLER, Launcher
from conformance.model import Completed
from conformance.node import Node
from conformance.node import steps as s

#: CRI-O's handler for nodes that may not lower oom_score_adj; containerd has a setting for them.
UNADJUSTED = f"{HANDLER}-unadjusted"
#: Beside the checks: critest's specs, and the images that they pull.
LISTED, IMAGES = "specs.yaml", "images.yaml"
#: What the images are made of.
COMPONENT = "busybox"
#: A native run took 4 minutes; some specs wait for a minute before they fail.
TIMEOUT_SECONDS = 1500
COMMAND_TIMEOUT_SECONDS = 60.0
#: One of the images, by a name that no registry has but the node's own.
PROBE = "elsewhere.example.io/pause:3.9"
MAX_REPORT_BYTES = 64 * 1024 * 1024
LOG_LINES = 20
#: Ginkgo's states of a spec that was judged; all others mean that it was not.
JUDGED = ("passed", "failed", "skipped")
#: Pointers, UUIDs, ids, measured seconds.
_NEW_EACH_TIME = re.compile(r"0x[0-9a-f]{5,}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{12,}|\d+\.\d{3}s")
MAX_SAID = 400
#: What stands before each spec in Ginkgo's eyes, and the label that marks some.
_DESCRIPTION, _PREFIX, _LABEL = "CRI validation", "[k8s.io] ", " [Conformance]"
#: Makes the root file system of the images, in the working directory; $1 is BusyBox.
_ROOT = r"""
set -e
mkdir -p bin etc tmp run var www suid root proc dev sys
chmod 1777 tmp
ln -s ../run var/run
cp "$1" bin/busybox
bin/busybox --install bin
# shows whose uid a program has that changes it; the applets give none up
cp bin/busybox suid/id
chmod 4755 suid/id
echo it works >www/index.html
cat >etc/passwd <<END
root:x:0:0:root:/root:/bin/sh
www-data:x:33:33:www-data:/www:/bin/sh
nobody:x:65534:65534:nobody:/:/bin/sh
default-user:x:1000:1000::/:/bin/sh
END
cat >etc/group <<END
root:x:0:
www-data:x:33:
default-user:x:1000:
group-defined-in-image:x:50000:default-user
nogroup:x:65534:
END
# A web server that is known by the name and the pid file of another: the specs ask for these.
# It is a script to the end, because a program is shown by its own name.
cat >bin/nginx <<END
#!/bin/sh
echo \$\$ >/var/run/nginx.pid
trap 'kill \$!; exit' TERM
httpd -f -p "\$PORT" -h /www &
wait
END
chmod 755 bin/nginx
"""
#: What kube-proxy does on a node so that a pod's port is reached from the node's own loopback. Prints what
#: :data:`_AFTER` has to know: how that was before, and the segments of shared memory that there are.
_BEFORE = r"""
cat /proc/sys/net/ipv4/conf/all/route_localnet
awk 'NR > 1 { printf "%s ", $2 }' /proc/sysvipc/shm
echo 1 >/proc/sys/net/ipv4/conf/all/route_localnet
iptables -t nat -A POSTROUTING -s 127.0.0.0/8 ! -d 127.0.0.0/8 -j MASQUERADE
"""
#: Undoes that and removes what a spec that failed has left: pods, mounts below $1, shared memory but that in $3;
#: $2: the setting as it was, $4...: crictl.
_AFTER = r"""
place=$1 setting=$2 before=$3
shift 3
"$@" rmp --all --force
iptables -t nat -D POSTROUTING -s 127.0.0.0/8 ! -d 127.0.0.0/8 -j MASQUERADE
echo "$setting" >/proc/sys/net/ipv4/conf/all/route_localnet
sed -n "s|^[^ ]* [^ ]* [^ ]* [^ ]* \($place/[^ ]*\) .*|\1|p" /proc/self/mountinfo | sort -r | xargs -r -n1 umount
for id in $(awk 'NR > 1 { print $2 }' /proc/sysvipc/shm); do
    case " $before " in *" $id "*) ;; *) ipcrm -m "$id" ;; esac
done
"""
_PUSH = (Path(__file__).parent / "node" / "push_images.py").read_text()


@dataclass(frozen=True)
class Group:
    """Specs that one check is about.

    Attributes:
        name: as ``@critest`` spells it.
        specs: their texts, as critest has them.
    """

    name: str
    specs: tuple[str, ...]


@dataclass(frozen=True)
class Listed:
    """``specs.yaml``: every spec that critest has.

    Attributes:
        version: of cri-tools.
        unavailable: texts of specs that can run on no node of ours, and why.
    """

    version: str
    groups: tuple[Group, ...]
    unavailable: dict[str, str] = field(default_factory=dict)
    file: Path = Path()
    line: int = 0

    @property
    def texts(self) -> tuple[str, ...]:
        """The texts of all of them, in the list's order."""
        return tuple(name for group in self.groups for name in group.specs)

    def of(self, group: str) -> tuple[str, ...]:
        """Those of a group.

        Raises:
            UsageError: no such group; names the nearest.
        """
        known = {one.name: one.specs for one in self.groups}
        if group not in known:
            close = documents.nearest(group, known)
            raise UsageError(f"{self.file}:1: no group '{group}'" + (f"; did you mean '{close}'?" if close else ""))
        return known[group]


@dataclass(frozen=True)
class Image:
    """An image that specs pull.

    Attributes:
        names: repository and tag, each of them.
        config: ``config`` of the image's configuration.
    """

    names: tuple[str, ...]
    config: dict[str, Any]


@dataclass(frozen=True)
class Spec:
    """What critest says of one of its specs.

    Attributes:
        state: ``passed``, ``failed`` or ``skipped``.
        said: the failed assertion's words, or why it was skipped; what differs from run to run is left out.
        at: where in critest's sources it failed, ``file:line``.
        seconds: that it took.
        output: what it logged.
        command: that runs it alone.
    """

    name: str
    state: str
    said: str = ""
    at: str = ""
    seconds: float = 0.0
    output: str = ""
    command: str = ""

    @property
    def failure(self) -> str:
        """Where it failed and what was said; empty where it passed. Assert on this."""
        return "" if self.state == "passed" else f"{self.at}: {self.said}"


@cache
def listed(file: Path) -> Listed:
    """Read ``specs.yaml``.

    Raises:
        UsageError: a mistake in it, a name that is there twice, or one unavailable that is not there.
    """
    rows = documents.load(file)
    if len(rows) != 1:
        raise UsageError(f"{file}:1: a list of specs is one mapping, found {len(rows)}")
    found = documents.fill(Listed, rows[0], file)
    seen: set[str] = set()
    for name in found.texts:
        if name in seen:
            raise UsageError(f"{file}:1: the spec '{name}' is there twice")
        seen.add(name)
    for name in set(found.unavailable) - seen:
        close = documents.nearest(name, seen)
        raise UsageError(f"{file}:1: no spec is named '{name}'" + (f"; did you mean '{close}'?" if close else ""))
    return found


def run(launcher: Launcher, wanted: Collection[str], directory: Path) -> dict[str, Spec]:
    """Run critest against a path's CRI runtime and handler; nothing of it is left on the node.

    Args:
        launcher: of the path, looked at.
        wanted: texts of the specs to run.
        directory: of ``specs.yaml`` and ``images.yaml``.

    Raises:
        InfrastructureError: its images cannot be made, it or the CRI runtime ended by itself, it judged no spec or
            not all of them, or its specs are not those listed.
    """
    node, known = launcher.node, listed(directory / LISTED)
    program = program_on_node(launcher.path.components, "critest")
    _serve_images(node, directory / IMAGES)
    place = f"{launcher.service.directory}/critest"
    handler = launcher.handler
    if launcher.path.binary == "crio" and not node.facts["cap_sys_resource"]:
        handler = UNADJUSTED
    timeout = int(TIMEOUT_SECONDS * node.pace)
    base = [
        "env", f"TMPDIR={place}", program or "critest",
        f"-runtime-endpoint=unix://{launcher.service.directory}/{launcher.path.binary}.sock",
        f"-runtime-handler={handler}", "-ginkgo.no-color", "-ginkgo.seed=1", f"-ginkgo.timeout={timeout}s",
    ]  # fmt: skip
    report = f"{place}/report.json"
    argv = [*base, f"-ginkgo.json-report={report}", *chosen(wanted, known.texts)]
    images = _images(launcher)
    before = node.run(["sh", "-c", _BEFORE]).stdout.decode().partition("\n")
    node.batch([s.Remove(place), s.Mkdir(place, 0o755)])
    try:
        _try_to_pull(launcher)
        logged = ["sh", "-c", 'exec "$@" >"$0" 2>&1', f"{place}/log", *argv]
        done = node.run(logged, timeout_seconds=TIMEOUT_SECONDS + COMMAND_TIMEOUT_SECONDS)
        # one that was killed on a busy node may still be ending
        waits = 0.0 if done.ok else ENDS_SECONDS
        launcher.service.check(node.do(s.Wait(launcher.service.handle, timeout_seconds=waits)))
        answer = node.batch([s.Read(report, MAX_REPORT_BYTES)])[0]
        if not answer.blobs:
            tail = node.run(["tail", "-n", str(LOG_LINES), f"{place}/log"]).stdout.decode("utf-8", "backslashreplace")
            raise InfrastructureError(f"{node.name}: critest made no report ({done.how_it_ended()})\n{tail}")
        return judged(answer.blobs[0], wanted, known, base, done)
    finally:
        if not node.dead:
            _tidy(launcher, place, (before[0], before[2].strip()), images)


def chosen(wanted: Collection[str], texts: Sequence[str]) -> list[str]:
    """Options with which critest runs these specs: the shorter list of those to run and those not to.

    >>> chosen(["b c", "a"], ["a", "b c", "d [x]"])
    ['-ginkgo.skip=^CRI validation \\\\[k8s\\\\.io\\\\] d \\\\[x\\\\]$']
    """
    others = [text for text in texts if text not in wanted]
    if len(others) < len(wanted):
        return [f"-ginkgo.skip={_pattern(text)}" for text in others]
    return [f"-ginkgo.focus={_pattern(text)}" for text in texts if text in wanted]


def _pattern(text: str) -> str:
    words = re.escape(f"{_DESCRIPTION} {_PREFIX}{text}").replace("\\ ", " ")
    return f"^{words}$"


def plain(text: str) -> str:
    """A spec's text without label, as records and expectations name it.

    >>> plain("Multiple Containers [Conformance] when running")
    'Multiple Containers when running'
    """
    return text.replace(_LABEL, "")


def judged(
    report: bytes, wanted: Collection[str], known: Listed, base: Sequence[str], done: Completed
) -> dict[str, Spec]:
    """What a report of Ginkgo's says of the wanted specs.

    Args:
        report: JSON.
        wanted: texts of specs that were to run.
        known: every spec that critest should have.
        base: the command without the choice of specs.
        done: how critest ended.

    Raises:
        InfrastructureError: it is no such report, the suite did not come to its end, a wanted spec was not judged,
            critest has other specs, or its exit code says otherwise.
    """
    try:
        suites = json.loads(report)
        nodes = [node for suite in suites for node in suite["SpecReports"] or []]
        why = [reason for suite in suites for reason in suite["SpecialSuiteFailureReasons"] or []]
        found = {text_of(node): _spec(node, base) for node in nodes if node["LeafNodeType"] == "It"}
        broken = [_said(node) for node in nodes if node["LeafNodeType"] != "It" and node["State"] not in JUDGED[::2]]
    except (ValueError, KeyError, TypeError) as error:
        raise InfrastructureError(f"critest's report is none: {type(error).__name__}: {error}") from error
    if why or broken:
        raise InfrastructureError(f"critest did not come to its end: {'; '.join([*why, *broken])}")
    others = [name for name in found if name not in known.texts and " benchmark " not in name]
    missing = [name for name in wanted if name not in found]
    if others or missing:
        raise InfrastructureError(
            f"critest's specs are not those of {known.file.name} ({known.version}):"
            f" {len(others)} not listed, {len(missing)} not there: {', '.join([*others, *missing][:3])}"
        )
    unjudged = [name for name in wanted if found[name].state not in JUDGED or _left_out(found[name])]
    if unjudged:
        state = found[unjudged[0]].state
        raise InfrastructureError(f"critest did not judge {len(unjudged)} specs: {unjudged[0]} ({state})")
    failed = any(found[name].state == "failed" for name in wanted)
    if done.exit_code != (1 if failed else 0):
        raise InfrastructureError(f"critest ended with {done.how_it_ended()}, its report has other results")
    return {name: found[name] for name in wanted}


def _left_out(spec: Spec) -> bool:
    """Ginkgo calls a spec skipped too that was not chosen; one that skips itself says why."""
    return spec.state == "skipped" and not spec.said


def _spec(node: Mapping[str, Any], base: Sequence[str]) -> Spec:
    text = text_of(node)
    location = (node.get("Failure") or {}).get("Location") or {}
    at = f"{Path(location['FileName']).name}:{location['LineNumber']}" if location.get("FileName") else ""
    output = node.get("CapturedGinkgoWriterOutput", "") + node.get("CapturedStdOutErr", "")
    return Spec(
        plain(text), node["State"], _said(node), at, node["RunTime"] / 1e9, output,
        shlex.join([*base, f"-ginkgo.focus={_pattern(text)}"]),
    )  # fmt: skip


def text_of(node: Mapping[str, Any]) -> str:
    """The text of a spec of Ginkgo's report, as ``specs.yaml`` has it."""
    return " ".join([*(node["ContainerHierarchyTexts"] or []), node["LeafNodeText"]]).removeprefix(_PREFIX)


def _said(node: Mapping[str, Any]) -> str:
    words = " ".join(str((node.get("Failure") or {}).get("Message", "")).split())
    words = words.partition(" Unexpected error:")[0]  # the same again, with the error's type and fields
    said = _NEW_EACH_TIME.sub("…", words)
    return said if len(said) <= MAX_SAID else f"{said[:MAX_SAID]}…"


# ---- what is served to it


def _serve_images(node: Node, file: Path) -> None:
    """Make the images on the node and push them into its registry; once a session.

    Raises:
        InfrastructureError: something of that fails; with its own words.
    """
    place = f"{node.directory}/critest-images"
    registry = services.need(node, "registry", port=str(services.registry_port(node.session)))
    if node.do(s.Has(f"{place}/served")).fields["there"]:
        return
    busybox = program_on_node([COMPONENT], "busybox")
    images = [documents.fill(Image, row, file) for row in documents.load(file)]
    root = f"{place}/root"
    # a label, so that images of one configuration differ
    rows = [{"names": one.names, "config": {**one.config, "Labels": {"name": one.names[0]}}} for one in images]
    address = f"127.0.0.1:{registry.values['port']}"
    push = ["python3", "-I", "-S", "-c", _PUSH, address, root, json.dumps(rows)]
    _, *made = node.batch([
        s.Mkdir(root),
        s.Run(["sh", "-c", _ROOT, "sh", busybox], cwd=root, timeout_seconds=COMMAND_TIMEOUT_SECONDS),
        s.Run(push, timeout_seconds=COMMAND_TIMEOUT_SECONDS),
    ])  # fmt: skip
    for answer in made:
        if answer.error or answer.fields.get("exit_code") != 0:
            said = answer.blobs[1].decode("utf-8", "replace").strip()[-300:] if len(answer.blobs) > 1 else answer.error
            raise InfrastructureError(f"{node.name}: cannot make critest's images: {said}")
    node.do(s.Write(f"{place}/served", b""))


def _try_to_pull(launcher: Launcher) -> None:
    """Pull one image by the name of a registry elsewhere: where that fails, specs would say nothing of the runtime.

    Raises:
        InfrastructureError: it fails; with crictl's own words.
    """
    done = launcher.node.run([*launcher.crictl, "pull", PROBE], timeout_seconds=COMMAND_TIMEOUT_SECONDS)
    if not done.ok:
        launcher.look_at_daemon(done)
        said = done.stderr.decode("utf-8", "replace").strip()[-300:] or done.how_it_ended()
        raise InfrastructureError(f"{launcher.node.name}: critest's images cannot be pulled: {said}")


# ---- what it leaves


def _images(launcher: Launcher) -> set[str]:
    done = launcher.node.run([*launcher.crictl, "images", "--quiet", "--no-trunc"])
    return set(done.stdout.decode().split())


def _tidy(launcher: Launcher, place: str, before: tuple[str, str], images: Iterable[str]) -> None:
    argv = ["sh", "-c", _AFTER, "sh", place, *before, *launcher.crictl]
    launcher.node.run(argv, timeout_seconds=COMMAND_TIMEOUT_SECONDS)
    new = sorted(_images(launcher) - set(images))
    if new:
        launcher.node.run([*launcher.crictl, "rmi", *new], timeout_seconds=COMMAND_TIMEOUT_SECONDS)
    launcher.node.batch([s.Remove(place)])
