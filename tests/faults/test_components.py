"""A runtime that is missing, broken or of another kind: what the person who brought it reads."""

from __future__ import annotations

import re
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from conformance.build import component
from conformance.node import steps as s
from conformance.record import sha256
from tests.conftest import REPOSITORY, Runner, SshMachine, Suite

pytestmark = pytest.mark.usefixtures("nothing_left")

TWO_CHECKS = """
def test_one(path):
    assert path.run("exit-return-0").proven

def test_two(path):
    assert path.run("exit-return-0").proven
"""
LIFECYCLE = """
def test_a_held_guest_is_running(path):
    container = path.create("hold", hold_stdin=True)
    assert container.start().ok
    assert container.wait_until_output()
    assert container.status == "running"
    container.feed()
    assert path.finish(container).proven
"""
WRAPPED = '#!/bin/sh\n{}\nexec /usr/bin/crun "$@"\n'
Maker = Callable[[str], str]


@pytest.fixture
def crun(tmp_path: Path) -> Maker:
    """An option that brings a shell script as crun; the script goes on as the real one."""

    def make(script: str) -> str:
        file = tmp_path / "crun"
        file.write_text(WRAPPED.format(script))
        file.chmod(0o755)
        return f"--component=crun={file}"

    return make


def test_the_wrapper_alone_changes_nothing(suite: Suite, run_suite: Runner, crun: Maker) -> None:
    ran = run_suite(suite.checks(TWO_CHECKS), crun(""))
    assert ran.exit_code == 0
    assert ran.outcome("test_one") == ran.outcome("test_two") == "passed"


def test_a_file_that_is_not_there_is_a_usage_error(suite: Suite, run_suite: Runner, tmp_path: Path) -> None:
    ran = run_suite(suite.checks(TWO_CHECKS), f"--component=crun={tmp_path}/none")
    assert ran.exit_code == 4
    assert ran.output.strip() == f"ERROR: --component: {tmp_path}/none is not a file or directory"


def test_a_file_that_is_not_executable_is_a_usage_error(suite: Suite, run_suite: Runner, tmp_path: Path) -> None:
    (tmp_path / "crun").write_text("#!/bin/sh\n")
    ran = run_suite(suite.checks(TWO_CHECKS), f"--component=crun={tmp_path}/crun")
    assert ran.exit_code == 4
    assert ran.output.strip() == (f"ERROR: --component: {tmp_path}/crun is not executable (chmod +x {tmp_path}/crun)")


def test_a_name_that_no_chosen_path_runs_is_a_usage_error(suite: Suite, run_suite: Runner) -> None:
    ran = run_suite(suite.checks(TWO_CHECKS), "--component=youki=/bin/true")
    assert ran.exit_code == 4
    assert ran.output.strip() == (
        "ERROR: --component: no chosen path runs or loads 'youki' (they run: crun; they load: libwasmedge)"
    )


def one_error(suite: Suite, run_suite: Runner, option: str) -> str:
    """The one line that says why nothing could be tried."""
    ran = run_suite(suite.checks(TWO_CHECKS), option)
    assert ran.exit_code == 3, ran.output
    assert sorted(row["judged"] for row in ran.records.values()) == ["error", "not-run"]
    (message,) = {row["message"] for row in ran.records.values() if row["judged"] == "error"}
    assert "\n" not in message
    assert message in " ".join(ran.output.split())
    assert "Traceback" not in ran.output
    return re.sub("crun-[0-9a-f]{12}/", "crun-DIGEST/", str(message))


def test_a_binary_for_another_machine_is_named(suite: Suite, run_suite: Runner, tmp_path: Path) -> None:
    file = tmp_path / "crun"
    identity = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    machine = 22  # s390
    file.write_bytes(identity + struct.pack("<HHIQQQIHHHHHH", 2, machine, 1, 0x400000, 64, 0, 0, 64, 56, 0, 64, 0, 0))
    file.chmod(0o755)
    assert one_error(suite, run_suite, f"--component=crun={file}") == (
        "crun-wasmedge: /opt/conformance/brought/crun-DIGEST/bin/crun does not work on this node:"
        " it is no executable for this machine's architecture"
    )


