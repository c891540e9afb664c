"""crun's own test suite on the same crun and the same node: what a check costs there.

The sources are Debian's; nothing of them is kept. Used by ``bench.py --peer``.
"""

from __future__ import annotations

import io
import re
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from conformance.build import builder, command
from conformance.build.image import image, mirrors
from conformance.errors import InfrastructureError
from conformance.node import steps as s
from conformance.testbeds import sandbox

#: Needs CRIU, a second architecture or minutes; left out of the comparison.
LEFT_OUT = ("test_checkpoint_restore.py",)


@dataclass(frozen=True)
class Peer:
    """Tests that passed or failed (not those skipped), and the seconds they took together."""

    tests: int
    failed: int
    seconds: float


def run(version: str) -> Peer:
    """Fetch, compile and run.

    Args:
        version: of Debian's source package, as installed on the node.

    Raises:
        InfrastructureError: the sources cannot be had, or their helper does not compile.
    """
    with tempfile.TemporaryDirectory() as place:
        tests = _sources(Path(place), version)
        _compile(tests)
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as tar:
            tar.add(tests, ".")
        packed.seek(0)
    node = sandbox.open_node("low-level", "", "bench-peer")
    try:
        there = node.put("peer", packed)
        tests_run = failed = 0
        seconds = 0.0
        names = node.do(s.List(f"{there}/test_*.py")).fields["entries"]
        for name in [n for n in names if Path(n).name not in LEFT_OUT]:
            settings = ["env", "OCI_RUNTIME=/usr/bin/crun", f"INIT={there}/init"]
            done = node.run([*settings, "python3", name], timeout_seconds=120)
            said = done.stdout.decode("utf-8", "replace")
            counted = [
                line for line in re.findall(r"^(?:not )?ok .*", said, re.MULTILINE) if "SKIP" not in line.upper()
            ]
            tests_run += len(counted)
            failed += sum(line.startswith("not ok") for line in counted)
            seconds += done.seconds
    finally:
        node.close()
    return Peer(tests_run, failed, seconds)


def _sources(place: Path, version: str) -> Path:
    """The ``tests`` folder of the upstream tarball."""
    where = mirrors("trixie")
    if not where:
        raise InfrastructureError("crun's sources cannot be had: apt shows no Debian mirror on this host")
    (place / "sources.list").write_text("".join(re.sub(r"^deb ", "deb-src ", f"{line}\n") for line in where))
    options = [
        "-o", f"Dir::Etc::sourcelist={place}/sources.list", "-o", "Dir::Etc::sourceparts=-",
        "-o", f"Dir::State::Lists={place}/lists", "-o", f"Dir::Cache={place}/cache",
    ]  # fmt: skip
    (place / "lists" / "partial").mkdir(parents=True)
    for words in (["update", "-q"], ["source", "-q", "--tar-only", "--download-only", f"crun={version}"]):
        done = subprocess.run(["apt-get", *options, *words], cwd=place, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            last = (done.stderr or done.stdout).strip().splitlines()[-1:]
            raise InfrastructureError(f"crun's sources cannot be had: {' '.join(last)}")
    archive = next(place.glob("crun_*.orig.tar.*"))
    unpack = ["tar", "-xf", str(archive), "--strip-components=1", "--wildcards", "*/tests/*.py", "*/tests/init.c"]
    subprocess.run(unpack, cwd=place, check=True)
    return place / "tests"


def _compile(tests: Path) -> None:
    """Build the program that their containers run; what needs libseccomp is skipped by their own tests."""
    (tests / "config.h").write_text("#define HAVE_ERROR_H 1\n")
    log = command.log_path("bench-peer")
    script = "cd /mnt && clang -static -O1 -w -I. -o init init.c"
    if builder.run(image("builder"), script, work=tests, log=log, timeout_seconds=120) != 0:
        raise InfrastructureError(f"crun's test program does not compile:\n{command.last_lines(log)}")
