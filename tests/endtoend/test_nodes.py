"""What every node does the same way, whatever carries the bytes: sandbox, this machine, ssh."""

from __future__ import annotations

import io
import json
import os
import re
import secrets
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from conformance import proof, services, testbeds
from conformance.errors import InfrastructureError
from conformance.node import Node, completed
from conformance.node import steps as s
from tests.conftest import REPOSITORY, SshMachine, first_process_of, left_by_the_dead, until

MIB = 1 << 20
TESTBEDS = {"sandbox": "sandbox", "local": "local", "ssh": "ssh://root@machine"}

pytestmark = pytest.mark.usefixtures("nothing_left")


@pytest.fixture(scope="session")
def ssh_config(ssh_machine: SshMachine) -> SshMachine:
    os.environ["CONFORMANCE_SSH_CONFIG"] = str(ssh_machine.config)
    return ssh_machine


def opened(kind: str) -> Node:
    bed, address = testbeds.testbed(TESTBEDS[kind])
    return bed.open_node("low-level", address, f"{os.getpid():x}-{secrets.token_hex(3)}")


@pytest.fixture(params=list(TESTBEDS))
def kind(request: pytest.FixtureRequest) -> str:
    if request.param == "ssh":
        request.getfixturevalue("ssh_config")
    return str(request.param)


@pytest.fixture
def node(kind: str, nothing_left: None) -> Iterator[Node]:
    node = opened(kind)
    yield node
    node.close()


def shell(node: Node, script: str, **more: float) -> str:
    return node.run(["sh", "-c", script], **more).stdout.decode()  # type: ignore[arg-type]


def test_a_command_gets_its_arguments_and_its_end_is_told(node: Node) -> None:
    done = node.run(["sh", "-c", 'printf "%s|" "$@"; echo oops >&2; exit 42', "sh", "one two", "", "$x'\"\n"])
    assert (done.stdout, done.stderr) == (b"one two||$x'\"\n|", b"oops\n")
    assert (done.exit_code, done.signal, done.timed_out, done.truncated) == (42, None, False, False)
    assert done.pid > 0
    assert 0 < done.seconds < 5


def test_a_step_can_use_what_an_earlier_one_has_printed_or_read(node: Node) -> None:
    place = f"{node.directory}/told"
    answers = node.batch([
        s.Write(place, b"pid 17\n"),
        s.Run(["printf", "one two"]),
        s.Read(place),
        s.Run(["echo", s.printed(1), s.printed(1, r" (\w+)"), s.printed(2, r"pid (\d+)")]),
        s.Run(["echo", s.printed(1, "nowhere (x)")]),
        s.Run(["echo", "goes on"]),
    ])  # fmt: skip
    assert answers[3].blobs[0] == b"one two 17\n"
    assert answers[3].fields["argv"] == ["echo", "one", "two", "17"]
    assert "step 1 did not print nowhere (x)" in answers[4].error
    assert answers[5].blobs[0] == b"goes on\n"


def test_a_command_is_repeated_until_it_prints_what_is_waited_for(node: Node) -> None:
    count = f"{node.directory}/count"
    script = 'echo x >> "$0"; echo "$(wc -l < "$0") times"'
    found, never = node.batch([
        s.Run(["sh", "-c", script, count], repeat_until="3 times"),
        s.Run(["echo", "nothing"], repeat_until="something", timeout_seconds=0.2),
    ])  # fmt: skip
    assert found.blobs[0] == b"3 times\n"
    assert never.blobs[0] == b"nothing\n"
    assert 0.2 <= never.fields["seconds"] < 5


def test_a_repetition_that_the_deadline_cuts_off_does_not_hide_the_one_before_it(node: Node) -> None:
    once = 'echo "$0"; [ -e "$0" ] && exec sleep 30; touch "$0"'
    answer = node.batch([
        s.Run(["sh", "-c", once, f"{node.directory}/once"], repeat_until="more", timeout_seconds=0.2),
    ])[0]  # fmt: skip
    assert answer.blobs[0] == f"{node.directory}/once\n".encode()
    assert answer.fields["timed_out"] is False
    assert answer.fields["seconds"] < 5


