"""Who the guest's process is."""

from conformance import Feature, needs, needs_node, requirement
from conformance.seccomp import usual_profile

NET_BIND_ONLY = ["CAP_NET_BIND_SERVICE"]
NET_BIND_BIT = 1 << 10


def status(path, **more):
    """The status of the process that runs a guest, by name."""
    container = path.create("hold", hold_stdin=True, **more)
    assert container.start().ok
    assert container.wait_until_output()
    process = container.snapshot()
    container.feed()
    assert path.finish(container).proven
    assert process
    return process


@requirement("OCI-USER")
@needs(Feature.LIFECYCLE)
def test_uid_and_gid_are_those_asked_for(path):
    process = status(path, uid=1000, gid=1001)

    assert process.status["Uid"].split() == ["1000"] * 4
    assert process.status["Gid"].split() == ["1001"] * 4


@requirement("OCI-USER-GROUPS")
@needs(Feature.LIFECYCLE)
def test_additional_groups_are_those_asked_for(path):
    process = status(path, uid=1000, gid=1000, additional_gids=(2000, 2001))

    assert sorted(process.status["Groups"].split()) == ["2000", "2001"]


@requirement("OCI-CAPABILITIES")
@needs(Feature.LIFECYCLE, Feature.OCI_CONFIG)
def test_capability_sets_are_exactly_those_asked_for(path):
    sets = {"bounding": NET_BIND_ONLY, "effective": NET_BIND_ONLY, "permitted": NET_BIND_ONLY}

    process = status(path, oci={"process": {"capabilities": sets}})

    found = {name: int(process.status[name], 16) for name in ("CapBnd", "CapEff", "CapPrm", "CapInh", "CapAmb")}
    assert found == {"CapBnd": NET_BIND_BIT, "CapEff": NET_BIND_BIT, "CapPrm": NET_BIND_BIT, "CapInh": 0, "CapAmb": 0}


@requirement("OCI-CAPABILITIES-NONE")
@needs(Feature.LIFECYCLE, Feature.OCI_CONFIG)
def test_an_ordinary_user_without_capabilities_holds_none(path):
    empty = {"bounding": [], "effective": [], "permitted": [], "inheritable": [], "ambient": []}

    process = status(path, uid=1000, gid=1000, oci={"process": {"capabilities": empty}})

    assert [int(process.status[name], 16) for name in ("CapBnd", "CapEff", "CapPrm", "CapInh", "CapAmb")] == [0] * 5


@requirement("OCI-NO-NEW-PRIVILEGES")
@needs(Feature.LIFECYCLE)
def test_no_new_privileges_is_set(path):
    assert status(path).status["NoNewPrivs"] == "1"


@requirement("OCI-RLIMITS")
@needs(Feature.LIFECYCLE, Feature.OCI_CONFIG)
def test_resource_limits_are_those_asked_for(path):
    wanted = [{"type": "RLIMIT_NOFILE", "soft": 128, "hard": 256}, {"type": "RLIMIT_CORE", "soft": 0, "hard": 0}]

    process = status(path, oci={"process": {"rlimits": wanted}})

    assert list(process.limits["Max open files"]) == ["128", "256"]
    assert list(process.limits["Max core file size"]) == ["0", "0"]


@requirement("OCI-OOM-SCORE")
@needs(Feature.LIFECYCLE, Feature.OCI_CONFIG)
def test_the_oom_score_adjustment_is_the_one_asked_for(path):
    process = status(path, oci={"process": {"oomScoreAdj": 500}})

    assert process.oom_score_adj == "500"


@requirement("OCI-SECCOMP")
@needs(Feature.LIFECYCLE, Feature.OCI_CONFIG)
@needs_node("seccomp")
def test_the_usual_seccomp_profile_is_active_and_lets_the_engine_work(path):
    process = status(path, oci={"linux": {"seccomp": usual_profile(path.node)}})

    assert process.status["Seccomp"] == "2"


@requirement("OCI-OOM-SCORE-LOWER")
@needs(Feature.LIFECYCLE, Feature.OCI_CONFIG)
@needs_node("cap_sys_resource")
def test_the_oom_score_adjustment_can_be_lowered(path):
    process = status(path, oci={"process": {"oomScoreAdj": -500}})

    assert process.oom_score_adj == "-500"


@requirement("OCI-APPARMOR")
@needs(Feature.LIFECYCLE, Feature.OCI_CONFIG)
@needs_node("apparmor")
def test_the_apparmor_profile_is_active_on_the_guest(path):
    profile = "profile conformance-guest flags=(attach_disconnected) {\n  file,\n  capability,\n  signal,\n  unix,\n}\n"
    loaded = path.node.run(["apparmor_parser", "--replace"], stdin=profile.encode())
    assert loaded.ok

    process = status(path, oci={"process": {"apparmorProfile": "conformance-guest"}})

    path.observe(label=process.apparmor)
    # a distribution's own profile of the runtime may be stacked below: conformance-guest//&crun (mixed)
    label, _, mode = process.apparmor.partition(" ")
    assert "conformance-guest" in label.split("//&")
    assert mode in ("(enforce)", "(mixed)")


@requirement("OCI-HOSTNAME")
@needs(Feature.OCI_CONFIG)
def test_the_hostname_is_the_one_asked_for(path):
    result = path.run("files", oci={"hostname": "chosen-name"}, args=["read:/proc/sys/kernel/hostname"])

    assert result.proven
    assert result.reports[0]["text"].strip() == "chosen-name"


@requirement("OCI-CAPABILITY-UNKNOWN")
@needs(Feature.OCI_CONFIG, Feature.RUNTIME_COMMAND)
def test_a_capability_that_does_not_exist_is_a_warning(path):
    sets = dict.fromkeys(("bounding", "effective", "permitted"), ["CAP_KILL", "CAP_NO_SUCH"])

    # a runtime may show warnings only to those who ask for them
    result = path.run(
        "exit-return-0", oci={"process": {"capabilities": sets}}, wrapped_in=("sh", "-c", 'exec "$0" --debug "$@"')
    )

    path.observe(said=b"NO_SUCH" in result.stderr)
    assert result.proven
    assert b"NO_SUCH" in result.stderr


@requirement("OCI-OOM-SCORE-KEPT")
@needs(Feature.LIFECYCLE)
def test_without_a_score_of_its_own_the_oom_score_stays(path):
    container = path.create("hold", hold_stdin=True)
    container.start()
    assert container.wait_until_output()

    score = container.snapshot().oom_score_adj
    container.feed()

    assert path.finish(container).proven
    assert score == path.node.snapshot(path.node.agent_pid).oom_score_adj
