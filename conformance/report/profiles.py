"""What people want to run, and which rules they need for it.

A requirement may name its profiles itself; the table below is for those that do not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from conformance.model import Judged, Raw

#: profile -> what it stands for
PROFILES = {
    "job": "start, arguments, environment, files, streams, exit codes",
    "service": "start, lifecycle, signals, limits, isolation",
    "side-car mix": "annotations, native containers beside Wasm ones",
}

#: area of a requirement -> profiles that need it, where the requirement does not say
AREAS: dict[str, tuple[str, ...]] = {
    "annotations": ("side-car mix",),
    "bad input": ("job",),
    "container": ("job", "service"),
    # native containers on every path: says nothing about running Wasm
    "critest": (),
    "detection": ("side-car mix",),
    "exit codes": ("job",),
    "hooks": ("service",),
    "identity": ("job", "service"),
    "images": ("job", "service"),
    "isolation": ("service",),
    "languages": ("job",),
    "lifecycle": ("service",),
    "log": ("job", "service"),
    "mixed pods": ("side-car mix",),
    "mounts": ("job", "service"),
    "network": ("service",),
    "node": ("service",),
    "pod": ("job", "service"),
    "process": ("job", "service"),
    "resources": ("service",),
    "security": ("service",),
    "side-car": ("side-car mix",),
    "signals": ("service",),
    "streaming": ("service",),
    "streams": ("job",),
    "workloads": ("job",),
}

Answer = Literal["yes", "with care", "with gaps", "no", "not tested"]


@dataclass(frozen=True)
class Usability:
    """Whether a path can be used for a profile.

    Attributes:
        answer: ``yes`` (every rule holds), ``with care`` (only SHOULD or MAY rules are broken), ``with gaps`` (a
            MUST is broken), ``no`` (nothing holds), ``not tested``.
        passed: checks that hold.
        tried: checks that were tried.
        broken: ids of the rules that do not hold, MUST first.
    """

    answer: Answer
    passed: int
    tried: int
    broken: tuple[str, ...]


def of(requirement: dict[str, Any]) -> tuple[str, ...]:
    """The profiles that need ``requirement``: its own list, or those of its area."""
    named = requirement.get("profiles")
    return tuple(named) if named else AREAS.get(requirement["area"], ())


def usability(profile: str, records: list[dict[str, Any]], requirements: dict[str, dict[str, Any]]) -> Usability:
    """Answer "can I use this path for ``profile``?" from raw outcomes, whatever was expected.

    Args:
        profile: key of :data:`PROFILES`.
        records: of one path.
        requirements: by id.

    Returns:
        The answer; project observations do not count, an inconclusive check does not hold.
    """
    passed = tried = 0
    broken: dict[str, str] = {}
    for record in records:
        requirement = requirements.get(record["requirement"])
        if requirement is None or requirement["basis"] == "project" or profile not in of(requirement):
            continue
        if record["raw"] not in (Raw.PASSED, Raw.FAILED):
            continue
        tried += 1
        if record["raw"] == Raw.PASSED and record["judged"] != Judged.INCONCLUSIVE:
            passed += 1
        else:
            broken[record["requirement"]] = requirement["level"]
    levels = ("MUST", "SHOULD", "MAY")
    ordered = tuple(sorted(broken, key=lambda name: (levels.index(broken[name]), name)))
    return Usability(_answer(passed, tried, "MUST" in broken.values()), passed, tried, ordered)


def _answer(passed: int, tried: int, a_must_is_broken: bool) -> Answer:
    if tried == 0:
        return "not tested"
    if passed == tried:
        return "yes"
    if passed == 0:
        return "no"
    return "with gaps" if a_must_is_broken else "with care"