def test_the_end_of_a_process_that_is_nobody_s_child_is_waited_for(node: Node) -> None:
    gone, still = node.batch([
        s.WaitGone(node.run(["sh", "-c", "echo $$"]).stdout.decode().strip()),
        s.WaitGone(node.agent_pid, timeout_seconds=0.1),
    ])  # fmt: skip
    assert gone.fields["timed_out"] is False
    assert still.fields["timed_out"] is True


def test_a_signal_and_a_command_that_is_not_there_are_told_apart(node: Node) -> None:
    killed = node.run(["sh", "-c", "kill -SEGV $$"])
    assert (killed.exit_code, killed.signal) == (None, signal.SIGSEGV)
    missing = node.run(["/no/such/command"])
    assert (missing.exit_code, missing.signal, missing.start_error) == (None, None, "ENOENT")
    assert node.run(["/etc/passwd"]).start_error == "EACCES"


def test_standard_input_arrives_whole_and_ends(node: Node) -> None:
    sent = bytes(range(256)) * 4096
    assert node.run(["cat"], stdin=sent).stdout == sent
    assert node.run(["cat"]).stdout == b""


def test_a_command_that_does_not_read_its_input_does_no_harm(node: Node) -> None:
    assert node.run(["true"], stdin=b"x" * MIB).ok


def test_a_timeout_is_a_value_and_the_output_so_far_is_there(node: Node) -> None:
    started = time.monotonic()
    done = node.run(["sh", "-c", "echo early; exec sleep 600"], timeout_seconds=0.2)
    assert done.timed_out
    assert not done.ok
    assert done.stdout == b"early\n"
    assert time.monotonic() - started < 0.2 * node.pace + 5
    assert node.run(["true"]).ok


def test_a_hung_command_is_killed_with_what_it_started(node: Node) -> None:
    script = 'trap "" TERM INT HUP; sleep 8642 & sleep 8642; sleep 8642'
    done = node.run(["sh", "-c", script], timeout_seconds=0.2)
    assert done.timed_out
    assert shell(node, "sleep 0.05; pgrep -fx 'sleep 8642' || echo none") == "none\n"


def test_output_beyond_the_cap_is_dropped_and_told(node: Node) -> None:
    done = node.run(["sh", "-c", "head -c 100000000 /dev/zero; echo end >&2"], max_output_bytes=1000)
    assert (done.stdout, done.stderr) == (b"\0" * 1000, b"end\n")
    assert done.truncated
    assert done.exit_code == 0


def test_a_child_that_keeps_the_streams_open_does_not_hang_us(node: Node) -> None:
    started = time.monotonic()
    done = node.run(["sh", "-c", "echo said; setsid sleep 9753 & exit 5"], timeout_seconds=20)
    assert (done.exit_code, done.stdout) == (5, b"said\n")
    assert time.monotonic() - started < 10
    shell(node, "pkill -fx 'sleep 9753'")


def test_steps_of_a_batch_are_done_in_order_and_one_error_does_not_stop_them(node: Node) -> None:
    file = f"{node.directory}/batch"
    write, missing, read, removed, there = node.batch([
        s.Write(file, b"first"), s.Read(f"{file}-missing"), s.Read(file), s.Remove(file), s.Has(file),
    ])  # fmt: skip
    assert write.error == ""
    assert (missing.error, missing.fields["where"]) == ("ENOENT", f"{file}-missing")
    assert read.blobs == (b"first",)
    assert removed.error == ""
    assert there.fields["there"] is False


def test_a_batch_is_one_round_trip(node: Node) -> None:
    one = min(timed(lambda: node.batch([s.Has("/")])) for _ in range(5))
    hundred = timed(lambda: node.batch([s.Has("/")] * 100))
    assert hundred < one * 100


def timed(call: Callable[[], object]) -> float:
    started = time.monotonic()
    call()
    return time.monotonic() - started


