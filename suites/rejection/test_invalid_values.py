"""Values that the specification rules out: an error, and nothing left of the attempt."""

from conformance import Feature, needs, requirement

DEVICE = {"type": "c", "major": 1, "minor": 3}
MAPPING = [{"containerID": 0, "hostID": 0, "size": 1}]


def accepted(path, configurations):
    """Names of the configurations that were not refused as they should be, twice: a runtime may fail by chance once."""
    return [name for name, oci in configurations.items() if not (refuses(path, oci) and refuses(path, oci))]


def refuses(path, oci):
    result = path.run("exit-return-0", oci=oci)
    return not result.guest_started and result.exit_code not in (0, None) and not result.leftovers


@requirement("OCI-CWD-ABSOLUTE")
@needs(Feature.OCI_CONFIG)
def test_a_relative_working_directory_is_refused(path):
    wrong = accepted(path, {"relative": {"process": {"cwd": "tmp"}}})

    path.observe(accepted=wrong)
    assert wrong == []


@requirement("OCI-VERSION-FORMAT")
@needs(Feature.OCI_CONFIG)
def test_an_ociversion_that_is_none_is_refused(path):
    wrong = accepted(path, {version: {"ociVersion": version} for version in ("one", "1", "1.0")})

    path.observe(accepted=wrong)
    assert wrong == []


@requirement("OCI-ROOT-EXISTS")
@needs(Feature.OCI_CONFIG)
def test_a_root_that_does_not_exist_is_refused(path):
    wrong = accepted(path, {"missing": {"root": {"path": f"{path.directory()}/missing"}}})

    path.observe(accepted=wrong)
    assert wrong == []


@requirement("OCI-HOOK-PATH")
@needs(Feature.HOOKS)
def test_a_hook_with_a_relative_path_is_refused(path):
    result = path.run("exit-return-0", hooks={"createRuntime": [{"path": "bin/true"}]})

    path.observe(accepted=result.guest_started)
    assert not result.guest_started
    assert result.exit_code not in (0, None)


@requirement("OCI-HOOK-TIMEOUT")
@needs(Feature.HOOKS)
def test_a_hook_with_a_timeout_of_zero_is_refused(path):
    # long enough to be ended by a timeout that has passed already
    hook = {"path": "/bin/sh", "args": ["sh", "-c", "cat > /dev/null; sleep 0.3"], "timeout": 0}

    result = path.run("exit-return-0", hooks={"createRuntime": [hook]})

    path.observe(accepted=result.guest_started)
    assert not result.guest_started
    assert result.exit_code not in (0, None)


@requirement("OCI-SECCOMP-NAMES")
@needs(Feature.OCI_CONFIG)
def test_a_seccomp_rule_without_a_system_call_is_refused(path):
    rule = {"names": [], "action": "SCMP_ACT_ERRNO"}

    wrong = accepted(path, {"empty": {"linux": {"seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}}}})

    path.observe(accepted=wrong)
    assert wrong == []


@requirement("OCI-SECCOMP-ERRNO")
@needs(Feature.OCI_CONFIG)
def test_an_errno_for_a_seccomp_action_that_takes_none_is_refused(path):
    rule = {"names": ["acct"], "action": "SCMP_ACT_KILL", "errnoRet": 1}
    by_default = {"defaultAction": "SCMP_ACT_ALLOW", "defaultErrnoRet": 1}

    wrong = accepted(path, {
        "rule": {"linux": {"seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}}},
        "default": {"linux": {"seccomp": by_default}},
    })  # fmt: skip

    path.observe(accepted=wrong)
    assert wrong == []


@requirement("OCI-DEVICE-OTHER-KIND")
@needs(Feature.OCI_CONFIG)
def test_a_file_of_another_kind_in_a_device_s_place_is_refused(path):
    result = path.run(
        "exit-return-0",
        extra_mounts=[{"destination": "/mnt", "source": path.directory({"device": "a file"}), "options": ["bind"]}],
        oci={"linux": {"devices": [{"path": "/mnt/device", **DEVICE}]}},
    )

    path.observe(accepted=result.guest_started)
    assert not result.guest_started
    assert result.exit_code not in (0, None)


@requirement("OCI-MOUNT-MAPPINGS")
@needs(Feature.OCI_CONFIG)
def test_a_mount_with_one_id_mapping_of_the_two_is_refused(path):
    bind = {"destination": "/mnt", "source": path.directory(), "options": ["bind"]}

    results = {
        key: path.run("exit-return-0", extra_mounts=[{**bind, key: MAPPING}]) for key in ("uidMappings", "gidMappings")
    }

    path.observe(accepted=[key for key, result in results.items() if result.guest_started])
    assert [key for key, result in results.items() if result.guest_started] == []
    assert [key for key, result in results.items() if result.exit_code in (0, None)] == []


@requirement("OCI-MOUNT-IDMAP")
@needs(Feature.OCI_CONFIG)
def test_idmap_without_any_mapping_is_refused(path):
    bind = {"destination": "/mnt", "source": path.directory()}

    results = {
        word: path.run("exit-return-0", extra_mounts=[{**bind, "options": [kind, word]}])
        for kind, word in (("bind", "idmap"), ("rbind", "ridmap"))
    }

    path.observe(accepted=[word for word, result in results.items() if result.guest_started])
    assert [word for word, result in results.items() if result.guest_started] == []
    assert [word for word, result in results.items() if result.exit_code in (0, None)] == []


@requirement("OCI-BUNDLE-CONFIG")
@needs(Feature.LIFECYCLE)
def test_a_bundle_without_config_json_at_its_top_is_refused(path):
    elsewhere = path.directory({"settings.json": "{}"})

    answer = path.launcher.command("create", "--bundle", elsewhere, "without-config")

    assert answer.exit_code not in (0, None)
    assert answer.signal is None
    assert path.run("exit-return-0").proven
