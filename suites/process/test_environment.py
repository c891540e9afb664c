"""What reaches environ."""

from conformance import requirement

VARIABLES = ["PLAIN=value", "SPACED=  two  words ", "EMPTY=", "EQUALS=a=b", "LINES=one\ntwo"]


@requirement("OCI-PROCESS-ENV")
def test_the_environment_is_complete(path):
    result = path.run("environment", env=VARIABLES)

    assert result.proven
    assert [v for v in result.asked.env if v not in result.report["env"]] == []


@requirement("PARITY-ENV-NOTHING-ELSE")
def test_nothing_else_is_in_the_environment(path):
    result = path.run("environment", env=VARIABLES)

    path.observe(added=sorted(v for v in result.report["env"] if v not in result.asked.env))
    assert result.proven
    assert path.observed["added"] == []
