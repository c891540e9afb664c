"""One check's record: what goes into ``results.jsonl`` and from there into every report."""

from __future__ import annotations

import datetime
import hashlib
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from conformance.catalogue import Catalogue
from conformance.model import Expectation, Raw, printable
from conformance.node.steps import Step

if TYPE_CHECKING:
    from conformance.path_under_test import OpenPath, PathUnderTest

UNDER_TEST = pytest.StashKey["PathUnderTest"]()
OPENED = pytest.StashKey["OpenPath"]()
#: What the check asked of the node, where a reproduction is wanted.
TRANSCRIPT = pytest.StashKey[list[Step]]()
#: Seconds of the runtime's own commands when the check's containers were removed.
CLEANING_SECONDS = pytest.StashKey[float]()
#: Seconds that this check spent opening its path: start-up, not part of the check.
OPENING_SECONDS = pytest.StashKey[float]()
#: Bytes of each stream that a record keeps; the beginning and the end.
STREAM_BYTES = 8192


def id_of(node_id: str, root: Path, rootdir: Path) -> str:
    """A pytest node id without the suite directory: stable wherever pytest was started.

    Args:
        node_id: as pytest spells it, relative to its root directory.
        root: the suite directory.
        rootdir: pytest's root directory.
    """
    file, separator, rest = node_id.partition("::")
    place = (rootdir / file).resolve()
    return (place.relative_to(root).as_posix() if place.is_relative_to(root) else file) + separator + rest


def sha256(data: bytes) -> str:
    """Digest, as records spell it."""
    return hashlib.sha256(data).hexdigest()


def bare(record_id: str, check: str, path: str, raw: Raw, message: str) -> dict[str, Any]:
    """A record without a container, for what failed before one could start."""
    return {
        "kind": "record", "id": record_id, "check": check,
        "sentence": check.rpartition("::test_")[2].replace("_", " "), "path": path, "requirement": "",
        "raw": raw.value, "judged": raw.value, "reason": message.partition("\n")[0], "skip_reason": None,
        "expectation": None, "message": message, "observations": {}, "commands": [],
        "streams": {"stdout": stream(b""), "stderr": stream(b"")},
        "times": {
            "first_output_seconds": None, "container_seconds": 0.0, "check_seconds": 0.0, "commands_seconds": 0.0,
            "harness_seconds": 0.0,
        },
        "memory_peak_bytes": None, "guest": None, "attempts": 1, "worker": "master",
        "started": timestamp(time.time()),
    }  # fmt: skip


def make(
    item: pytest.Item, catalogue: Catalogue, raw: Raw, message: str, report: pytest.TestReport, where: tuple[str, str]
) -> dict[str, Any]:
    """The record of a check that has just ended; ``judged`` and ``reason`` are still the raw ones."""
    check, path = where
    # pytest escapes the lines of our own reprs; each of those begins with two blanks
    message = message.replace("\\n  ", "\n  ")
    row = bare(id_of(item.nodeid, catalogue.root, item.config.rootpath), check, path, raw, message)
    row["requirement"] = catalogue.checks[check].requirement
    row["worker"] = getattr(item.config, "workerinput", {}).get("workerid", "master")
    row["started"] = timestamp(report.start)
    row["times"]["check_seconds"] = round(report.duration, 6)
    if opened := item.stash.get(OPENED, None):
        row["path_facts"] = path_facts(opened, row["worker"])
    if under_test := item.stash.get(UNDER_TEST, None):
        _add_evidence(row, under_test)
        row["times"]["harness_seconds"] = report.duration - under_test.busy_seconds()
    row["opening_seconds"] = item.stash.get(OPENING_SECONDS, 0.0)
    return row


def _add_evidence(row: dict[str, Any], under_test: PathUnderTest) -> None:
    row["observations"] = under_test.observations()
    row["commands"] = under_test.all_commands()
    row["guest"] = under_test.guest()
    row["attempts"] = under_test.attempts
    if under_test.races:
        row["observations"]["races"] = [f"{race.reason}; {race.issue}" for race in under_test.races]
    ended = [r.completed for r in under_test.results] or [c.created for c in under_test.containers]
    row["times"]["commands_seconds"] = round(under_test.busy_seconds(), 6)
    row["times"]["container_seconds"] = round(sum(c.seconds for c in ended), 6)
    if ended:
        row["times"]["first_output_seconds"] = ended[-1].first_output_seconds
        row["streams"] = {"stdout": stream(ended[-1].stdout), "stderr": stream(ended[-1].stderr)}
    if under_test.of_critest:
        row["times"]["container_seconds"] = round(under_test.of_critest.seconds, 6)
        row["streams"]["stdout"] = stream(under_test.of_critest.output.encode())
    peaks = [r.memory_peak_bytes for r in under_test.results if r.memory_peak_bytes]
    row["memory_peak_bytes"] = max(peaks, default=None)


def path_facts(opened: OpenPath, worker: str) -> dict[str, Any]:
    """The ``path`` line: what this path is made of on this worker's node."""
    return {
        "kind": "path", "path": opened.path.name, "worker": worker, "node": dict(opened.node.facts),
        "components": dict(opened.versions.components), "digests": dict(opened.versions.digests),
        "notes": list(opened.versions.notes), "canary": opened.canary, "seconds": round(opened.seconds, 3),
    }  # fmt: skip


def of_expectation(entry: Expectation | None) -> dict[str, Any] | None:
    """What a record keeps of the expectation that decided it."""
    if entry is None:
        return None
    return {
        "id": entry.id, "reason": entry.reason, "issue": entry.issue, "reproduction": entry.reproduction,
        "shows": entry.shows, "when": dict(entry.when),
        "affects": dict(entry.affects), "observed": dict(entry.observed),
    }  # fmt: skip


def plain(value: Any) -> Any:
    """``value`` as plain JSON types: what pytest-xdist and the journal carry, and expectations pin."""
    return json.loads(json.dumps(value, default=lambda missing: None))


def stream(data: bytes) -> dict[str, Any]:
    """A stream, bounded and with everything a terminal or parser would act on made visible."""
    kept = data if len(data) <= STREAM_BYTES else data[: STREAM_BYTES // 2] + b"\n[...]\n" + data[-STREAM_BYTES // 2 :]
    text = printable(kept.decode("utf-8", "backslashreplace"))
    return {"text": text, "bytes": len(data), "truncated": len(kept) < len(data)}


def timestamp(seconds: float) -> str:
    """A point in time as records spell it: UTC with milliseconds."""
    moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"
