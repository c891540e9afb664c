"""Signals to the container's process."""

from conformance import Feature, needs, requirement


@requirement("OCI-KILL")
@needs(Feature.LIFECYCLE)
def test_kill_ends_an_endless_loop(path):
    container = path.create("spin")
    assert container.start().ok
    assert container.wait_until_output()

    killed = container.kill("KILL")
    result = path.finish(container)

    assert result.proven
    assert killed.ok
    assert result.signal == 9


@requirement("CLI-RUN-SIGNALLED")
@needs(Feature.LIFECYCLE)
def test_run_tells_that_a_signal_ended_the_guest(path):
    container = path.launch("spin")
    assert path.launcher.command("kill", container.id, "KILL").ok

    result = path.finish(container)

    assert result.proven
    assert result.exit_code == 137


@requirement("OCI-KILL-SIGNAL")
@needs(Feature.LIFECYCLE)
def test_the_signal_asked_for_is_the_one_delivered(path):
    container = path.create("spin")
    assert container.start().ok
    assert container.wait_until_output()

    # USR1 has no handler, so PID 1 of the container ignores it
    probed = container.kill("USR1")
    soon_after = container.wait(timeout_seconds=0.3)
    container.kill("KILL")
    result = path.finish(container)

    assert result.proven
    assert probed.ok
    assert soon_after.timed_out
    assert result.signal == 9


@requirement("OCI-KILL-SIGNAL")
@needs(Feature.LIFECYCLE)
def test_term_is_not_delivered_as_kill(path):
    container = path.create("spin")
    assert container.start().ok
    assert container.wait_until_output()

    # a guest without a handler lives on as PID 1 of its namespace, and dies of TERM where it is not
    sent = container.kill("TERM")
    still = container.status
    container.kill("KILL")
    result = path.finish(container)

    path.observe(after_term=still)
    assert result.proven
    assert sent.ok
    assert still == "running" or result.signal != 9


@requirement("PROJECT-TERM")
@needs(Feature.LIFECYCLE)
def test_term_ends_a_guest_without_handler_within_a_second(path):
    container = path.create("hold", hold_stdin=True)
    assert container.start().ok
    assert container.wait_until_output()

    assert container.kill("TERM").ok
    result = path.finish(container, timeout_seconds=1.0)

    path.observe(ended=not result.timed_out, by_signal=result.signal)
    assert result.proven
    assert not result.timed_out


@requirement("OCI-KILL-STOPPED")
@needs(Feature.LIFECYCLE)
def test_a_signal_to_a_stopped_container_is_an_error(path):
    container = path.create("exit-return-0")
    assert container.start().ok
    assert path.finish(container).proven

    killed = container.kill("KILL")

    assert killed.exit_code not in (0, None)
    assert container.status == "stopped"
