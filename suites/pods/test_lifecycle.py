"""A container in a pod from creation to removal, as its status tells it."""

from datetime import datetime

from conformance import Feature, needs, requirement
from conformance.cri import SIGKILL


def stop(path, container):
    """Stop a container with a grace period that a slow node does not use up by itself; the period, in seconds."""
    grace = min(30, round(6 * path.node.pace))
    return container.stop(grace), grace


@requirement("CRI-STATE-CREATED")
@needs(Feature.PODS)
def test_a_created_container_has_not_run(path):
    pod = path.pod()
    container = pod.create(path.spec("exit-return-0"))
    created = container.status()
    log = container.log()

    container.start()
    result = path.finish(container)

    assert created["state"] == "CONTAINER_CREATED"
    assert log == []
    assert result.proven


@requirement("CRI-STATE-RUNNING")
@needs(Feature.PODS)
def test_a_started_container_runs_until_it_is_stopped(path):
    pod = path.pod()
    container = pod.start(path.spec("pause"))
    assert container.wait_until_output()

    assert container.state == "CONTAINER_RUNNING"
    assert container.stop(0).ok

    result = path.finish(container)
    assert result.proven
    assert result.status["state"] == "CONTAINER_EXITED"


@requirement("CRI-EXIT-COMPLETED")
@needs(Feature.PODS)
def test_exit_code_0_is_completed(path):
    result = path.run("exit-return-0")

    assert result.proven
    assert result.exit_code == 0
    assert result.status["reason"] == "Completed"


@requirement("CRI-EXIT-ERROR")
@needs(Feature.PODS)
def test_exit_code_42_is_an_error(path):
    result = path.run("exit-42")

    path.observe(reason=result.status.get("reason"))
    assert result.proven
    assert result.exit_code == 42
    assert result.status["reason"] == "Error"


@requirement("CRI-TRAP")
@needs(Feature.PODS)
def test_a_trap_is_an_error_and_no_out_of_memory_kill(path):
    result = path.run("trap")

    assert result.proven
    assert result.exit_code not in (0, None)
    assert result.status["reason"] == "Error"


@requirement("CRI-TIMESTAMPS")
@needs(Feature.PODS)
def test_the_times_of_creation_start_and_end_are_in_order(path):
    # not a guest that ends at once: containerd notes the start after the runtime has returned
    result = path.run("sleep", ["seconds=1"])

    assert result.proven
    created, started, finished = (
        datetime.fromisoformat(str(result.status[name])) for name in ("createdAt", "startedAt", "finishedAt")
    )
    assert created <= started <= finished
    assert abs(finished.timestamp() - path.node_seconds()) < 60


@requirement("CRI-STOP-GRACE")
@needs(Feature.PODS)
def test_a_stopped_container_is_killed_after_its_grace_period_at_the_latest(path):
    pod = path.pod()
    container = pod.start(path.spec("pause"))
    assert container.wait_until_output()

    stopped = container.stop(2)

    result = path.finish(container)
    path.observe(grace_period_passed=stopped.seconds >= 2)
    assert result.proven
    assert stopped.ok
    assert stopped.seconds < 2 + 5 * path.node.pace
    assert result.status["state"] == "CONTAINER_EXITED"
    assert result.exit_code is not None


@requirement("CRI-STOP-AT-ONCE")
@needs(Feature.PODS)
def test_without_grace_period_a_container_is_killed_at_once(path):
    pod = path.pod()
    container = pod.start(path.spec("spin"))
    assert container.wait_until_output()

    stopped = container.stop(0)

    result = path.finish(container)
    assert result.proven
    assert stopped.ok
    assert stopped.seconds < 5 * path.node.pace
    assert result.exit_code == 137


@requirement("PROJECT-STOP-TERM")
@needs(Feature.PODS)
def test_sigterm_ends_a_waiting_guest_before_the_grace_period(path):
    pod = path.pod()
    container = pod.start(path.spec("pause"))
    assert container.wait_until_output()

    stopped, grace = stop(path, container)

    result = path.finish(container)
    path.observe(exit_code=result.exit_code, whole_period=stopped.seconds >= grace)
    assert result.proven
    assert stopped.seconds < grace


@requirement("CRI-STOP-SIGNAL")
@needs(Feature.PODS, Feature.STOP_SIGNAL)
def test_a_container_s_own_stop_signal_is_used(path):
    pod = path.pod()
    container = pod.start(path.spec("pause"), changes={"stop_signal": SIGKILL})
    assert container.wait_until_output()

    stopped, grace = stop(path, container)

    result = path.finish(container)
    path.observe(exit_code=result.exit_code, whole_period=stopped.seconds >= grace)
    assert result.proven
    assert stopped.seconds < grace
    assert result.exit_code == 137


