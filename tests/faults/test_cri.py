"""What goes wrong in containerd and CRI-O and below them: whose fault it is, and that one line says what it was."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from conformance.build import component
from tests.conftest import REPOSITORY, Ran, Runner, Suite

pytestmark = pytest.mark.usefixtures("nothing_left")

#: In the daemon's place: $settings is its configuration, $place its directory.
DAEMON = """#!/bin/sh
case "${{1-}} ${{2-}}" in
"--config "*) settings=$2 place=${{2%/*}} ;;
"--config= --config-dir="*) place=${{2#--config-dir=}} settings=$place/10-conformance.conf place=${{place%/*}} ;;
esac
[ -z "${{settings-}}" ] || {{
    {broken}
}}
exec {real} "$@"
"""
#: In the low-level runtime's place: from some time on no container ends any more.
HANGS = """#!/bin/sh
for word; do
    case $word in
    create | start | exec) break ;;
    kill | delete) while [ -e /run/hang ]; do sleep 600; done ;;
    esac
done
exec {real} "$@"
"""
#: The runtime as it is.
WHOLE = """#!/bin/sh
exec {real} "$@"
"""
#: A port of the node is taken before the daemon starts.
TAKEN = """python3 -c "import socket, time; s = socket.create_server(('127.0.0.1', 5123)); time.sleep(600)" &
    until grep -q :1403 /proc/net/tcp; do sleep 0.05; done
    sed -i 's/{was}/{becomes}/' "$settings"
"""
#: The daemon's directory is a file system of its own, of this size; its own files need less than 1 MiB.
OWN = """cp -a "$place" /tmp/kept && mount -t tmpfs -o size={size} none "$place" && cp -a /tmp/kept/. "$place"
    exec >>"$place/log" 2>&1
"""
#: What udev does where it is let: a pod's interface on the node gets another address, when CNI has told the first one.
READDRESSED = """real=/usr/lib/cni/real
    [ -e $real ] || mv /usr/lib/cni/bridge $real
    cat >/usr/lib/cni/bridge <<'END'
#!/bin/sh
said=$(/usr/lib/cni/real) || { echo "$said"; exit 1; }
[ "$CNI_COMMAND" != ADD ] || ip link set "$(echo "$said" | grep -o 'veth[0-9a-f]*')" address 02:00:00:00:00:01
echo "$said"
END
    chmod 755 /usr/lib/cni/bridge
"""
TWO = """
def test_a(path):
    assert path.run("exit-return-0").proven

def test_b(path):
    assert path.run("exit-return-0").proven
"""
#: A container is stopped after a command that lets something below the daemon hang; another one mends it.
HANGING = """
def test_a_before(path):
    assert path.run("exit-return-0").proven

def test_b_hangs(path):
    container = path.pod().start(path.spec("hold", hold_stdin=True))
    assert container.wait_until_output()
    assert path.node.run(["sh", "-c", "{hang}"]).ok
    stopped = container.stop(1)
    path.observe(deadline=b"deadline" in stopped.stderr.lower())
    assert stopped.ok

def test_c_next(path):
    assert path.node.run(["sh", "-c", "{go_on}"]).ok
    assert path.run("exit-return-0").exit_code == 0
"""
FILLS = """
def test_a_before(path):
    assert path.run("exit-return-0").proven

def test_b_full(path):
    assert not path.node.run(["dd", "if=/dev/zero", "of=/var/lib/conformance/full", "bs=1M"]).ok
    assert path.run("exit-return-0").proven

def test_c_full(path):
    assert path.pod().created.ok

def test_d_room(path):
    assert path.node.run(["rm", "/var/lib/conformance/full"]).ok
    assert path.run("exit-return-0").proven
"""
FILLS_STORE = """
def test_a_before(path):
    assert path.run("exit-return-0").proven

def test_b_full(path):
    assert not path.node.run(["dd", "if=/dev/zero", f"of={path.launcher.service.directory}/full", "bs=1M"]).ok
    assert path.run("exit-return-0").proven

def test_c_room(path):
    assert path.node.run(["rm", f"{path.launcher.service.directory}/full"]).ok
    assert path.run("exit-return-0").proven
"""


@dataclass(frozen=True)
class Cri:
    """A CRI runtime that is broken in its configuration or surroundings, as shell lines, and what it then says.

    Attributes:
        path: one of its native paths; ``runtime`` is the low-level one there.
    """

    name: str
    path: str
    real: str
    runtime: str
    real_runtime: str
    socket: str
    refused: tuple[str, str]
    bound: str
    taken: str
    systemd: tuple[str, str]
    full: str

    @property
    def service(self) -> str:
        return f"{self.name} on sandbox "


CONTAINERD = Cri(
    "containerd", "containerd-runc", "/usr/bin/containerd", "runc", "/usr/sbin/runc", "containerd.sock",
    refused=("sed -i 's/version = 2/version = two/' \"$settings\"", "config.toml: (1, 11): no value can start with t"),
    bound="containerd: failed to get listener for main endpoint: ",
    taken=TAKEN.format(was="stream_server_address", becomes='stream_server_port = "5123"\\n&'),
    systemd=("sed -i 's/SystemdCgroup = .*/SystemdCgroup = true/' \"$settings\"",
             'runc create failed: expected cgroupsPath to be of format "slice:prefix:name" for systemd cgroups'),
    full="ctr cannot import localhost/pause:1: ",
)  # fmt: skip
CRIO = Cri(
    "crio", "crio-crun-native", "/opt/conformance/components/crio/bin/crio", "crun", "/usr/bin/crun", "crio.sock",
    refused=("sed -i 's/cgroup_manager = .*/cgroup_manager = cgroupfs/' \"$settings\"", "toml: "),
    bound="crio.sock",
    taken=TAKEN.format(was="stream_port = .*", becomes='stream_port = "5123"'),
    systemd=("sed -i 's/cgroup_manager = .*/cgroup_manager = \"systemd\"/' \"$settings\"",
             "cri-o configured with systemd cgroup manager, but did not receive slice as parent"),
    full="skopeo cannot import localhost/pause:1: ",
)  # fmt: skip


