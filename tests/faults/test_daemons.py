"""Daemons, image stores and registries that fail: errors of the node, never failures of a runtime."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY, Runner, Suite

pytestmark = pytest.mark.usefixtures("nothing_left")


@pytest.fixture
def engines(suite: Suite) -> Suite:
    """A suite directory with podman's, docker's and ctr's native paths as well."""
    for name in ("docker-runc-native", "podman-crun-native", "ctr-runc-native"):
        shutil.copy(REPOSITORY / "suites" / "paths" / f"{name}.yaml", suite.root / "paths")
    return suite


@pytest.mark.parametrize(
    ("path", "program", "service"),
    [("docker-runc-native", "dockerd", "dockerd"), ("ctr-runc-native", "containerd", "containerd-for-ctr")],
)
def test_a_daemon_that_is_killed_is_one_error_and_started_again(
    engines: Suite, run_suite: Runner, path: str, program: str, service: str
) -> None:
    engines.checks(f"""
        def test_a_before(path):
            assert path.run("exit-return-0").proven

        def test_b_kills(path):
            assert path.node.run(["pkill", "-KILL", "-x", "{program}"]).ok
            assert path.run("exit-return-0").proven

        def test_c_next(path):
            assert path.run("exit-return-0").proven
    """)
    ran = run_suite(engines, runtime=path, seconds=240)
    assert ran.exit_code == 3, ran.output
    assert [ran.outcome(f"test_{letter}_") for letter in "abc"] == ["passed", "error", "passed"]
    assert f"{service} on sandbox" in ran.reason("test_b_")
    assert "has ended (signal 9); it was started again" in ran.reason("test_b_")
    message = next(row["message"] for name, row in ran.records.items() if "test_b_" in name)
    assert f"--- {service}\n" in message


def test_a_dockerd_that_dies_again_and_again_is_given_up(engines: Suite, run_suite: Runner) -> None:
    engines.checks("\n".join(f"""
        def test_{letter}_kills(path):
            assert path.node.run(["pkill", "-KILL", "-x", "dockerd"]).exit_code in (0, 1)
            assert path.run("exit-return-0").proven
    """ for letter in "abc"))  # fmt: skip
    ran = run_suite(engines, runtime="docker-runc-native", seconds=240)
    assert ran.exit_code == 3
    assert [ran.outcome(f"test_{letter}_") for letter in "abc"] == ["error", "not-run", "not-run"]
    assert "2 times by now" in ran.reason("test_c_")


def test_what_a_daemon_says_of_its_configuration_is_shown(engines: Suite, run_suite: Runner) -> None:
    engines.checks("""
        from conformance import services

        def test_a_refused(path):
            service = services.need(path.node, "registry", port="not-a-port")
            assert service
    """)
    ran = run_suite(engines, runtime="crun-native", seconds=240)
    assert ran.exit_code == 3
    assert ran.outcome("test_a_") == "error"
    assert "registry on sandbox" in ran.reason("test_a_")
    message = next(row["message"] for name, row in ran.records.items() if "test_a_" in name)
    assert "not-a-port" in message


def test_a_port_that_is_in_use_is_named(engines: Suite, run_suite: Runner) -> None:
    engines.checks("""
        from conformance import services
        from conformance.node import steps as s

        LISTEN = "import socket, time; s = socket.socket(); s.bind(('127.0.0.1', 5123)); s.listen(); time.sleep(60)"

        def test_a_refused(path):
            path.node.batch([s.Run(["python3", "-c", LISTEN], keep=True, background=True)])
            assert path.node.run(["sh", "-c", "until grep -q :1403 /proc/net/tcp; do sleep 0.05; done"]).ok
            assert services.need(path.node, "registry", port="5123")
    """)
    ran = run_suite(engines, runtime="crun-native", seconds=240)
    assert ran.outcome("test_a_") == "error"
    message = next(row["message"] for name, row in ran.records.items() if "test_a_" in name)
    assert "127.0.0.1:5123" in message
    assert "address already in use" in message


def test_a_full_image_store_is_an_error(engines: Suite, run_suite: Runner) -> None:
    engines.checks("""
        def test_a_full(path):
            store = f"{path.node.directory}/podman"
            assert path.node.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", store]).ok
            path.launcher.cli.images.clear()
            assert path.run("exit-return-0").proven

        def test_b_with_room_again(path):
            assert path.node.run(["umount", "--lazy", f"{path.node.directory}/podman"]).ok
            assert path.run("exit-return-0").proven
    """)
    ran = run_suite(engines, runtime="podman-crun-native", seconds=240)
    assert ran.exit_code == 3
    assert [ran.outcome(f"test_{letter}_") for letter in "ab"] == ["error", "passed"]
    assert "no space left on device" in ran.reason("test_a_")


@pytest.mark.parametrize(
    ("path", "program"),
    [("podman-crun-native", "podman"), ("docker-runc-native", "docker"), ("ctr-runc-native", "ctr")],
)
def test_a_program_that_is_not_there_is_named(
    engines: Suite, run_suite: Runner, path: str, program: str, tmp_path: Path
) -> None:
    file = engines.root / "paths" / f"{path}.yaml"
    file.write_text(file.read_text().replace(f"binary: {program}", "binary: no-such-engine"))
    engines.checks("""
        def test_a(path):
            assert path.run("exit-return-0").proven

        def test_b(path):
            assert path.run("exit-return-0").proven
    """)
    ran = run_suite(engines, runtime=path, seconds=240)
    assert ran.exit_code == 3
    assert ran.outcome("test_a[") == "error"
    assert ran.outcome("test_b[") == "not-run"
    assert ran.reason("test_a[").startswith(f"{path}: no-such-engine is not on the node")


def test_a_container_that_hangs_is_ended_and_removed(engines: Suite, run_suite: Runner) -> None:
    engines.checks("""
        def test_a_hangs(path):
            result = path.run("spin", timeout_seconds=2)
            assert result.timed_out
            assert path.node.run(["sh", "-c", "! pgrep -x spin"]).ok
    """)
    for path in ("docker-runc-native", "podman-crun-native"):
        ran = run_suite(engines, runtime=path, seconds=240)
        assert ran.outcome("test_a_") == "passed", ran.output
