"""Limits in the unified hierarchy, as a kubelet on a current node sets them."""

from conformance import Feature, Limits, needs, needs_node, requirement

MIB = 1 << 20


@requirement("OCI-UNIFIED-LIMITS")
@needs(Feature.LIFECYCLE)
@needs_node("cgroup_mode:v2")
def test_memory_cpu_and_pids_limits_are_those_asked_for(path):
    limits = Limits(memory_bytes=128 * MIB, pids=32, cpu_quota_us=50_000, cpu_period_us=100_000)
    container = path.create("hold", limits=limits, hold_stdin=True)
    assert container.start().ok
    assert container.wait_until_output()

    values = container.cgroup_values("memory.max", "memory.swap.max", "pids.max", "cpu.max")
    container.feed()

    assert path.finish(container).proven
    assert values["memory.max"].strip() == str(128 * MIB)
    assert values["pids.max"].strip() == "32"
    assert values["cpu.max"].split() == ["50000", "100000"]


@requirement("OCI-UNIFIED-KEYS")
@needs(Feature.LIFECYCLE, Feature.OCI_CONFIG)
@needs_node("cgroup_mode:v2", "cgroup:memory")
def test_keys_of_linux_resources_unified_are_written(path):
    unified = {"memory.high": str(96 * MIB), "memory.low": str(16 * MIB)}
    container = path.create("hold", oci={"linux": {"resources": {"unified": unified}}}, hold_stdin=True)
    assert container.start().ok
    assert container.wait_until_output()

    values = container.cgroup_values(*unified)
    container.feed()

    assert path.finish(container).proven
    assert {name: values[name].strip() for name in unified} == unified


@requirement("OCI-IO-LIMIT")
@needs(Feature.LIFECYCLE, Feature.OCI_CONFIG)
@needs_node("cgroup_mode:v2", "cgroup:io")
def test_a_write_limit_of_a_block_device_is_set(path):
    disk = path.node.run(["sh", "-c", "cat /sys/block/[sv]d[a-z]/dev | head -n 1"]).stdout.decode().strip()
    major, _, minor = disk.partition(":")
    throttle = [{"major": int(major), "minor": int(minor), "rate": MIB}]
    container = path.create(
        "hold", oci={"linux": {"resources": {"blockIO": {"throttleWriteBpsDevice": throttle}}}}, hold_stdin=True
    )
    assert container.start().ok
    assert container.wait_until_output()

    values = container.cgroup_values("io.max")
    container.feed()

    assert path.finish(container).proven
    assert f"{disk} " in values["io.max"]
    assert f"wbps={MIB}" in values["io.max"]
