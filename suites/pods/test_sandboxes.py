"""Pods: made, asked, stopped and removed, with nothing in them or with a module running."""

from conformance import Feature, needs, requirement


@requirement("CRI-SANDBOX-READY")
@needs(Feature.PODS)
def test_a_pod_of_this_handler_is_ready(path):
    pod = path.pod()

    assert pod.created.ok
    assert pod.status()["state"] == "SANDBOX_READY"
    assert path.finish(pod.start(path.spec("exit-return-0"))).proven


@requirement("CRI-HANDLER-UNKNOWN")
@needs(Feature.PODS)
def test_an_unknown_handler_is_refused_by_name(path):
    pod = path.pod(handler="no-such-handler")

    assert not pod.created.ok
    assert b"no-such-handler" in pod.created.stderr
    assert path.run("exit-return-0").proven


@requirement("CRI-HANDLER-DEFAULT")
@needs(Feature.PODS)
def test_an_empty_handler_is_the_default_one(path):
    pod = path.pod(handler="")
    native = path.spec("exit-42", argv0="/exit-42", guest="native", rootfs=path.native_root)

    result = path.finish(pod.start(native))

    assert pod.created.ok
    assert pod.status()["runtimeHandler"] == ""
    assert result.proven
    assert result.exit_code == 42


@requirement("CRI-HANDLERS-LISTED")
@needs(Feature.PODS)
def test_the_runtime_lists_its_handlers(path):
    names = [handler.get("name", "") for handler in path.launcher.info()["runtimeHandlers"]]

    path.observe(names=sorted(names))
    assert path.launcher.handler in names
    assert path.run("exit-return-0").proven


@requirement("CRI-ANNOTATIONS-INTACT")
@needs(Feature.PODS)
def test_annotations_of_a_pod_and_a_container_come_back_unchanged(path):
    asked = {**path.request, "example.org/what": "a b\tü", "empty": ""}
    pod = path.pod(asked)
    container = pod.create(path.spec("exit-return-0"), changes={"annotations": {"example.org/mine": "1"}})

    assert pod.status()["annotations"] == asked
    assert container.status()["annotations"] == {"example.org/mine": "1"}
    container.start()
    assert path.finish(container).proven


@requirement("CRI-SANDBOX-STOP")
@needs(Feature.PODS)
def test_stopping_a_pod_ends_a_running_guest(path):
    pod = path.pod()
    container = pod.start(path.spec("pause"))
    assert container.wait_until_output()
    pid = container.pid

    assert pod.stop().ok

    result = path.finish(container)
    assert result.proven
    assert pod.status()["state"] == "SANDBOX_NOTREADY"
    assert container.state == "CONTAINER_EXITED"
    assert path.node.snapshot(pid) is None


@requirement("CRI-SANDBOX-STOP-AGAIN")
@needs(Feature.PODS)
def test_stopping_a_pod_twice_is_no_error(path):
    pod = path.pod()
    assert path.finish(pod.start(path.spec("exit-return-0"))).proven

    assert pod.stop().ok
    assert pod.stop().ok


@requirement("CRI-SANDBOX-REMOVE")
@needs(Feature.PODS)
def test_removing_a_pod_by_force_ends_a_running_guest(path):
    pod = path.pod()
    container = pod.start(path.spec("pause"))
    assert container.wait_until_output()
    pid = container.pid
    spoken = path.finish(container, timeout_seconds=0)

    removed = pod.remove(force=True)

    assert spoken.proven
    assert removed.ok
    assert path.node.snapshot(pid) is None


@requirement("CRI-SANDBOX-TIDY")
@needs(Feature.PODS)
def test_a_removed_pod_leaves_no_process_cgroup_or_network_namespace(path):
    pod = path.pod()
    namespace = pod.network_namespace()
    assert path.finish(pod.start(path.spec("exit-return-0"))).proven
    during = pod.traces(namespace)

    assert pod.remove(force=True).ok

    left = pod.wait_until_gone(namespace)
    path.observe(left=sorted(left))
    assert namespace in during
    assert len(during) > 2
    assert left == ()


@requirement("CRI-PAUSE-NATIVE")
@needs(Feature.PODS)
def test_the_pod_s_own_process_is_native(path):
    pod = path.pod()
    own = pod.snapshot()

    result = path.finish(pod.start(path.spec("exit-return-0")))

    assert result.proven
    path.observe(own_process=bool(own))
    # CRI-O keeps none for a pod whose containers share no PID namespace
    assert own is None or own.exe == "/pause"
    assert own is None or not path.engine_in(own)


@requirement("CRI-PAUSE-NATIVE")
@needs(Feature.PODS, Feature.HANDLER)
def test_the_pod_s_own_process_is_native_under_compat(path):
    pod = path.pod({"module.wasm.image/variant": "compat"})
    own = pod.snapshot()

    result = path.finish(pod.start(path.spec("exit-return-0")))

    assert result.proven
    path.observe(own_process=bool(own))
    # CRI-O keeps none for a pod whose containers share no PID namespace
    assert own is None or own.exe == "/pause"
    assert own is None or not path.engine_in(own)


@requirement("CRI-HOSTNAME")
@needs(Feature.PODS)
def test_the_pod_has_the_host_name_it_was_given(path):
    pod = path.pod()
    result = path.finish(pod.start(path.spec("files", ["read:/etc/hostname"])))

    assert result.proven
    assert result.reports[0]["text"].strip() == pod.name


@requirement("CRI-DNS")
@needs(Feature.PODS)
def test_dns_settings_reach_the_guest(path):
    dns = {"servers": ["192.0.2.53"], "searches": ["example.org"], "options": ["ndots:5"]}
    pod = path.pod(changes={"dns_config": dns})
    result = path.finish(pod.start(path.spec("files", ["read:/etc/resolv.conf"])))

    words = str(result.reports[0]["text"]).split()
    assert result.proven
    assert words == ["search", "example.org", "nameserver", "192.0.2.53", "options", "ndots:5"]


@requirement("CRI-NETWORK-IP")
@needs(Feature.PODS)
def test_the_pod_has_an_address_of_its_own(path):
    pods = [path.pod(), path.pod()]
    result = path.finish(pods[0].start(path.spec("exit-return-0")))

    addresses = [pod.status()["network"]["ip"] for pod in pods]
    assert result.proven
    assert all(addresses)
    assert addresses[0] != addresses[1]


@requirement("OCI-HOOKS-PRESTART-OPTIONAL")
@needs(Feature.PODS)
def test_hooks_need_none_at_the_stage_prestart(path):
    pod = path.pod(handler=path.launcher.handler_with_hook)

    container = pod.start(path.spec("exit-return-0"))

    result = path.finish(container)
    assert result.proven