@pytest.fixture(params=[CONTAINERD, CRIO], ids=lambda one: one.name)
def cri(request: pytest.FixtureRequest) -> Cri:
    """Each CRI runtime."""
    found: Cri = request.param
    return found


class Runs:
    """Runs a suite on a CRI runtime with one thing broken.

    Attributes:
        cri: the runtime.
    """

    def __init__(self, cri: Cri, suite: Suite, run_suite: Runner, place: Path) -> None:
        self.cri, self._suite, self._run_suite, self._place = cri, suite, run_suite, place
        for name in (cri.path, f"{cri.runtime}-native"):
            shutil.copy(REPOSITORY / "suites" / "paths" / f"{name}.yaml", suite.root / "paths")

    def daemon(self, broken: str, checks: str = TWO) -> Ran:
        """With these lines before the daemon starts."""
        return self._with(self.cri.name, DAEMON.format(broken=broken, real=self.cri.real), checks)

    def runtime(self, script: str, checks: str) -> Ran:
        """With a script before the low-level runtime."""
        return self._with(self.cri.runtime, script.format(real=self.cri.real_runtime), checks)

    def _with(self, name: str, script: str, checks: str) -> Ran:
        program = self._place / name
        program.write_text(script)
        program.chmod(0o755)
        return self._run_suite(
            self._suite.checks(checks), f"--component={name}={program}", runtime=self.cri.path, seconds=480
        )


@pytest.fixture
def runs(cri: Cri, suite: Suite, run_suite: Runner, tmp_path: Path) -> Runs:
    """Runs on each CRI runtime."""
    return Runs(cri, suite, run_suite, tmp_path)


def outcomes(ran: Ran, letters: str) -> list[str]:
    return [ran.outcome(f"test_{letter}") for letter in letters]


def one_error(ran: Ran, words: str) -> str:
    """The line that says why nothing could be tried; these words are in it."""
    assert ran.exit_code == 3, ran.output
    assert outcomes(ran, "ab") == ["error", "not-run"]
    line = ran.reason("test_a")
    assert words in line
    assert words in ran.reason("test_b")
    assert line in ran.output
    assert "Traceback" not in ran.output
    return line


def test_a_daemon_that_does_nothing_else_than_the_real_one_changes_nothing(runs: Runs) -> None:
    ran = runs.daemon(":")
    assert ran.exit_code == 0, ran.output
    assert outcomes(ran, "ab") == ["passed", "passed"]


def test_a_configuration_that_is_refused_is_told_in_the_daemon_s_own_words(runs: Runs) -> None:
    breaks, says = runs.cri.refused
    line = one_error(runs.daemon(breaks), says)
    assert line.startswith(runs.cri.service)
    assert "has ended (exit 1): " in line


def test_a_socket_that_cannot_be_made_is_told_in_the_daemon_s_own_words(runs: Runs) -> None:
    line = one_error(runs.daemon(f'mkdir -p "$place/{runs.cri.socket}/in-the-way"'), runs.cri.bound)
    assert line.startswith(runs.cri.service)


def test_a_port_that_is_in_use_is_named(runs: Runs) -> None:
    line = one_error(runs.daemon(runs.cri.taken), "listen tcp 127.0.0.1:5123: bind: address already in use")
    assert line.startswith(runs.cri.service)


