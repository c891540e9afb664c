"""Exec and attach, through the runtime's streaming server and without it."""

from conformance import Feature, needs, requirement


@requirement("CRI-EXEC-SYNC")
@needs(Feature.PODS)
def test_exec_gives_a_result_or_an_error_and_never_hangs(path):
    container = path.pod().start(path.spec("pause"))
    assert container.wait_until_output()

    done = container.exec_sync(*path.command_of("exit-return-0"), timeout_seconds=15)

    path.observe(exec="result" if done.ok else "error")
    assert path.finish(container, timeout_seconds=0).proven
    assert not done.timed_out
    assert done.ok or done.stderr


@requirement("CRI-EXEC-CODE")
@needs(Feature.PODS, Feature.NATIVE)
def test_exec_tells_output_and_exit_code(path):
    container = path.pod().start(path.spec("pause"))
    assert container.wait_until_output()

    well, badly = (container.exec_sync(path.module(name)) for name in ("exit-return-0", "exit-42"))

    assert path.finish(container, timeout_seconds=0).proven
    assert well.ok
    assert b"@guest " in well.stdout
    assert not badly.ok
    assert b"exited with 42" in badly.stderr


@requirement("CRI-EXEC-SURVIVED")
@needs(Feature.PODS)
def test_a_failed_exec_leaves_the_container_running(path):
    container = path.pod().start(path.spec("pause"))
    assert container.wait_until_output()

    done = container.exec_sync("/no-such-program", timeout_seconds=15)

    assert path.finish(container, timeout_seconds=0).proven
    assert not done.ok
    assert container.state == "CONTAINER_RUNNING"


@requirement("CRI-ATTACH-STDIN")
@needs(Feature.PODS)
def test_attached_input_reaches_the_guest_and_ends(path):
    container = path.pod().start(path.spec("stdin-echo", hold_stdin=True))
    assert container.wait_until_output()

    attached = container.attach(b"one\ntwo\n")

    result = path.finish(container, timeout_seconds=4)
    assert result.proven
    assert not attached.timed_out
    assert result.stderr == b"one\ntwo\n"
    assert result.status["state"] == "CONTAINER_EXITED"


@requirement("CRI-ATTACH-OUTPUT")
@needs(Feature.PODS)
def test_an_attached_client_sees_what_the_guest_writes(path):
    container = path.pod().start(path.spec("stdin-echo", hold_stdin=True))
    assert container.wait_until_output()

    attached = container.attach(b"seen by both\n")

    result = path.finish(container, timeout_seconds=4)
    assert result.proven
    assert b"seen by both" in attached.stderr
    assert b"seen by both" in result.stderr


@requirement("CRI-TTY")
@needs(Feature.PODS)
def test_a_guest_with_tty_has_a_terminal(path):
    container = path.pod().start(path.spec("terminal", tty=True, hold_stdin=True))
    assert container.wait_until_output(b"isatty")
    container.stop(0)

    result = path.finish(container)

    assert result.proven
    assert result.report["isatty"] == [True, True, True]
