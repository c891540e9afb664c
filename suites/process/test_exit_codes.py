"""How a guest's end reaches the caller."""

from conformance import Feature, Mount, needs, requirement


@requirement("PARITY-EXIT-0")
def test_returning_from_main_is_exit_code_0(path):
    result = path.run("exit-return-0")

    assert result.proven
    assert result.exit_code == 0


@requirement("WASI-EXIT-0")
def test_proc_exit_0_is_exit_code_0(path):
    result = path.run("exit-explicit-0")

    assert result.proven
    assert result.exit_code == 0


@requirement("PARITY-EXIT-CODE")
def test_exit_code_42_reaches_the_caller(path):
    result = path.run("exit-42")

    assert result.proven
    assert result.exit_code == 42


@requirement("PARITY-EXIT-CODE-WAIT")
@needs(Feature.LIFECYCLE)
def test_exit_code_42_reaches_the_parent_of_the_container_process(path):
    container = path.create("exit-42")
    assert container.created.ok
    assert container.start().ok

    result = path.finish(container)

    assert result.proven
    assert result.exit_code == 42


@requirement("PARITY-EXIT-256")
def test_exit_code_256_is_cut_to_eight_bits(path):
    result = path.run("exit-256")

    assert result.proven
    assert result.exit_code == 0


@requirement("PARITY-TRAP")
def test_a_trap_is_a_failure(path):
    result = path.run("trap")

    assert result.proven
    assert not result.timed_out
    assert result.exit_code != 0


@requirement("PROJECT-TRAP-TIDY")
def test_a_trap_leaves_the_runtime_standing_and_no_core_file(path):
    place = path.directory()

    result = path.run("trap", cwd="/mnt", mounts=[Mount(place, "/mnt")])

    assert result.proven
    assert result.signal is None
    assert path.files_in(place) == []


@requirement("LANG-RUST-PANIC")
def test_a_rust_panic_is_a_failure_and_says_why(path):
    result = path.run("rust-panic")

    assert result.proven
    assert result.exit_code != 0
    assert b"panicked" in result.stderr


@requirement("LANG-GO-EXIT")
def test_a_go_guest_s_exit_code_reaches_the_caller(path):
    result = path.run("go-exit-42")

    assert result.proven
    assert result.exit_code == 42
