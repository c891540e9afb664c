"""What every operation needs to be told."""

from conformance import Feature, needs, requirement


@requirement("OCI-OPERATION-NO-ID")
@needs(Feature.LIFECYCLE)
def test_an_operation_without_an_id_is_an_error(path):
    answers = {name: path.launcher.command(name) for name in ("state", "create", "start", "kill", "delete")}

    path.observe(accepted=[name for name, answer in answers.items() if answer.exit_code in (0, None)])
    assert path.run("exit-return-0").proven
    assert [name for name, answer in answers.items() if answer.exit_code in (0, None)] == []
