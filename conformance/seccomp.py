"""The seccomp profile that podman and CRI-O apply by default, in the words of config-linux.md.

The profile file (package ``golang-github-containers-common``) has conditions that the
engine resolves before it calls the runtime; this does the same for a container without
added capabilities.
"""

from __future__ import annotations

import json
from typing import Any

from conformance.node import Node
from conformance.oci_config import DEFAULT_CAPABILITIES

PROFILE = "/usr/share/containers/seccomp.json"
SECCOMP_ARCHITECTURES = {"x86_64": "SCMP_ARCH_X86_64", "aarch64": "SCMP_ARCH_AARCH64"}
GO_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def usual_profile(node: Node) -> dict[str, Any]:
    """``linux.seccomp`` of a config.json.

    Raises:
        InfrastructureError: the node has no such profile.
    """
    profile = json.loads(node.read_text(PROFILE, 1 << 20))
    machine = node.facts["architecture"]
    rules = [rule for rule in profile["syscalls"] if _applies(rule, GO_ARCHITECTURES[machine])]
    return {
        "defaultAction": profile["defaultAction"],
        "defaultErrnoRet": profile.get("defaultErrnoRet", 1),
        "architectures": [SECCOMP_ARCHITECTURES[machine]],
        "syscalls": [
            {key: rule[key] for key in ("names", "action", "args", "errnoRet") if rule.get(key) not in (None, [])}
            for rule in rules
        ],
    }


def _applies(rule: dict[str, Any], architecture: str) -> bool:
    held = set(DEFAULT_CAPABILITIES)
    wanted, barred = rule.get("includes") or {}, rule.get("excludes") or {}
    if set(wanted.get("caps") or ()) - held or set(barred.get("caps") or ()) & held:
        return False
    if wanted.get("arches") and architecture not in wanted["arches"]:
        return False
    return architecture not in (barred.get("arches") or ())