def test_files_are_written_whole_read_listed_and_removed(node: Node) -> None:
    base = f"{node.directory}/files"
    data = os.urandom(MIB)
    node.do(s.Write(f"{base}/deep/a.bin", data, 0o640))
    node.do(s.Mkdir(f"{base}/empty", 0o700))
    assert node.do(s.Read(f"{base}/deep/a.bin")).blobs[0] == data
    assert node.do(s.Read(f"{base}/deep/a.bin", 10)).blobs[0] == data[:10]
    assert node.do(s.List(f"{base}/*")).fields["entries"] == [f"{base}/deep", f"{base}/empty"]
    assert shell(node, f"stat -c %a {base}/deep/a.bin {base}/empty").split() == ["640", "700"]
    node.do(s.Remove(base))
    node.do(s.Remove(base))
    assert not node.do(s.Has(base)).fields["there"]


def test_a_file_that_cannot_be_written_is_the_node_s_fault(node: Node) -> None:
    node.do(s.Mkdir(f"{node.directory}/a-directory"))
    with pytest.raises(InfrastructureError, match="write .*/a-directory.*: EISDIR"):
        node.do(s.Write(f"{node.directory}/a-directory", b"x"))
    assert node.do(s.List(f"{node.directory}/*")).fields["entries"] == [f"{node.directory}/a-directory"]
    with pytest.raises(InfrastructureError, match="read /nowhere: ENOENT"):
        node.read_text("/nowhere")


def test_a_step_that_makes_no_sense_does_not_end_the_node(node: Node) -> None:
    with pytest.raises(InfrastructureError, match="run true: ValueError: embedded null byte"):
        node.run(["true", "a\0b"])
    with pytest.raises(InfrastructureError, match="feed feed: KeyError: 4711"):
        node.do(s.Feed(4711, b""))
    with pytest.raises(InfrastructureError, match="put .*: ReadError: "):
        node.put("e" * 64, io.BytesIO(b"no tar" * 200))
    assert node.do(s.List(f"{node.directory}/content/*")).fields["entries"] == []
    assert node.run(["true"]).ok


def test_content_is_put_once(node: Node) -> None:
    def tar() -> io.BytesIO:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            entry = tarfile.TarInfo("tree/file")
            entry.size, entry.mode = 4, 0o755
            archive.addfile(entry, io.BytesIO(b"data"))
        buffer.seek(0)
        return buffer

    spent = tar()
    place = node.put("d" * 64, spent)
    assert node.read_text(f"{place}/tree/file") == "data"
    assert node.put("d" * 64, spent) == place  # nothing is left in it to read
    assert place.is_relative_to(node.directory)


def test_a_kept_command_runs_on_speaks_and_listens(node: Node) -> None:
    script = 'echo ready; read line; echo "got $line"; read more || echo eof; exit 7'
    started = node.do(s.Run(["sh", "-c", script], keep=True, background=True, hold_stdin=True))
    handle = started.fields["handle"]
    assert not node.do(s.Output(handle, "ready", 5)).fields["timed_out"]
    assert node.do(s.Output(handle, "never said", 0.1)).fields["timed_out"]
    node.do(s.Feed(handle, b"hello\n"))
    assert b"got hello" in node.do(s.Output(handle, "got hello", 5)).blobs[0]
    assert node.do(s.Wait(handle, timeout_seconds=0.1)).fields["timed_out"]
    node.do(s.Feed(handle, close=True))
    ended = node.do(s.Wait(handle, timeout_seconds=5))
    assert ended.fields["exit_code"] == 7
    assert ended.blobs[0] == b"ready\ngot hello\neof\n"
    node.do(s.Release(handle))


def test_a_released_command_is_killed(node: Node) -> None:
    step = s.Run(["sleep", "7531"], keep=True, background=True)
    started = completed(step, node.do(step))
    node.do(s.Release(started.handle))
    assert node.do(s.Snapshot(started.pid)).fields["snapshot"] is None


def test_an_orphan_becomes_ours_and_its_end_is_told(node: Node) -> None:
    done = node.run(["sh", "-c", "setsid sh -c 'sleep 0.2; exit 9' >/dev/null 2>&1 </dev/null & echo $!"])
    ended = node.do(s.Wait(pid=int(done.stdout), timeout_seconds=5))
    assert ended.fields["exit_code"] == 9


