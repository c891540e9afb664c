"""From create to delete, step by step."""

from conformance import Feature, needs, requirement

LIVE = {"hold_stdin": True}


@requirement("OCI-CREATE-NOT-RUN")
@needs(Feature.LIFECYCLE)
def test_create_does_not_run_the_guest(path):
    container = path.create("hold", **LIVE)
    assert container.created.ok

    spoke_before_start = container.wait_until_output(timeout_seconds=0.3)
    assert container.start().ok
    assert container.wait_until_output()
    container.feed()

    assert path.finish(container).proven
    assert not spoke_before_start


@requirement("OCI-STATE")
@needs(Feature.LIFECYCLE)
def test_a_container_is_created_then_running_then_stopped(path):
    container = path.create("hold", **LIVE)
    created = container.state()
    container.start()
    assert container.wait_until_output()
    running = container.status
    container.feed()
    assert path.finish(container).proven

    assert created["status"] == "created"
    assert created["id"] == container.id
    assert created["pid"] == container.pid
    assert created["bundle"] == container.bundle
    assert "ociVersion" in created
    assert running == "running"
    assert container.status == "stopped"


@requirement("OCI-STATE-UNKNOWN")
@needs(Feature.LIFECYCLE)
def test_state_of_an_unknown_container_is_an_error(path):
    answer = path.launcher.command("state", "no-such-container")

    assert answer.exit_code not in (0, None)
    assert path.run("exit-return-0").proven


@requirement("OCI-START-TWICE")
@needs(Feature.LIFECYCLE)
def test_start_of_a_running_container_is_an_error_without_effect(path):
    container = path.create("hold", **LIVE)
    assert container.start().ok
    assert container.wait_until_output()

    again = container.start()
    still = container.status
    container.feed()

    assert path.finish(container).proven
    assert again.exit_code not in (0, None)
    assert still == "running"


@requirement("OCI-CREATE-UNIQUE")
@needs(Feature.LIFECYCLE)
def test_an_id_in_use_is_refused(path):
    container = path.create("hold", **LIVE)
    assert container.created.ok

    second = path.create("hold", id=container.id, **LIVE)
    assert container.start().ok
    assert container.wait_until_output()
    container.feed()

    assert path.finish(container).proven
    assert second.created.exit_code not in (0, None)


@requirement("OCI-CREATE-ID")
@needs(Feature.LIFECYCLE)
def test_an_id_that_leaves_its_directory_is_refused(path):
    answer = path.create("exit-return-0", id="../escape")

    assert answer.created.exit_code not in (0, None)
    assert answer.created.signal is None
    assert path.run("exit-return-0").proven


@requirement("OCI-DELETE-RUNNING")
@needs(Feature.LIFECYCLE)
def test_delete_of_a_running_container_is_an_error_without_effect(path):
    container = path.create("hold", **LIVE)
    assert container.start().ok
    assert container.wait_until_output()

    deleted = container.delete()
    still = container.status
    container.feed()

    assert path.finish(container).proven
    assert deleted.exit_code not in (0, None)
    assert still == "running"


@requirement("OCI-DELETE")
@needs(Feature.LIFECYCLE)
def test_delete_leaves_no_cgroup_and_no_state(path):
    container = path.create("exit-return-0")
    assert container.start().ok
    assert path.finish(container).proven
    before = container.leftovers()

    deleted = container.delete()

    assert before != ()
    assert deleted.ok
    assert container.leftovers() == ()
    assert container.status == ""


@requirement("OCI-RUN-TIDY")
def test_run_leaves_no_cgroup_and_no_state(path):
    result = path.run("exit-return-0")

    assert result.proven
    assert result.leftovers == ()


@requirement("OCI-CONFIG-FROZEN")
@needs(Feature.LIFECYCLE, Feature.OCI_CONFIG)
def test_a_change_of_config_json_after_create_has_no_effect(path):
    container = path.create("environment", env=["WHEN=before create"])
    assert container.created.ok

    container.rewrite_config({"process": {"env": ["WHEN=after create"]}})
    assert container.start().ok
    result = path.finish(container)

    path.observe(when=[v for v in result.report["env"] if v.startswith("WHEN=")])
    assert result.proven
    assert "WHEN=before create" in result.report["env"]
    assert "WHEN=after create" not in result.report["env"]


@requirement("OCI-START-NO-PROCESS")
@needs(Feature.LIFECYCLE, Feature.OCI_CONFIG)
def test_without_process_the_container_does_not_start(path):
    container = path.create("exit-return-0", oci={"process": None})

    answers = [container.created, *([container.start()] if container.created.ok else [])]

    path.observe(created=answers[0].how_it_ended(), started=answers[-1].how_it_ended())
    assert [a.signal for a in answers] == [None] * len(answers)
    assert answers[-1].exit_code not in (0, None)
    assert not answers[-1].timed_out


@requirement("CLI-PID-FILE")
@needs(Feature.LIFECYCLE)
def test_the_pid_file_names_the_process_that_runs_the_guest(path):
    container = path.create("hold", **LIVE)
    assert container.start().ok
    assert container.wait_until_output()

    process = container.snapshot()
    pid_in_state = container.state()["pid"]
    members = container.cgroup_values("cgroup.procs")["cgroup.procs"].split()
    container.feed()

    assert path.finish(container).proven
    assert process is not None
    assert container.pid_text == str(pid_in_state)
    assert members == [container.pid_text]
    assert path.runs_guest(process, "hold")


@requirement("OCI-EXEC")
@needs(Feature.EXEC)
def test_exec_gives_a_result_or_a_clean_error_and_never_hangs(path):
    container = path.create("hold", **LIVE)
    assert container.start().ok
    assert container.wait_until_output()

    done = container.exec(*path.command_of("exit-return-0"))
    still = container.status
    container.feed()

    path.observe(exec=done.how_it_ended())
    assert path.finish(container).proven
    assert not done.timed_out
    assert done.signal is None
    assert done.exit_code == 0 or done.stderr != b""
    assert still == "running"


@requirement("PARITY-EXEC")
@needs(Feature.EXEC)
def test_exec_runs_a_second_guest(path):
    container = path.create("hold", **LIVE)
    assert container.start().ok
    assert container.wait_until_output()

    done = container.exec(*path.command_of("exit-return-0"))
    container.feed()

    assert path.finish(container).proven
    path.observe(exec_exit_code=done.exit_code, exec_error=done.stderr.decode("utf-8", "replace").strip()[-60:])
    assert done.exit_code == 0
    assert b"@guest " in done.stdout


@requirement("CLI-PAUSE")
@needs(Feature.PAUSE)
def test_pause_stops_a_busy_guest_and_resume_lets_it_go_on(path):
    container = path.create("spin")
    assert container.start().ok
    assert container.wait_until_output()

    paused = container.pause()
    status = container.wait_until_status("paused")
    while_paused = container.cpu_seconds_used(during_seconds=0.3)
    resumed = container.resume()
    goes_on = container.wait_until_busy()
    container.kill("KILL")

    assert path.finish(container).proven
    assert paused.ok
    assert status == "paused"
    assert while_paused < 0.02
    assert resumed.ok
    assert goes_on
