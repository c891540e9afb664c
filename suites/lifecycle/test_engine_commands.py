"""What a container engine's own commands do to a running guest."""

from conformance import Feature, needs, requirement

GRACE_SECONDS = 2


@requirement("OCI-USER")
@needs(Feature.ENGINE_COMMAND)
def test_the_engine_runs_the_guest_as_the_user_asked_for(path):
    container = path.launch("hold", uid=1000, gid=1001, additional_gids=(2000,), hold_stdin=True)

    process = container.snapshot()
    container.feed()

    assert path.finish(container).proven
    assert process
    assert process.status["Uid"].split() == ["1000"] * 4
    assert process.status["Gid"].split() == ["1001"] * 4
    assert "2000" in process.status["Groups"].split()


@requirement("IMG-USER")
@needs(Feature.ENGINE_COMMAND, Feature.IMAGES)
def test_the_image_s_user_is_the_guest_s(path):
    image = path.image("hold", config={"User": "1234:5678"})
    assert path.load(image).ok
    container = path.launch("hold", image=image.name, hold_stdin=True)

    process = container.snapshot()
    container.feed()

    assert path.finish(container).proven
    assert process
    assert process.status["Uid"].split() == ["1234"] * 4
    assert process.status["Gid"].split() == ["5678"] * 4


@requirement("CLI-RUN-SIGNALLED")
@needs(Feature.ENGINE_COMMAND)
def test_a_guest_that_is_killed_is_137_to_the_caller(path):
    container = path.launch("spin")

    killed = container.kill("KILL")
    result = path.finish(container)

    assert result.proven
    assert killed.ok
    assert result.exit_code == 137


@requirement("CLI-STOP")
@needs(Feature.ENGINE_COMMAND, Feature.STOP)
def test_stop_ends_a_guest_after_its_grace_period_at_the_latest(path):
    container = path.launch("spin", timeout_seconds=30)

    stopped = container.stop(GRACE_SECONDS)
    result = path.finish(container)

    path.observe(exit_code=result.exit_code)
    assert result.proven
    assert stopped.ok
    assert not result.timed_out
    assert result.exit_code in (137, 143)
    assert stopped.seconds < (GRACE_SECONDS + 8) * path.node.pace


@requirement("OCI-EXEC")
@needs(Feature.ENGINE_COMMAND)
def test_the_engine_s_exec_gives_a_result_or_an_error_and_leaves_the_guest_alone(path):
    container = path.launch("hold", hold_stdin=True)

    done = container.exec(*path.command_of("exit-return-0"))
    still = container.snapshot()
    container.feed()

    path.observe(exec=done.how_it_ended())
    assert path.finish(container).proven
    assert not done.timed_out
    assert done.exit_code == 0 or done.stderr != b""
    assert still