def test_a_terminal_s_worth_of_facts_is_known(node: Node) -> None:
    assert node.facts["cgroup_mode"] in ("v1", "v2", "hybrid")
    assert {"memory", "pids"} <= {c for names in node.facts["controllers"] for c in names.split(",")}
    assert re.match(r"\d+\.\d+", node.facts["kernel"])
    assert node.facts["user"] == 0
    assert node.pace >= 1


def kill_agent(kind: str, node: Node) -> None:
    if kind == "sandbox":
        os.kill(first_process_of(node.session), signal.SIGKILL)
    else:
        with pytest.raises(InfrastructureError):
            node.do(s.Kill(node.agent_pid, signal.SIGKILL))


def test_an_agent_that_is_gone_is_told_quickly_and_again(kind: str, node: Node) -> None:
    kill_agent(kind, node)
    started = time.monotonic()
    for _ in range(2):
        with pytest.raises(InfrastructureError, match=f"node {kind}.* went away"):
            node.run(["true"], timeout_seconds=600)
    assert time.monotonic() - started < 5
    node.close()
    opened(kind).close()  # the next session sweeps what a killed agent could not


def test_an_agent_that_dies_in_the_middle_of_a_step_is_told_quickly(kind: str, node: Node) -> None:
    def kill_later() -> subprocess.Popen[bytes]:
        if kind == "sandbox":
            return subprocess.Popen(["sh", "-c", f"sleep 0.3; kill -9 {first_process_of(node.session)}"])
        node.do(s.Run(["sh", "-c", f"sleep 0.3; kill -9 {node.agent_pid}"], keep=True, background=True))
        return subprocess.Popen(["true"])

    helper = kill_later()
    started = time.monotonic()
    with pytest.raises(InfrastructureError, match="went away"):
        node.run(["sleep", "600"], timeout_seconds=600)
    assert time.monotonic() - started < 5
    helper.wait(5)
    node.close()
    opened(kind).close()


