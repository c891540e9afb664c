"""Namespaces that are joined or kept instead of made."""

from conformance import Feature, needs, requirement

#: Type as config.json has it, file in /proc/PID/ns.
JOINED = {"network": "net", "ipc": "ipc"}


@requirement("OCI-NAMESPACES-PATH")
@needs(Feature.LIFECYCLE, Feature.OCI_CONFIG)
def test_a_namespace_with_a_path_is_joined_and_one_not_listed_is_kept(path):
    first = path.create("hold", hold_stdin=True)
    assert first.created.ok
    joined = [{"type": name, "path": f"/proc/{first.pid}/ns/{file}"} for name, file in JOINED.items()]
    namespaces = [{"type": "pid"}, {"type": "mount"}, *joined]
    second = path.create("hold", hold_stdin=True, oci={"hostname": None, "linux": {"namespaces": namespaces}})
    second.start()
    second.wait_until_output()

    other, own, node = first.snapshot(), second.snapshot(), path.node.snapshot(path.node.agent_pid)
    second.feed()
    first.start()
    first.feed()

    assert path.finish(second).proven
    assert path.finish(first).proven
    assert own
    assert [file for file in JOINED.values() if own.namespaces[file] != other.namespaces[file]] == []
    assert own.namespaces["uts"] == node.namespaces["uts"]
    assert own.namespaces["pid"] not in (other.namespaces["pid"], node.namespaces["pid"])
