"""Counters of a cgroup in both versions of the interface
(https://docs.kernel.org/admin-guide/cgroup-v1/ and .../cgroup-v2.html)."""

from __future__ import annotations

from collections.abc import Mapping

OOM_FILES = ("memory.events", "memory.oom_control")
MEMORY_PEAK = ("memory.peak", "memory.max_usage_in_bytes")
CPU_FILES = ("cpu.stat", "cpuacct.usage")


def fields(text: str) -> dict[str, int]:
    """``key value`` lines.

    >>> fields("oom 1\\noom_kill 2\\n")
    {'oom': 1, 'oom_kill': 2}
    """
    pairs = (line.split() for line in text.splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}


def oom_kills(values: Mapping[str, str]) -> int:
    """Out-of-memory kills, from :data:`OOM_FILES`."""
    return sum(fields(values.get(name, "")).get("oom_kill", 0) for name in OOM_FILES)


def peak_bytes(values: Mapping[str, str]) -> int | None:
    """Most memory that a group has used, from :data:`MEMORY_PEAK`; ``None`` where no file tells."""
    numbers = [int(values[name]) for name in MEMORY_PEAK if values.get(name, "").strip().isdigit()]
    return numbers[0] if numbers else None


def throttled_periods(values: Mapping[str, str]) -> int:
    """Throttled periods, from ``cpu.stat``."""
    return fields(values.get("cpu.stat", "")).get("nr_throttled", 0)


def cpu_seconds(values: Mapping[str, str]) -> float:
    """CPU time in seconds, from :data:`CPU_FILES`."""
    microseconds = fields(values.get("cpu.stat", "")).get("usage_usec")
    if microseconds is not None:
        return microseconds / 1e6
    return int(values.get("cpuacct.usage", "0")) / 1e9