def test_an_agent_that_stands_still_is_given_up_in_time(kind: str, node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("conformance.node.ROUND_TRIP_SECONDS", 0.5)
    pid = first_process_of(node.session) if kind == "sandbox" else node.agent_pid
    if kind == "ssh":
        script = f"(sleep 2; kill -CONT {pid}) >/dev/null 2>&1 </dev/null & sleep 0.1; kill -STOP {pid}"
        node.do(s.Run(["sh", "-c", script], keep=True, background=True))
        time.sleep(0.3)
    else:
        os.kill(pid, signal.SIGSTOP)
    started = time.monotonic()
    with pytest.raises(InfrastructureError, match="did not (answer|take what was sent) in time"):
        node.batch([s.Write(f"{node.directory}/big", b"x" * (32 * MIB))])
    assert time.monotonic() - started < 5
    assert node.dead
    node.close()
    opened(kind).close()  # sweeps the files that a killed agent could not remove


def test_after_close_nothing_of_the_session_is_on_the_machine(kind: str, node: Node, ssh_config: SshMachine) -> None:
    busy(node)
    node.close()
    assert_gone(kind, node.session, ssh_config.node)
    with pytest.raises(InfrastructureError, match="closed"):
        node.run(["true"])


def test_when_the_client_is_killed_nothing_of_the_session_is_left(kind: str, ssh_config: SshMachine) -> None:
    program = f"""
import sys, time
sys.path.insert(0, {str(REPOSITORY)!r})
from tests.endtoend import test_nodes
node = test_nodes.opened({kind!r})
test_nodes.busy(node)
print(node.session, flush=True)
time.sleep(600)
"""
    client = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert client.stdout is not None
    session = client.stdout.readline().strip()
    client.kill()
    client.wait(5)
    until(lambda: not [t for t in left_by_the_dead() if session in t], 5)
    assert_gone(kind, session, ssh_config.node)


def busy(node: Node) -> None:
    """Leave something of every kind: a process, one in a session of its own, a cgroup with a process, files."""
    group = f"/conformance/{node.session}/a/b"
    node.batch([
        s.Run(["sleep", "6420"], keep=True, background=True),
        s.Run(["sh", "-c", "setsid sleep 6420 >/dev/null 2>&1 </dev/null &"]),
        s.CgroupMake(group),
        s.Write(f"{node.directory}/file", b"x"),
    ])  # fmt: skip
    places = f"/sys/fs/cgroup/pids{group} /sys/fs/cgroup{group}"
    join = f"for d in {places}; do [ -d $d ] && (echo 0 > $d/cgroup.procs; exec sleep 6420) >/dev/null 2>&1 & done"
    joined = node.run(["sh", "-c", join])
    assert joined.ok


def assert_gone(kind: str, session: str, machine: Node) -> None:
    if kind == "ssh":
        places = f"ls -d /var/lib/conformance/{session}*; find /sys/fs/cgroup -name '{session}'"
        processes = ["pgrep", "-fl", f"sleep 6420|{session}"]
        until(lambda: not machine.run(processes).stdout, 5)
        assert shell(machine, places) == ""
    else:
        until(lambda: not [t for t in left_by_the_dead() if session in t], 5)
        commands = [p.read_bytes() for p in Path("/proc").glob("[0-9]*/cmdline") if os.access(p, os.R_OK)]
        assert b"sleep\x006420\0" not in commands


def test_two_nodes_do_not_see_each_other(kind: str) -> None:
    one, two = opened(kind), opened(kind)
    try:
        one.do(s.Write(f"{one.directory}/mine", b"x"))
        assert one.session != two.session
        assert two.do(s.List(f"{two.directory}/*")).fields["entries"] == []
        one.close()
        assert two.run(["true"]).ok
    finally:
        one.close()
        two.close()


def test_an_ssh_machine_that_does_not_answer_is_told_in_one_line(ssh_config: SshMachine) -> None:
    bed, _ = testbeds.testbed("ssh://")
    with pytest.raises(InfrastructureError) as caught:
        bed.open_node("low-level", "root@nowhere.invalid", f"{os.getpid():x}-000000")
    assert re.match(r"node ssh nowhere\.invalid went away: ssh: Could not resolve hostname", str(caught.value))


def test_a_sandbox_without_its_image_is_told_in_one_line() -> None:
    keeper = REPOSITORY / "conformance" / "testbeds" / "enclosure.py"
    name = f"{os.getpid():x}-00000a"
    sizes = {"upper": "1m", "state": "1m", "run": "1m", "tmp": "1m"}
    place = {"name": name, "hostname": "x", "image": "/no/image", "components": [], "bootstrap": "", "sizes": sizes}
    what = json.dumps(place)
    with pytest.raises(InfrastructureError) as caught:
        Node("sandbox x", [sys.executable, "-I", str(keeper), what], "x")
    assert str(caught.value) == (
        "node sandbox x went away: sandbox: mount overlay on"
        f" /run/wasm-conformance/{name}/root: No such file or directory"
    )


def test_the_first_process_with_pids_of_its_own_in_a_new_cgroup_is_looked_at_and_nothing_else(node: Node) -> None:
    program, top = f"{node.directory}/watcher.py", f"/conformance/{node.session}/watched"
    node.batch([s.Write(program, proof.WATCHER.read_bytes()), s.CgroupMake(top)])
    watcher = services.need(node, "watcher", program=program, cgroup=top, levels="2")
    node.batch([s.CgroupMake(f"{top}/pod/container"), s.CgroupMake(f"{top}/pod/empty")])
    # helper and guest, as a runtime makes them; the guest is gone after 20 ms
    helper = shell(
        node,
        f"""
        for root in $(awk '$3 == "cgroup" || $3 == "cgroup2" {{ print $2 }}' /proc/self/mounts); do
            case $root in */cpuset) ;; *) echo $$ > "$root{top}/pod/container/cgroup.procs" ;; esac
        done
        echo $$
        exec unshare --pid --fork sleep 0.02
    """,
    )
    names = shell(node, f"cd {watcher.directory}/snapshots; ls")
    seen = proof.parse_hook(node.batch([s.Read(f"{watcher.directory}/snapshots/container")])[0].blobs[0])
    node.batch([s.CgroupRemove(top)])

    assert names.split() == ["container", "none", "ready"]
    assert seen is not None
    assert seen.container_id == "container"
    assert seen.comm in ("unshare", "sleep")  # before or after it has become its program
    assert seen.pid != int(helper)
    assert any(Path(file).name.startswith("libc.") for file in seen.mapped)
