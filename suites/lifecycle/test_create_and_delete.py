"""What create makes, what delete takes away, and what state says in between."""

import re

from conformance import Feature, Limits, Mount, needs, requirement

SEMANTIC_VERSION = r"\d+\.\d+\.\d+([-+].+)?"
STATES = {"creating", "created", "running", "stopped"}


@requirement("OCI-CREATE-RESOURCES")
@needs(Feature.LIFECYCLE, Feature.OCI_CONFIG)
def test_limits_and_mounts_are_there_before_start(path):
    shared = path.directory({"seen.txt": "seen"})
    container = path.create("hold", hold_stdin=True, mounts=[Mount(shared, "/mnt")], limits=Limits(pids=64))
    assert container.created.ok

    limit = container.cgroup_values("pids.max")["pids.max"]
    mounted = path.node.run(["cat", f"/proc/{container.pid}/root/mnt/seen.txt"]).stdout
    container.start()
    container.wait_until_output()
    container.feed()

    assert path.finish(container).proven
    assert limit.strip() == "64"
    assert mounted == b"seen"


@requirement("OCI-STATE-SCHEMA")
@needs(Feature.LIFECYCLE)
def test_state_fits_its_schema_all_along(path):
    container = path.create("hold", hold_stdin=True)
    states = [container.state()]
    container.start()
    assert container.wait_until_output()
    states.append(container.state())
    container.feed()
    assert path.finish(container).proven
    states.append(container.state())

    for state in states:
        assert re.fullmatch(SEMANTIC_VERSION, str(state["ociVersion"]))
        assert state["status"] in STATES
        assert isinstance(state["id"], str)
        assert isinstance(state["bundle"], str)
        assert isinstance(state.get("pid", 0), int)
        assert all(isinstance(value, str) for value in (state.get("annotations") or {}).values())
    assert [state["pid"] > 0 for state in states[:2]] == [True, True]


@requirement("OCI-DELETE-ONLY")
@needs(Feature.LIFECYCLE, Feature.OCI_CONFIG)
def test_delete_leaves_what_the_container_only_used(path):
    shared = path.directory({"kept.txt": "kept"})
    container = path.create("exit-return-0", mounts=[Mount(shared, "/mnt")])
    container.start()
    assert path.finish(container).proven

    deleted = container.delete()

    assert deleted.ok
    assert path.lines_of(f"{shared}/kept.txt") == ["kept"]
    assert path.run("exit-return-0").proven  # the root is still there