def test_a_binary_whose_loader_is_missing_is_named(suite: Suite, run_suite: Runner, tmp_path: Path) -> None:
    (tmp_path / "crun").write_text("#!/no/such/interpreter\n")
    (tmp_path / "crun").chmod(0o755)
    assert one_error(suite, run_suite, f"--component=crun={tmp_path}/crun").endswith(
        "its program interpreter or dynamic loader is missing"
    )


def test_a_binary_that_crashes_at_once_is_named(suite: Suite, run_suite: Runner, crun: Maker) -> None:
    assert one_error(suite, run_suite, crun("kill -SEGV $$")) == (
        "crun-wasmedge: /opt/conformance/brought/crun-DIGEST/bin/crun does not work on this node:"
        " --version ended with signal 11"
    )


def test_a_binary_that_hangs_at_once_is_named(suite: Suite, run_suite: Runner, crun: Maker) -> None:
    assert "--version ended with timeout after " in one_error(suite, run_suite, crun("exec sleep 600"))


def test_a_crun_without_wasm_says_so_in_one_line(suite: Suite, run_suite: Runner, crun: Maker) -> None:
    option = crun('[ "$1" = --version ] && { echo "crun version 1.21"; echo "+SYSTEMD +SELINUX"; exit; }')
    assert one_error(suite, run_suite, option) == (
        "crun-wasmedge: /opt/conformance/brought/crun-DIGEST/bin/crun (crun version 1.21) is built without wasmedge:"
        " its --version does not list +WASM:wasmedge (build it with wasmedge, or choose another path with --runtime)"
    )


def test_an_engine_that_is_missing_on_the_node_is_one_error_and_the_controls_go_on(
    suite: Suite, run_suite: Runner, ssh_machine: SshMachine
) -> None:
    node = ssh_machine.node
    libraries = node.do(s.List("/usr/lib/*/libwasmedge.so.0*")).fields["entries"]
    assert libraries
    move = 'for f in /usr/lib/*/libwasmedge.so.0*; do mv "$f" "$f.away"; done'
    back = 'for f in /usr/lib/*/libwasmedge.so.0*.away; do mv "$f" "${f%.away}"; done'
    environment = {"CONFORMANCE_SSH_CONFIG": str(ssh_machine.config)}
    node.run(["sh", "-c", move])
    try:
        ran = run_suite(suite.checks(TWO_CHECKS), "--testbed=ssh://root@machine", control=True, environment=environment)
    finally:
        node.run(["sh", "-c", back])
    assert ran.exit_code == 3
    assert ran.outcome("one[crun-wasmedge]") == "error"
    assert ran.outcome("two[crun-wasmedge]") == "not-run"
    assert "the engine library libwasmedge.so.0 cannot be loaded on the node" in ran.reason("one[crun-wasmedge]")
    controls = {row["judged"] for row in ran.records.values() if row["path"] != "crun-wasmedge"}
    assert controls == {"passed"}


# ---- a runtime that goes wrong once it is asked to do something is judged, not excused


def test_a_runtime_that_crashes_on_run_fails_the_check(suite: Suite, run_suite: Runner, crun: Maker) -> None:
    ran = run_suite(suite.checks(TWO_CHECKS), crun('case " $* " in *" run "*) kill -SEGV $$;; esac'))
    assert ran.exit_code == 1
    assert ran.outcome("test_one") == ran.outcome("test_two") == "failed"
    assert next(iter(ran.records.values()))["observations"]["signal"] == 11


