"""`make bench-vms`: what virtual machines cost here, as ratios in one run.

Boots are alternated and repeated, so that a busy moment of this machine hits both sides.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from rich.console import Console
from rich.table import Table

from conformance.build import box, cache
from conformance.build.accelerator import accelerator
from conformance.build.image import image

REPOSITORY = Path(__file__).parents[2]
MACHINE = "low-level"
BOOT_SECONDS = 600
Row = tuple[str, str, str]


def main() -> int:
    """Measure and print; exit code 0 unless something does not start."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3, metavar="N", help="boots of each kind")
    parser.add_argument("--suite", default="suites/process", metavar="PATH", help="what is run in the machine")
    options = parser.parse_args()
    built = box.box(print)
    rows = [box_build(), *boots(built, options.runs), suite(options.suite)]
    table = Table("what", "measured", "goal", title=f"make bench-vms ({accelerator()})")
    for row in rows:
        table.add_row(*row)
    Console(width=100).print(table)
    return 0


def timed(call: Callable[[], object]) -> float:
    """Seconds that a call takes."""
    started = time.monotonic()
    call()
    return time.monotonic() - started


def box_build() -> Row:
    """A box from the cached root file system, made anew and thrown away."""
    made_of = image(box.IMAGE_NAME, print)
    place = cache.root() / "boxes"
    with tempfile.TemporaryDirectory(prefix="bench-", dir=place) as directory:
        seconds = timed(lambda: box._build(made_of, "0" * 64, Path(directory)))
    return "box from a cached root file system", f"{seconds:.0f} s", "60 s"


def boots(built: box.Box, runs: int) -> Iterator[Row]:
    """Bare QEMU to sshd's greeting, against `vagrant up` to a provisioned machine."""
    bare, up = [], []
    with tempfile.TemporaryDirectory(prefix="bench-vms-") as state:
        environment = {**os.environ, "VAGRANT_DOTFILE_PATH": f"{state}/vagrant"}

        def vagrant(*words: str) -> None:
            argv = ["vagrant", *words, MACHINE]
            subprocess.run(argv, cwd=REPOSITORY, env=environment, stdout=subprocess.DEVNULL, timeout=900, check=True)

        for _ in range(runs):
            bare.append(bare_boot(built, Path(state)))
            try:
                up.append(timed(lambda: vagrant("up")))
            finally:
                vagrant("destroy", "-f")
    ratio = statistics.median(up) / statistics.median(bare)
    yield "bare QEMU boot of the box's disk to sshd", f"{statistics.median(bare):.0f} s", ""
    yield "vagrant up to a provisioned machine", f"{statistics.median(up):.0f} s", ""
    yield "vagrant up / bare boot", f"{ratio:.2f}", "2.5"


def bare_boot(built: box.Box, place: Path) -> float:
    """Seconds from starting QEMU to sshd's greeting."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    disk = place / "disk.qcow2"
    disk.unlink(missing_ok=True)
    box.overlay_of(built, disk)
    argv = box.virtual_machine_argv(disk, accelerator=accelerator(), memory_mib=1024, cpus=2, ssh_port=port)
    started = time.monotonic()
    qemu = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        while time.monotonic() - started < BOOT_SECONDS:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 5) as there:
                there.settimeout(5)
                if there.recv(64).startswith(b"SSH-2.0"):
                    return time.monotonic() - started
            time.sleep(0.1)
        raise SystemExit(f"no greeting of sshd within {BOOT_SECONDS} s")
    finally:
        qemu.kill()
        qemu.wait(20)


def suite(what: str) -> Row:
    """The suite in a machine against the time of its own commands there, over one ssh connection."""
    report = Path(tempfile.mkdtemp(prefix="bench-vms-"))
    argv = [sys.executable, "-m", "pytest", what, "--testbed=vagrant", f"--report-dir={report}", "-q"]
    subprocess.run(argv, cwd=REPOSITORY, stdout=subprocess.DEVNULL, timeout=3600, check=False)
    rows = [json.loads(line) for line in (report / "results.jsonl").read_text().splitlines()]
    times = [row["times"] for row in rows if row["kind"] == "record" and row["raw"] in ("passed", "failed")]
    shutil.rmtree(report)
    commands = sum(t["commands_seconds"] for t in times)
    ratio = (commands + sum(t["harness_seconds"] for t in times)) / commands
    return f"{what} in the machine / its bare commands ({len(times)} checks)", f"{ratio:.2f}", "1.3"


if __name__ == "__main__":
    sys.exit(main())
