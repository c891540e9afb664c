"""A node that loses power with containers on it, as nodes do."""

from conformance import Feature, needs, needs_node, requirement


@requirement("OCI-STATE-AFTER-REBOOT")
@needs(Feature.LIFECYCLE)
@needs_node("reboot")
def test_after_a_reboot_an_old_container_is_stopped_and_a_new_one_can_have_its_id(path):
    old = path.create("hold", hold_stdin=True)
    assert old.start().ok
    assert old.wait_until_output()
    before = old.status

    path.reboot_node()
    after = old.status
    deleted = old.delete()
    left = old.leftovers()
    new = path.run("exit-return-0", id=old.id)

    assert before == "running"
    assert after == "stopped"
    assert deleted.ok
    assert left == ()
    assert new.proven
