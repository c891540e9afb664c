"""The look for leftovers sees each kind of leftover: a check that sees nothing proves nothing."""

from __future__ import annotations

import fcntl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import LOCKS, left_by_the_dead, until

#: A session of a process that has ended.
GONE = "7ffffffe-abcdef"


@pytest.fixture
def lock() -> Iterator[Path]:
    LOCKS.mkdir(mode=0o700, exist_ok=True)
    file = LOCKS / f"{GONE}.lock"
    with file.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)  # or somebody's run sweeps it meanwhile
        yield file
    file.unlink(missing_ok=True)


def test_a_lock_file_is_seen(lock: Path) -> None:
    assert f"file {lock}" in left_by_the_dead()


def test_a_process_is_seen() -> None:
    agent = subprocess.Popen([sys.executable, "-c", f"import time; time.sleep(60)  # g['main']('{GONE}')"])
    try:
        # its command line is empty for a moment while it starts
        until(lambda: [thing for thing in left_by_the_dead() if thing.startswith(f"process {agent.pid} ")], 5)
    finally:
        agent.kill()
        agent.wait()


def test_a_mount_is_seen() -> None:
    place = LOCKS / GONE
    place.mkdir(parents=True)
    try:
        subprocess.run(["mount", "-t", "tmpfs", "none", str(place)], check=True)
        assert f"mount {place}" in left_by_the_dead()
    finally:
        subprocess.run(["umount", str(place)], check=False)
        place.rmdir()


def test_a_cgroup_is_seen() -> None:
    hierarchy = next(
        line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()
        if line.split()[2] in ("cgroup", "cgroup2")
    )  # fmt: skip
    group = Path(hierarchy) / f"wasm-conformance-{GONE}"
    group.mkdir()
    try:
        assert f"cgroup {group}" in left_by_the_dead()
    finally:
        group.rmdir()
