"""A ``config.json`` of the OCI runtime specification for a :class:`ContainerSpec`.

Kept close to what ``runc spec`` and the engines above it generate, so that a verdict
is about the configuration that users run.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from conformance.model import ContainerSpec

OCI_VERSION = "1.0.2"
#: The set that ``runc spec`` writes.
DEFAULT_CAPABILITIES = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]
MASKED_PATHS = [
    "/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
    "/proc/timer_stats", "/proc/sched_debug", "/sys/firmware", "/proc/scsi",
]  # fmt: skip
READONLY_PATHS = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]


def configuration(
    spec: ContainerSpec, *, cgroups_path: str, hooks: Mapping[str, Any], cgroup_v2: bool
) -> dict[str, Any]:
    """The whole configuration.

    Args:
        spec: what the check asked for; ``spec.oci`` is merged last.
        cgroups_path: absolute, in the form of the cgroupfs driver.
        hooks: as in config.md, POSIX-platform Hooks.
        cgroup_v2: the node's hierarchy; decides whether a cgroup namespace is asked for.
    """
    namespaces = ["pid", "network", "ipc", "uts", "mount"] + (["cgroup"] if cgroup_v2 else [])
    mounts = [
        _mount("/proc", "proc", "proc"),
        _mount("/dev", "tmpfs", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k"),
        _mount("/dev/pts", "devpts", "devpts", "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"),
        _mount("/dev/shm", "tmpfs", "shm", "nosuid", "noexec", "nodev", "mode=1777", "size=65536k"),
        _mount("/sys", "sysfs", "sysfs", "nosuid", "noexec", "nodev", "ro"),
        *(
            _mount(m.destination, "bind", m.source, "rbind", "ro" if m.read_only else "rw")
            for m in spec.mounts
        ),
        *(dict(m) for m in spec.extra_mounts),
    ]  # fmt: skip
    capabilities = dict.fromkeys(("bounding", "effective", "permitted"), DEFAULT_CAPABILITIES)
    config: dict[str, Any] = {
        "ociVersion": OCI_VERSION,
        "process": {
            "terminal": spec.tty,
            "user": {"uid": spec.uid, "gid": spec.gid, "additionalGids": list(spec.additional_gids)},
            "args": [*spec.program, *spec.args],
            "env": list(spec.env),
            "cwd": spec.cwd,
            "capabilities": capabilities,
            "noNewPrivileges": True,
        },
        "root": {"path": spec.rootfs, "readonly": spec.read_only_root},
        "hostname": "container",
        "mounts": mounts,
        "hooks": dict(hooks),
        "annotations": dict(spec.annotations),
        "linux": {
            "namespaces": [{"type": name} for name in namespaces],
            "cgroupsPath": cgroups_path,
            "resources": _resources(spec),
            "maskedPaths": MASKED_PATHS,
            "readonlyPaths": READONLY_PATHS,
        },
    }
    return merged(config, spec.oci)


def for_ordinary_user(config: Mapping[str, Any], uid: int) -> dict[str, Any]:
    """The configuration for a runtime that an ordinary user starts: one user is mapped, and no cgroup is made.

    Args:
        config: of a container that root would start.
        uid: user and group that become 0 in the container.
    """
    linux = {key: value for key, value in config["linux"].items() if key not in ("cgroupsPath", "resources")}
    mapping = [{"containerID": 0, "hostID": uid, "size": 1}]
    linux["namespaces"] = [*linux["namespaces"], {"type": "user"}]
    return {**config, "linux": {**linux, "uidMappings": mapping, "gidMappings": mapping}}


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with ``changes`` laid over it: mappings merge, ``None`` removes a key, the rest replaces."""
    result = dict(base)
    for key, value in changes.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, Mapping) and isinstance(result.get(key), Mapping):
            result[key] = merged(result[key], value)
        else:
            result[key] = value
    return result


def _mount(destination: str, kind: str, source: str, *options: str) -> dict[str, Any]:
    mount = {"destination": destination, "type": kind, "source": source}
    return {**mount, "options": list(options)} if options else mount


def _resources(spec: ContainerSpec) -> dict[str, Any]:
    limits = spec.limits
    resources: dict[str, Any] = {"devices": [{"allow": False, "access": "rwm"}]}
    if limits.memory_bytes is not None:
        # swap equal to memory: no swap, so the limit is the limit
        resources["memory"] = {"limit": limits.memory_bytes, "swap": limits.memory_bytes}
    if limits.pids is not None:
        resources["pids"] = {"limit": limits.pids}
    if limits.cpu_quota_us is not None:
        resources["cpu"] = {"quota": limits.cpu_quota_us, "period": limits.cpu_period_us}
    return resources
