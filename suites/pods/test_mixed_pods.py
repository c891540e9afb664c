"""Native containers and modules in one pod."""

from conformance import Feature, Mount, needs, needs_node, requirement

SMART = {"run.oci.handler": "wasm-smart"}


def native(path, workload, args=(), **more):
    """A container that runs the native twin of a workload."""
    return path.spec(workload, args, argv0=f"/{workload}", guest="native", rootfs=path.native_root, **more)


@requirement("CRI-MIXED-SIDECAR")
@needs(Feature.PODS, Feature.CRUN, Feature.HANDLER)
def test_a_module_and_a_native_side_car_run_in_one_pod(path):
    pod = path.pod(SMART)
    sidecar = pod.start(native(path, "pause"), name="sidecar")
    assert sidecar.wait_until_output()

    module = path.finish(pod.start(path.spec("exit-return-0")))

    beside = path.finish(sidecar, timeout_seconds=0)
    assert module.proven
    assert module.exit_code == 0
    assert beside.proven
    assert not path.engine_in(sidecar.snapshot())
    assert sidecar.state == "CONTAINER_RUNNING"


@requirement("CRI-MIXED-EXEC")
@needs(Feature.PODS, Feature.CRUN, Feature.HANDLER)
def test_exec_works_in_the_native_side_car_of_a_module(path):
    pod = path.pod(SMART)
    sidecar = pod.start(native(path, "pause"), name="sidecar")
    module = pod.start(path.spec("pause"))
    assert sidecar.wait_until_output()
    assert module.wait_until_output()

    done = sidecar.exec_sync("/exit-return-0")

    assert path.finish(module, timeout_seconds=0).proven
    assert path.finish(sidecar, timeout_seconds=0).proven
    assert done.ok
    assert b"@guest " in done.stdout


@requirement("CRI-MIXED-INIT")
@needs(Feature.PODS, Feature.CRUN, Feature.HANDLER)
def test_a_module_prepares_a_volume_for_a_native_container(path):
    volume = path.directory()
    pod = path.pod(SMART)
    writes = path.spec("files", ["write:/mnt/made.txt:by the module"], mounts=[Mount(volume, "/mnt")])

    init = path.finish(pod.start(writes, name="init"))
    mount = [Mount(volume, "/mnt", read_only=True)]
    reader = path.finish(pod.start(native(path, "files", ["read:/mnt/made.txt", "write:/mnt/no:x"], mounts=mount)))

    assert init.proven
    assert init.exit_code == 0
    assert reader.proven
    assert reader.reports[0]["text"] == "by the module"
    assert reader.reports[1]["errno"] == "EROFS"


@requirement("CRI-SHARED-PIDS")
@needs(Feature.PODS)
def test_a_guest_runs_in_a_pod_that_shares_its_pid_namespace(path):
    pod = path.pod(pid=0)
    path.observe(oom_score_adj="refused" if b"oom_score_adj" in pod.created.stderr else "set")
    assert pod.created.ok
    container = pod.start(
        path.spec("pause"), changes={"linux": {"security_context": {"namespace_options": {"pid": 0}}}}
    )
    path.observe(started=bool(container.started and container.started.ok))
    assert container.wait_until_output()

    own, guest = pod.snapshot(), container.snapshot()

    assert path.finish(container, timeout_seconds=0).proven
    assert own.exe == "/pause"
    assert not path.engine_in(own)
    assert guest.namespaces["pid"] == own.namespaces["pid"]


@requirement("CRI-ANNOTATION-NOT-ALLOWED")
@needs(Feature.PODS, Feature.CRUN, Feature.HANDLER)
def test_an_annotation_that_the_handler_does_not_allow_asks_for_nothing(path):
    pod = path.pod(handler=path.launcher.handler_without_annotations)
    container = pod.start(path.spec("exit-return-0"))

    result = path.finish(container)

    assert pod.created.ok
    assert not result.guest_started
    assert result.exit_code not in (0, None)


@requirement("CRI-SECURITY-CONTEXT")
@needs(Feature.PODS)
def test_user_and_new_privileges_of_the_security_context_hold_for_the_guest_s_process(path):
    container = path.pod().start(path.spec("pause", uid=1000, gid=1000, additional_gids=(2000,)))
    assert container.wait_until_output()

    status = container.snapshot().status

    assert path.finish(container, timeout_seconds=0).proven
    assert status["Uid"].split() == ["1000"] * 4
    assert status["Gid"].split() == ["1000"] * 4
    assert "2000" in status["Groups"].split()
    assert status["NoNewPrivs"] == "1"


@requirement("CRI-SECCOMP")
@needs(Feature.PODS)
@needs_node("seccomp")
def test_the_runtime_s_default_seccomp_profile_is_on_the_guest_s_process(path):
    profile = {"linux": {"security_context": {"seccomp": {"profile_type": 0}}}}
    container = path.pod().start(path.spec("pause"), changes=profile)
    assert container.wait_until_output()

    status = container.snapshot().status

    assert path.finish(container, timeout_seconds=0).proven
    assert status["Seccomp"] == "2"