def test_a_cgroup_driver_that_the_node_does_not_have_is_no_failure(runs: Runs) -> None:
    breaks, says = runs.cri.systemd
    ran = runs.daemon(breaks)
    line = one_error(ran, "is configured for systemd's cgroup driver, and the cgroups of pods here are cgroupfs's")
    assert line.startswith(runs.cri.service)
    assert says in next(row["message"] for name, row in ran.records.items() if "test_a" in name)
    assert says in ran.output


@pytest.mark.parametrize("cri", [CRIO], ids=["crio"], indirect=True)
def test_an_interface_of_a_pod_that_somebody_else_changes_is_no_failure(runs: Runs) -> None:
    ran = runs.daemon(READDRESSED)
    assert ran.exit_code == 3, ran.output
    assert outcomes(ran, "ab") == ["error", "error"]
    assert "no network for a pod: " in ran.reason("test_a")
    assert "Mac doesn't match: " in ran.reason("test_a")


def test_an_image_store_without_room_is_no_failure(runs: Runs) -> None:
    line = one_error(runs.daemon(OWN.format(size="3m")), runs.cri.full)
    assert "no space left on device" in line.lower()


def test_an_image_store_that_fills_is_no_failure_and_what_was_found_before_is_kept(runs: Runs) -> None:
    ran = runs.daemon(OWN.format(size="400m"), FILLS_STORE)
    assert ran.exit_code == 3, ran.output
    assert outcomes(ran, "abc") == ["passed", "error", "passed"]
    assert ran.reason("test_b").endswith(f"/{runs.cri.name}: ENOSPC")
    assert len(ran.results()["records"]) == 3


def test_a_disk_that_fills_is_no_failure_and_what_was_found_before_is_kept(runs: Runs) -> None:
    ran = runs.daemon(":", FILLS)
    assert ran.exit_code == 3, ran.output
    assert outcomes(ran, "abcd") == ["passed", "error", "not-run", "passed"]
    assert ran.reason("test_b").endswith(f"/{runs.cri.path}: ENOSPC")
    assert len(ran.results()["records"]) == 4


def one_that_hangs(ran: Ran) -> None:
    assert ran.exit_code == 1, ran.output
    assert outcomes(ran, "abc") == ["passed", "failed", "passed"]
    assert next(row["observations"]["deadline"] for name, row in ran.records.items() if "test_b" in name)


def test_a_runtime_that_hangs_when_a_container_is_stopped_fails_and_the_next_check_runs(runs: Runs) -> None:
    one_that_hangs(runs.runtime(HANGS, HANGING.format(hang="touch /run/hang", go_on="rm /run/hang")))


@pytest.mark.parametrize("cri", [CONTAINERD], ids=["containerd"], indirect=True)
def test_a_shim_that_hangs_when_a_container_is_stopped_fails_and_the_next_check_runs(runs: Runs) -> None:
    freeze = "pkill -STOP -f [c]ontainerd-shim-runc-v2"  # it never wakes again
    one_that_hangs(runs.runtime(WHOLE, HANGING.format(hang=freeze, go_on=":")))


@pytest.mark.skipif(
    not (component.cached("shimlib-wasmtime") or "TEST_ALL" in os.environ), reason="not built: make test-all"
)
def test_a_watcher_that_is_killed_or_blind_is_an_error(suite: Suite, run_suite: Runner) -> None:
    for name in ("containerd-shimlib-native", "containerd-runc"):
        shutil.copy(REPOSITORY / "suites" / "paths" / f"{name}.yaml", suite.root / "paths")
    suite.checks("""
        def test_a_before(path):
            assert path.run("exit-return-0").proven

        def test_b_kills(path):
            assert path.node.run(["pkill", "-KILL", "-f", "watcher.py"]).ok
            assert path.run("exit-return-0").proven

        def test_c_next(path):
            assert path.run("exit-return-0").proven

        def test_d_blinds(path):
            assert path.node.run(["pkill", "-STOP", "-f", "watcher.py"]).ok
            assert path.run("exit-return-0").proven

        def test_e_sees_again(path):
            signal = "STOP" if path.attempts == 1 else "CONT"
            assert path.node.run(["pkill", f"-{signal}", "-f", "watcher.py"]).ok
            assert path.run("exit-return-0").proven
    """)
    ran = run_suite(suite, runtime="containerd-shimlib-native", seconds=240)
    assert ran.exit_code == 3, ran.output
    assert outcomes(ran, "abcde") == ["passed", "error", "passed", "error", "passed"]
    assert [row["attempts"] for row in ran.records.values()] == [1, 1, 1, 3, 2]
    assert "did not see a container that ran" in ran.reason("test_d")
    assert ran.reason("test_b").startswith("watcher on sandbox ")
    assert "has ended (signal 9); it was started again" in ran.reason("test_b")