@requirement("CRI-STOP-SIGNAL-TOLD")
@needs(Feature.PODS, Feature.STOP_SIGNAL)
def test_the_status_tells_a_container_s_stop_signal(path):
    pod = path.pod()
    asked = path.finish(pod.start(path.spec("exit-return-0"), changes={"stop_signal": SIGKILL}))
    default = path.finish(pod.start(path.spec("exit-return-0"), attempt=1))

    path.observe(asked=asked.status.get("stopSignal"), default=default.status.get("stopSignal"))
    assert asked.proven
    assert default.proven
    assert asked.status["stopSignal"] == "SIGKILL"
    assert default.status["stopSignal"] == "SIGTERM"


@requirement("CRI-STOP-SIGNAL-IMAGE")
@needs(Feature.PODS, Feature.IMAGES)
def test_the_image_s_stop_signal_is_used(path):
    image = path.image("pause", config={"StopSignal": "SIGKILL"})
    assert path.load(image).ok
    pod = path.pod()
    container = pod.start(path.spec("pause", image=image.name))
    assert container.wait_until_output()

    stopped, grace = stop(path, container)

    result = path.finish(container)
    path.observe(exit_code=result.exit_code, whole_period=stopped.seconds >= grace)
    assert result.proven
    assert stopped.seconds < grace
    assert result.exit_code == 137


@requirement("CRI-STOP-AGAIN")
@needs(Feature.PODS)
def test_stopping_a_container_twice_is_no_error(path):
    pod = path.pod()
    container = pod.start(path.spec("exit-return-0"))
    assert path.finish(container).proven

    assert container.stop(1).ok
    assert container.stop(1).ok


@requirement("CRI-REMOVE-RUNNING")
@needs(Feature.PODS)
def test_a_running_container_can_be_removed(path):
    pod = path.pod()
    container = pod.start(path.spec("pause"))
    assert container.wait_until_output()
    spoken = path.finish(container, timeout_seconds=0)
    pid = container.pid

    assert spoken.proven
    assert container.remove().ok
    assert container.state == ""
    assert path.node.snapshot(pid) is None


@requirement("CRI-BAD-MODULE")
@needs(Feature.PODS, Feature.WASM)
def test_a_truncated_module_fails_and_the_status_or_log_says_so(path):
    result = path.run("truncated")

    assert not result.guest_started
    assert result.exit_code not in (0, None)
    assert result.stderr or result.status.get("message")


@requirement("CRI-MISSING-FILE")
@needs(Feature.PODS)
def test_a_missing_program_is_named(path):
    result = path.run("exit-return-0", argv0="/no-such-file.wasm")

    path.observe(said=result.stderr.decode(errors="replace").rpartition(": ")[2].strip())
    assert not result.guest_started
    assert result.exit_code not in (0, None)
    assert b"no-such-file.wasm" in result.stdout + result.stderr


@requirement("CRI-ATTEMPTS")
@needs(Feature.PODS)
def test_a_container_can_be_started_again_in_its_pod_as_the_next_attempt(path):
    pod = path.pod()
    first = path.finish(pod.start(path.spec("exit-return-0")))
    second = path.finish(pod.start(path.spec("exit-return-0"), attempt=1))

    assert first.proven
    assert second.proven
    assert [r.status["metadata"]["attempt"] for r in (first, second)] == [0, 1]
    assert first.status["id"] != second.status["id"]


@requirement("CRI-EVENTS")
@needs(Feature.PODS)
def test_events_tell_of_creation_start_end_and_removal_in_this_order(path):
    pod = path.pod()
    pod.watch_events()
    container = pod.start(path.spec("sleep", ["seconds=1"]))
    result = path.finish(container)
    container.remove()

    kinds = pod.events_of(container, last="CONTAINER_DELETED_EVENT")

    assert result.proven
    assert kinds == [
        "CONTAINER_CREATED_EVENT",
        "CONTAINER_STARTED_EVENT",
        "CONTAINER_STOPPED_EVENT",
        "CONTAINER_DELETED_EVENT",
    ]


@requirement("CRI-RESTART-RUNNING")
@needs(Feature.PODS)
def test_a_guest_outlives_a_restart_of_the_runtime(path):
    pod = path.pod()
    container = pod.start(path.spec("hold", hold_stdin=True))
    assert container.wait_until_output()
    pid = container.pid

    path.launcher.restart()

    running = container.status()
    process = path.node.snapshot(pid)
    assert running["state"] == "CONTAINER_RUNNING"
    assert process is not None
    container.stop(0)
    result = path.finish(container)
    assert result.proven
    assert result.exit_code == 137


@requirement("CRI-RESTART-EXITED")
@needs(Feature.PODS)
def test_an_exit_code_outlives_a_restart_of_the_runtime(path):
    pod = path.pod()
    container = pod.start(path.spec("trap"))
    before = path.finish(container)

    path.launcher.restart()

    after = container.status()
    assert before.proven
    assert before.exit_code != 0
    assert after["exitCode"] == before.exit_code
    assert after["state"] == "CONTAINER_EXITED"
