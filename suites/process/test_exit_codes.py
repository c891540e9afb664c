"""How a guest's end reaches the caller."""

from conformance import requirement


@requirement("PARITY-EXIT-0")
def test_returning_from_main_is_exit_code_0(path):
    result = path.run("exit-return-0")

    assert result.proven
    assert result.exit_code == 0


@requirement("PARITY-EXIT-CODE")
def test_exit_code_42_reaches_the_caller(path):
    result = path.run("exit-42")

    assert result.proven
    assert result.exit_code == 42


@requirement("PARITY-TRAP")
def test_a_trap_is_a_failure(path):
    result = path.run("trap")

    assert result.proven
    assert result.exit_code != 0
    assert not result.timed_out
