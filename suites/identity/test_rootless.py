"""Containers of an ordinary user."""

from conformance import Feature, needs, needs_node, requirement


@requirement("OCI-ROOTLESS-USER")
@needs(Feature.LIFECYCLE)
def test_an_ordinary_user_runs_a_guest_that_is_this_user_on_the_node(path):
    container = path.launch("hold", rootless=True, hold_stdin=True)

    process = container.snapshot()
    container.feed()
    result = path.finish(container)

    assert result.proven
    assert result.exit_code == 0
    assert process
    assert process.status["Uid"].split() == ["1000"] * 4
    assert int(process.status["CapBnd"], 16) != 0


@requirement("PODMAN-ROOTLESS")
@needs(Feature.USER_STORE)
@needs_node("ordinary_user")
def test_podman_of_an_ordinary_user_runs_a_guest_that_is_this_user_on_the_node(path):
    result = path.run("hold", rootless=True, timeout_seconds=60)
    process = result.snapshot

    assert result.proven
    assert result.exit_code == 0
    assert process
    assert process.status["Uid"].split() == ["1000"] * 4
    assert [group for group in process.cgroups if "/user@1000.service/" in group] != []
    assert result.leftovers == ()
