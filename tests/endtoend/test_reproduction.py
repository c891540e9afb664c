"""A reproduction folder shows the expected failure with the runtime alone."""

import io
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest

from conformance import catalogue
from conformance.build.component import with_needs
from conformance.cli import main
from conformance.node import Node
from conformance.report import journal
from conformance.testbeds import sandbox

REPOSITORY = Path(__file__).parents[2]
SUITES = catalogue.read(REPOSITORY / "suites")
#: A folder needs the runtime and nothing else, so these are the paths where we call one that the node has.
PATHS = {
    p.name for p in SUITES.paths.values() if p.launcher == "oci" and not p.embedded and not with_needs(p.components)
}
#: Those with a condition are about other nodes than this one.
CHECKS = sorted(
    {e.check for e in SUITES.expectations if not e.when and any(fnmatch(p, one) for p in PATHS for one in e.paths)}
)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> journal.Run:
    """A run of every check that is expected to fail somewhere."""
    report = tmp_path_factory.mktemp("run")
    runtimes = [f"--runtime={name}" for name in sorted(PATHS)]
    argv = [sys.executable, "-m", "pytest", *(f"suites/{c}" for c in CHECKS), *runtimes, f"--report-dir={report}"]
    subprocess.run(argv, cwd=REPOSITORY, check=True, capture_output=True)
    return journal.read(report)


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    """A node that gets the folders and nothing else of ours."""
    node = sandbox.open_node("low-level", "", "reproduction")
    yield node
    node.close()


def test_every_expected_failure_shows_without_the_harness(recorded: journal.Run, node: Node, tmp_path: Path) -> None:
    expected = [r for r in recorded.records if r["judged"] == "expected-failure"]
    tried = {r["check"] for r in recorded.records if r["raw"] != "skipped"}
    assert {r["check"] for r in expected} == tried
    assert len(tried) > len(CHECKS) / 2

    for number, record in enumerate(expected):
        folder = tmp_path / str(number)
        assert main(["reproduce", record["id"], "--run", str(recorded.directory), "--to", str(folder)]) == 0
        place = node.put(f"folder-{number}", packed(folder))

        done = node.run(["sh", f"{place}/run.sh"], timeout_seconds=60)

        said = (done.stdout + done.stderr).decode("utf-8", "replace")
        shows = record["expectation"]["shows"]
        missing = [
            text for text in ([shows] if shows else traces(record["expectation"]["observed"])) if text not in said
        ]
        assert done.ok, (record["id"], done)
        assert missing == [], (record["id"], done)
        pinned = record["expectation"]["observed"].get("marker")
        assert pinned in (None, "present" if "@guest " in said else "absent"), (record["id"], done)


def test_above_a_low_level_runtime_podman_s_own_command_line_shows_it(node: Node, tmp_path: Path) -> None:
    check = "process/test_exit_codes.py::test_exit_code_42_reaches_the_caller"
    folder = reproduced(check, "podman-crun-wasmedge", tmp_path)
    place = node.put("folder-podman", packed(folder))

    done = node.run(["sh", f"{place}/run.sh"], timeout_seconds=60)
    other = node.run(["env", "RUNTIME=/usr/bin/false", "sh", f"{place}/run.sh"], timeout_seconds=60)

    assert b'@guest {"guest":"exit-42"' in done.stdout.replace(b" ", b"").replace(b"@guest", b"@guest "), done
    assert b"# exit status 0" in done.stdout, done
    assert b"@guest" not in other.stdout, other
    assert "conformance.snapshot" not in (folder / "run.sh").read_text()


def test_a_pod_s_daemon_cannot_be_brought_in_a_folder(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    check = "process/test_exit_codes.py::test_exit_code_42_reaches_the_caller"

    assert not reproduced(check, "containerd-crun-wasmedge", tmp_path).exists()

    assert "choose crun-wasmedge, or use conformance replay" in capfd.readouterr().err


def test_a_reproduction_leaves_nothing_on_the_node(node: Node) -> None:
    look = "ls -d /tmp/tmp.* ; find /sys/fs/cgroup -path '*conformance-reproduction*'; pgrep -a sleep; true"

    assert node.run(["sh", "-c", look]).stdout == b""


def reproduced(check: str, path: str, place: Path) -> Path:
    """The folder for one check, which is run for that; absent where there can be none."""
    argv = [sys.executable, "-m", "pytest", f"suites/{check}", f"--runtime={path}", f"--report-dir={place / 'run'}"]
    subprocess.run([*argv, "--no-control"], cwd=REPOSITORY, check=True, capture_output=True)
    main(["reproduce", f"{check}[{path}]", "--run", str(place / "run"), "--to", str(place / "folder")])
    return place / "folder"


def traces(observed: dict[str, object]) -> list[str]:
    """What the output of run.sh must hold for each observation that an expectation pins."""
    found = []
    for key, value in observed.items():
        if key in ("exit_code", "exec_exit_code"):
            found.append(f"exit {value}" if f"exit {value}" == "exit 0" else f"exit status {value}")
        elif key in ("created", "started"):
            found.append("# exit status 0")
        elif isinstance(value, list):
            found.append("\n".join(map(str, value)))
        elif isinstance(value, str) and key != "marker":
            found.append(value)
    return [text.replace("exit 0", "exit") for text in found]


def packed(folder: Path) -> io.BytesIO:
    """A folder as a tar."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        tar.add(folder, ".")
    buffer.seek(0)
    return buffer
