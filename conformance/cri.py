"""Pods and containers in the words of the CRI API (v1), and the log files that it prescribes.

A spec becomes the configuration that a kubelet sends for a pod with one container: PID namespace
per container, network by CNI, cgroup parent given, log below the pod's log directory.
https://github.com/kubernetes/cri-api/blob/v0.36.0/pkg/apis/runtime/v1/api.proto
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from conformance.model import ContainerSpec

NAMESPACE = "conformance"
#: The label by which a container and its pod are found without their ids.
LABEL = "conformance"
#: ``NamespaceMode``: every container has PIDs of its own, the rest is shared by the pod.
POD, CONTAINER = 0, 1
#: ``Signal``, an enumeration of its own: numbers are not the kernel's.
SIGKILL = 13
#: A container's log file below its pod's log directory.
LOG = "log"
_LOG_LINE = re.compile(rb"(?P<time>\S+) (?P<stream>stdout|stderr) (?P<tags>\S+) (?P<text>.*)", re.DOTALL)


def pod_config(
    name: str, *, annotations: Mapping[str, str], cgroup_parent: str, log_directory: str,
    pid: int = CONTAINER, more: Mapping[str, Any] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """A ``PodSandboxConfig``.

    Args:
        name: of the pod; also its uid, label and host name.
        annotations: of the pod; they reach the OCI runtime where the handler is allowed to.
        cgroup_parent: in the form of the cgroupfs driver.
        log_directory: on the node.
        pid: ``NamespaceMode`` of the PID namespace.
        more: fields laid over the rest.
    """
    return {
        "metadata": {"name": name, "namespace": NAMESPACE, "uid": name, "attempt": 0},
        "hostname": name,
        "log_directory": log_directory,
        "labels": {LABEL: name},
        "annotations": dict(annotations),
        "linux": {
            "cgroup_parent": cgroup_parent,
            "security_context": {"namespace_options": {"pid": pid}},
        },
        **(more or {}),
    }


def container_config(
    spec: ContainerSpec,
    image: str,
    *,
    name: str = "guest",
    log: str = LOG,
    pid: int = CONTAINER,
    stdin_once: bool = True,
) -> dict[str, Any]:
    """A ``ContainerConfig`` for a spec.

    Args:
        spec: what the check asked for.
        image: that holds its root file system.
        name: of the container in its pod.
        log: file below the pod's log directory.
        pid: ``NamespaceMode`` of the PID namespace.
        stdin_once: standard input ends with the first attached client, as the API says of ``stdin_once``.
    """
    words = [*spec.program, *spec.args]
    # words for an image that a check brings are its Cmd; who runs it, where and what, that image says
    own = not spec.image
    limits = spec.limits
    # a kubelet names the usual period with every container, also where there is no quota
    resources = {"cpu_period": limits.cpu_period_us}
    if limits.memory_bytes is not None:
        # swap equal to memory: no swap, so the limit is the limit
        resources |= {"memory_limit_in_bytes": limits.memory_bytes, "memory_swap_limit_in_bytes": limits.memory_bytes}
    if limits.cpu_quota_us is not None:
        resources |= {"cpu_quota": limits.cpu_quota_us}
    reads = bool(spec.stdin) or spec.hold_stdin
    return {
        "metadata": {"name": name, "attempt": 0},
        "image": {"image": image},
        "command": words[:1] if own else [],
        "args": words[1:] if own else words,
        **({"working_dir": spec.cwd} if own else {}),
        "envs": [dict(zip(("key", "value"), variable.split("=", 1), strict=True)) for variable in spec.env],
        "mounts": [
            {"container_path": m.destination, "host_path": m.source, "readonly": m.read_only} for m in spec.mounts
        ],
        "labels": {LABEL: spec.id},
        "log_path": log,
        "stdin": reads,
        "stdin_once": reads and stdin_once,
        "tty": spec.tty,
        "linux": {
            "resources": resources,
            "security_context": {
                "namespace_options": {"pid": pid},
                **({"run_as_user": {"value": spec.uid}, "run_as_group": {"value": spec.gid}} if own else {}),
                "supplemental_groups": list(spec.additional_gids),
                "readonly_rootfs": spec.read_only_root,
                "no_new_privs": True,
            },
        },
    }


@dataclass(frozen=True)
class LogLine:
    """One line of a container's log file.

    Attributes:
        time: RFC 3339 with nanoseconds, as written.
        stream: ``stdout`` or ``stderr``.
        tags: separated by colons; the first is ``P`` (the line goes on) or ``F``.
        text: what the container wrote, without the line end.
    """

    time: str
    stream: str
    tags: str
    text: bytes

    @property
    def partial(self) -> bool:
        return self.tags.partition(":")[0] == "P"


def log_lines(log: bytes) -> list[LogLine]:
    """The lines of a log file; one in another form has the stream ``?``.

    >>> log_lines(b"2016-10-06T00:17:09.669794202Z stdout P log\\n")[0].text
    b'log'
    """
    lines = []
    for line in log.removesuffix(b"\n").split(b"\n") if log else []:
        found = _LOG_LINE.fullmatch(line)
        if found:
            time, stream, tags = (found[k].decode("ascii", "replace") for k in ("time", "stream", "tags"))
            lines.append(LogLine(time, stream, tags, found["text"]))
        else:
            lines.append(LogLine("", "?", "F", line))
    return lines


def streams(lines: Sequence[LogLine]) -> tuple[bytes, bytes]:
    """Both streams put together again."""
    joined = {"stdout": bytearray(), "stderr": bytearray(), "?": bytearray()}
    for line in lines:
        joined[line.stream] += line.text + (b"" if line.partial else b"\n")
    return bytes(joined["stdout"]), bytes(joined["stderr"] + joined["?"])
