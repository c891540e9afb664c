"""The systemd cgroup driver, which most distributions use."""

from conformance import Feature, Limits, needs, needs_node, requirement

MIB = 1 << 20


@requirement("CLI-SYSTEMD-SCOPE")
@needs(Feature.LIFECYCLE)
@needs_node("systemd")
def test_a_scope_holds_the_guest_and_is_gone_after_delete(path):
    container = path.create("hold", systemd_cgroup=True, hold_stdin=True)
    assert container.created.ok
    assert container.start().ok
    assert container.wait_until_output()
    scope = f"conformance-{container.id}.scope"

    process = container.snapshot()
    during = path.host.service(scope).is_running
    container.feed()
    result = path.finish(container)
    deleted = container.delete()

    assert result.proven
    assert process
    assert [line for line in process.cgroups if scope in line] != []
    assert during
    assert deleted.ok
    assert not path.host.service(scope).is_running


@requirement("CLI-SYSTEMD-LIMITS")
@needs(Feature.LIFECYCLE)
@needs_node("systemd", "cgroup_mode:v2")
def test_systemd_knows_the_limits(path):
    container = path.create(
        "hold", systemd_cgroup=True, hold_stdin=True, limits=Limits(memory_bytes=128 * MIB, pids=32)
    )
    assert container.start().ok
    assert container.wait_until_output()
    scope = f"conformance-{container.id}.scope"

    shown = path.node.run(["systemctl", "show", "-p", "MemoryMax,TasksMax", scope]).stdout.decode().split()
    container.feed()

    assert path.finish(container).proven
    assert sorted(shown) == [f"MemoryMax={128 * MIB}", "TasksMax=32"]
