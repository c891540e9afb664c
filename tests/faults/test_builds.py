"""A build that is killed leaves neither mount nor process, and nothing that could be used."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.conftest import until


def processes_of(cache: Path) -> list[str]:
    """Command lines that name this cache."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = entry.read_bytes()
        except OSError:
            continue  # it has just ended
        if str(cache).encode() in line and entry.parent.name != str(os.getpid()):
            found.append(line.decode("utf-8", "replace"))
    return found


def test_an_image_build_that_is_killed_leaves_nothing(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    environment = {**os.environ, "CONFORMANCE_CACHE": str(cache)}
    build = subprocess.Popen(
        [str(Path(sys.executable).with_name("conformance")), "build", "node"],
        env=environment,
        stdout=subprocess.DEVNULL,
    )
    until(lambda: list(cache.glob("images/*.partial-*/rootfs/usr")), seconds=60)

    build.send_signal(signal.SIGKILL)
    build.wait(10)

    until(lambda: not processes_of(cache), seconds=15)
    time.sleep(0.2)
    assert str(cache) not in Path("/proc/mounts").read_text()
    assert [p for p in cache.glob("images/*") if p.is_dir() and ".partial-" not in p.name] == []
