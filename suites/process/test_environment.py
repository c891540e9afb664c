"""What reaches environ."""

from dataclasses import replace

from conformance import requirement

VARIABLES = ["PLAIN=value", "EMPTY=", "EQUALS=a=b", "PATH=/usr/bin:/bin", "LANG=C.UTF-8"]


@requirement("OCI-PROCESS-ENV")
def test_the_environment_is_complete(path):
    result = path.run("environment", env=VARIABLES)

    path.observe(lost=[v for v in VARIABLES if v not in result.report["env"]])
    assert result.proven
    assert [v for v in result.asked.env if v not in result.report["env"]] == []


@requirement("OCI-PROCESS-ENV-OPTIONAL")
def test_a_guest_starts_without_any_variable(path):
    result = path.run_spec(replace(path.spec("exit-return-0"), env=()))

    assert result.proven
    assert result.exit_code == 0


@requirement("OCI-PROCESS-ENV-BYTES")
def test_white_space_in_the_environment_is_kept(path):
    spaced = ["LEADING=  x", "TRAILING=x  ", "TAB=\tx\t", "LINES=one\ntwo\n"]

    result = path.run("environment", env=spaced)

    lost = [v for v in spaced if v not in result.report["env"]]
    path.observe(lost=[v.partition("=")[0] for v in lost])
    assert result.proven
    assert lost == []


@requirement("PARITY-ENV-NO-LEAK")
def test_the_runtime_s_own_environment_stays_outside(path):
    result = path.run("environment", env=["INSIDE=1"], wrapped_in=("env", "CONFORMANCE_OUTSIDE=leaked"))

    path.observe(inside="INSIDE=1" in result.report["env"])
    assert result.proven
    assert "INSIDE=1" in result.report["env"]
    own = {"HOME", *path.sets_variables}
    assert [v for v in result.report["env"] if v not in result.asked.env and v.partition("=")[0] not in own] == []


@requirement("PARITY-HOME")
def test_home_is_the_user_s_home_directory(path):
    result = path.run("environment")

    home = [v for v in result.report["env"] if v.startswith("HOME=")]
    path.observe(home=home)
    assert result.proven
    assert home == ["HOME=/"]