def test_a_runtime_that_hangs_on_run_fails_the_check_in_time(suite: Suite, run_suite: Runner, crun: Maker) -> None:
    suite.checks("""
        def test_it_ends(path):
            result = path.run("exit-return-0", timeout_seconds=0.5)
            assert result.proven
            assert not result.timed_out
    """)
    hang = (
        'for f in /var/lib/conformance/*/*/bundles/*/config.json; do grep -q exit-return-0 "$f" && exec sleep 600; done'
    )
    ran = run_suite(suite, crun(f'case " $* " in *" run "*) {hang};; esac'))
    assert ran.exit_code == 1
    assert ran.outcome("test_it_ends") == "failed"
    assert next(iter(ran.records.values()))["observations"]["timed_out"] is True


def test_a_runtime_whose_state_is_no_json_fails_the_check(suite: Suite, run_suite: Runner, crun: Maker) -> None:
    option = crun("""case " $* " in *" state "*) echo '{"status": "run'; exit 0;; esac""")
    ran = run_suite(suite.checks(LIFECYCLE), option)
    assert ran.exit_code == 1
    assert ran.outcome("running") == "failed"
    assert "assert '' == 'running'" in ran.reason("running")


# ---- engines, and what a vendor's build may lack


def test_a_runtime_that_lacks_a_library_is_named_with_it(suite: Suite, run_suite: Runner) -> None:
    linked = component.component("crun-1.21-wamr").place / "bin/crun"
    assert one_error(suite, run_suite, f"--component=crun={linked}").endswith(
        "error while loading shared libraries: libiwasm.so: cannot open shared object file: No such file or directory"
    )


def test_an_engine_library_that_is_brought_is_the_one_that_runs(suite: Suite, run_suite: Runner) -> None:
    ours = component.component("libiwasm").place / "lib/libiwasm.so"
    (suite.root / "paths/crun-wamr.yaml").write_text((REPOSITORY / "suites/paths/crun-wamr.yaml").read_text())
    suite.checks("""
        def test_the_engine_is_the_one_that_was_brought(path):
            result = path.run("exit-return-0")
            assert result.proven
            assert result.proof.engine.startswith("/opt/conformance/brought/libiwasm-")
    """)
    ran = run_suite(suite, f"--component=libiwasm={ours}", runtime="crun-wamr")
    assert ran.exit_code == 0, ran.output
    row = ran.results()["run"]["brought"]["libiwasm"]
    assert row["sha256"] == sha256(ours.read_bytes())
    assert row["paths"] == ["crun-wamr"]
    digests = next(row["digests"] for row in ran.rows if row["kind"] == "path")
    assert sha256(ours.read_bytes()) in digests.values()


def test_an_engine_of_another_abi_fails_at_the_files_and_is_named(
    suite: Suite, run_suite: Runner, tmp_path: Path
) -> None:
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    subprocess.run([*pip, "--dest", str(tmp_path), "wasmtime==36.0.0"], check=True, timeout=300)
    with zipfile.ZipFile(next(tmp_path.glob("wasmtime-36*.whl"))) as wheel:
        engine = wheel.extract("wasmtime/linux-x86_64/_libwasmtime.so", tmp_path)
    (suite.root / "paths/crun-wasmtime.yaml").write_text((REPOSITORY / "suites/paths/crun-wasmtime.yaml").read_text())
    suite.checks("""
        def test_a_guest_runs(path):
            assert path.run("exit-return-0").proven

        def test_a_file_can_be_read(path):
            result = path.run("files", args=["read:/data/greeting.txt"])
            assert result.proven
            assert result.reports[0]["text"] == "hello from the root file system\\n"
    """)
    ran = run_suite(suite, f"--component=libwasmtime={engine}", runtime="crun-wasmtime")
    assert ran.exit_code == 1
    assert ran.outcome("a_guest_runs") == "passed"
    assert ran.outcome("a_file_can_be_read") == "failed"
    note = "crun-wasmtime: crun was written for the ABI of wasmtime <27, and this is 36.0.0: "
    assert f"note: {note}" in " ".join(ran.output.split())
    assert any(said.startswith(note) for said in ran.results()["notes"])
    assert "and this is 36.0.0" in (ran.directory / "summary.md").read_text()
