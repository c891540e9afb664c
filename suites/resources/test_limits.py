"""Limits of the container's cgroup, judged by its counters."""

from conformance import Feature, Limits, needs, needs_node, requirement

MIB = 1 << 20


@requirement("OCI-MEMORY-LIMIT")
@needs(Feature.LIFECYCLE)
@needs_node("cgroup:memory")
def test_a_guest_that_outgrows_its_memory_limit_is_killed_and_counted(path):
    container = path.create("memory", args=["mib=512"], limits=Limits(memory_bytes=96 * MIB), timeout_seconds=30)
    assert container.start().ok

    result = path.finish(container, timeout_seconds=30)

    assert result.proven
    assert "done" not in result.report
    assert result.signal == 9
    assert container.oom_kills() >= 1


@requirement("PROJECT-MEMORY-RUN")
@needs_node("cgroup:memory")
def test_run_shows_an_out_of_memory_kill_as_137(path):
    result = path.run("memory", args=["mib=512"], limits=Limits(memory_bytes=96 * MIB), timeout_seconds=30)

    assert result.proven
    assert "done" not in result.report
    assert result.exit_code == 137


@requirement("PARITY-MEMORY-FITS")
@needs_node("cgroup:memory")
def test_a_guest_within_its_memory_limit_ends_well(path):
    result = path.run("memory", args=["mib=64"], limits=Limits(memory_bytes=256 * MIB), timeout_seconds=30)

    assert result.proven
    assert result.report["done"] is True
    assert result.exit_code == 0
    assert result.memory_peak_bytes >= 64 * MIB


@requirement("OCI-PIDS-LIMIT")
@needs(Feature.LIFECYCLE)
@needs_node("cgroup:pids")
def test_the_pids_limit_is_set_and_leaves_room_for_the_engine(path):
    container = path.create("hold", limits=Limits(pids=16), hold_stdin=True)
    assert container.start().ok
    assert container.wait_until_output()

    values = container.cgroup_values("pids.max", "pids.current")
    container.feed()

    assert path.finish(container).proven
    assert values["pids.max"].strip() == "16"
    assert 1 <= int(values["pids.current"]) <= 16


@requirement("OCI-PIDS-LIMIT-HOLDS")
@needs(Feature.NATIVE)
@needs_node("cgroup:pids")
def test_a_fork_bomb_stops_at_the_pids_limit(path):
    result = path.run("fork-bomb", limits=Limits(pids=24))

    assert result.proven
    assert 10 < result.report["forks"] < 24
    assert result.report["errno"] == "EAGAIN"
    assert result.leftovers == ()


@requirement("OCI-CPU-QUOTA")
@needs(Feature.LIFECYCLE)
@needs_node("cgroup:cpu")
def test_a_cpu_quota_throttles_a_busy_guest(path):
    container = path.create("spin", limits=Limits(cpu_quota_us=10_000, cpu_period_us=100_000))
    assert container.start().ok
    assert container.wait_until_output()

    used = container.cpu_seconds_used(during_seconds=1.0)
    throttled = container.throttled_periods()
    container.kill("KILL")

    assert path.finish(container).proven
    assert throttled >= 1
    assert used < 0.4


@requirement("PROJECT-SMALLEST-MEMORY")
@needs_node("cgroup:memory")
def test_a_guest_starts_with_32_mib_of_memory(path):
    # Below 16 MiB it depends on the moment at which the runtime's own process leaves the cgroup.
    results = {mib: path.run("exit-return-0", limits=Limits(memory_bytes=mib * MIB)) for mib in (16, 32, 64)}

    path.observe(smallest_mib=min((m for m, r in results.items() if r.exit_code == 0), default=None))
    assert results[32].proven
    assert results[32].exit_code == 0
