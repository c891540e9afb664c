"""What a pod uses and may use, as the runtime tells it and as the kernel counts it."""

from conformance import Feature, Limits, needs, needs_node, requirement

MIB = 1 << 20
MEMORY_LIMIT = ("memory.max", "memory.limit_in_bytes")


@requirement("CRI-STATS")
@needs(Feature.PODS)
@needs_node("cgroup:memory")
def test_stats_of_a_running_container_are_not_zero(path):
    container = path.pod().start(path.spec("spin"))
    assert container.wait_until_output()
    path.node.run(["sleep", "0.3"])

    stats = container.stats()
    container.stop(0)

    assert path.finish(container).proven
    assert int(stats["cpu"]["usageCoreNanoSeconds"]["value"]) > 0
    assert int(stats["memory"]["workingSetBytes"]["value"]) > 0
    assert stats["attributes"]["id"] == container.id


@requirement("CRI-POD-STATS")
@needs(Feature.PODS)
@needs_node("cgroup:memory")
def test_stats_of_a_pod_hold_those_of_its_container(path):
    pod = path.pod()
    container = pod.start(path.spec("spin"))
    assert container.wait_until_output()
    path.node.run(["sleep", "0.3"])

    own, whole = container.stats(), pod.stats()
    container.stop(0)

    path.observe(missing=[name for name in ("cpu", "memory", "containers") if name not in whole["linux"]])
    assert path.finish(container).proven
    assert whole["attributes"]["id"] == pod.id
    inside = [c["attributes"]["id"] for c in whole["linux"]["containers"]]
    assert inside == [container.id]
    assert int(whole["linux"]["memory"]["workingSetBytes"]["value"]) > 0
    assert int(whole["linux"]["cpu"]["usageCoreNanoSeconds"]["value"]) >= int(
        own["cpu"]["usageCoreNanoSeconds"]["value"]
    )


@requirement("CRI-MEMORY-LIMIT")
@needs(Feature.PODS)
@needs_node("cgroup:memory")
def test_a_memory_limit_is_the_cgroup_s(path):
    container = path.pod().start(path.spec("pause", limits=Limits(memory_bytes=128 * MIB)))
    assert container.wait_until_output()

    values = container.cgroup_values(*MEMORY_LIMIT)

    assert path.finish(container, timeout_seconds=0).proven
    assert [text.strip() for text in values.values()] == [str(128 * MIB)]


@requirement("CRI-OOM-KILLED")
@needs(Feature.PODS)
@needs_node("cgroup:memory")
def test_a_guest_that_outgrows_its_limit_is_oom_killed(path):
    result = path.run("memory", args=["mib=512"], limits=Limits(memory_bytes=96 * MIB), timeout_seconds=30)

    path.observe(reason=result.status.get("reason"))
    assert result.proven
    assert "done" not in result.report
    assert result.exit_code == 137
    assert result.status["reason"] == "OOMKilled"


@requirement("CRI-CPU-QUOTA")
@needs(Feature.PODS)
@needs_node("cgroup:cpu")
def test_a_cpu_quota_is_the_cgroup_s(path):
    container = path.pod().start(path.spec("pause", limits=Limits(cpu_quota_us=20_000)))
    assert container.wait_until_output()

    values = container.cgroup_values("cpu.max", "cpu.cfs_quota_us")

    assert path.finish(container, timeout_seconds=0).proven
    assert [text.split()[0] for text in values.values()] == ["20000"]


@requirement("CRI-CPU-UNSET")
@needs(Feature.PODS)
@needs_node("cgroup:cpu")
def test_a_cpu_period_and_a_quota_of_zero_are_none(path):
    zero = {"linux": {"resources": {"cpu_period": 0, "cpu_quota": 0}}}
    container = path.pod().start(path.spec("pause"), changes=zero)
    path.observe(started=bool(container.started and container.started.ok))
    container.wait_until_output()

    values = container.cgroup_values("cpu.max", "cpu.cfs_quota_us")

    assert path.finish(container, timeout_seconds=0).proven
    assert [text.split()[0] for text in values.values()] in (["max"], ["-1"])


@requirement("CRI-UPDATE")
@needs(Feature.PODS)
@needs_node("cgroup:memory")
def test_an_update_of_the_memory_limit_is_applied_or_refused(path):
    limits = Limits(memory_bytes=128 * MIB)
    container = path.pod().start(path.spec("pause", limits=limits))
    assert container.wait_until_output()

    # swap goes along, as the limit of both may not be below that of memory
    updated = container.update(memory=100 * MIB)

    values = [text.strip() for text in container.cgroup_values(*MEMORY_LIMIT).values()]
    path.observe(update="applied" if updated.ok else "refused")
    assert path.finish(container, timeout_seconds=0).proven
    assert values == [str(100 * MIB if updated.ok else 128 * MIB)]
    assert container.state == "CONTAINER_RUNNING"
