"""What config.json must not say, and what it may."""

from conformance import Feature, needs, requirement

NOFILE = {"type": "RLIMIT_NOFILE", "soft": 128, "hard": 256}


@requirement("OCI-RLIMITS-REFUSED")
@needs(Feature.OCI_CONFIG)
def test_a_resource_limit_that_is_unknown_or_given_twice_is_refused(path):
    wrong = {"unknown": [{**NOFILE, "type": "RLIMIT_NO_SUCH"}], "twice": [NOFILE, {**NOFILE, "soft": 64}]}

    results = {name: path.run("exit-return-0", oci={"process": {"rlimits": given}}) for name, given in wrong.items()}

    path.observe(accepted=[name for name, result in results.items() if result.guest_started])
    assert [name for name, result in results.items() if result.guest_started] == []
    assert [name for name, result in results.items() if result.exit_code in (0, None)] == []
    assert [name for name, result in results.items() if result.leftovers] == []


@requirement("OCI-NAMESPACES-REFUSED")
@needs(Feature.OCI_CONFIG)
def test_a_namespace_given_twice_or_of_another_type_is_refused(path):
    usual = [{"type": "pid"}, {"type": "mount"}, {"type": "ipc"}, {"type": "uts"}]
    wrong = {
        "twice": [*usual, {"type": "network"}, {"type": "network"}],
        "other type": [*usual, {"type": "network", "path": "/proc/self/ns/ipc"}],
        "no namespace": [*usual, {"type": "network", "path": "/etc/os-release"}],
    }

    results = {name: path.run("exit-return-0", oci={"linux": {"namespaces": given}}) for name, given in wrong.items()}

    left = [name for name, result in results.items() if result.leftovers]
    path.observe(accepted=[name for name, result in results.items() if result.guest_started], left=left)
    assert [name for name, result in results.items() if result.guest_started] == []
    assert [name for name, result in results.items() if result.exit_code in (0, None)] == []
    assert left == []


@requirement("OCI-UNKNOWN-IGNORED")
@needs(Feature.OCI_CONFIG)
def test_unknown_properties_and_annotations_are_ignored(path):
    unknown = {"noSuchProperty": {"deep": [1]}}

    everywhere = dict.fromkeys(("process", "root", "linux"), unknown)
    result = path.run("exit-return-0", oci={**unknown, **everywhere, "annotations": {"org.example.no-such-key": "x"}})

    assert result.proven
    assert result.exit_code == 0
