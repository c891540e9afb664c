"""What is no runnable module must be refused: visibly, and without a crash of the runtime."""

from conformance import Feature, needs, requirement


@requirement("OCI-NO-PROGRAM")
def test_a_missing_program_is_refused(path):
    result = path.run("exit-return-0", argv0="/no-such-program.wasm")

    assert not result.guest_started
    assert result.signal is None
    assert result.exit_code not in (0, None)
    assert result.stderr + result.stdout != b""


@requirement("WASM-TRUNCATED")
@needs(Feature.WASM)
def test_a_truncated_module_is_refused(path):
    result = path.run("truncated")

    assert not result.guest_started
    assert result.signal is None
    assert result.exit_code not in (0, None)


@requirement("WASM-ELF")
@needs(Feature.WASM)
def test_a_native_program_under_a_wasm_name_is_refused(path):
    result = path.run("elf")

    assert not result.guest_started
    assert result.signal is None
    assert result.exit_code not in (0, None)


@requirement("WASM-EMPTY")
@needs(Feature.WASM)
def test_an_empty_file_is_refused(path):
    result = path.run("empty")

    assert not result.guest_started
    assert result.signal is None
    assert result.exit_code not in (0, None)


@requirement("WASM-DIRECTORY")
@needs(Feature.WASM)
def test_a_directory_is_refused(path):
    result = path.run("directory")

    assert not result.guest_started
    assert result.signal is None
    assert result.exit_code not in (0, None)


@requirement("WASM-COMPONENT")
@needs(Feature.WASM)
def test_a_component_is_refused_with_a_reason(path):
    result = path.run("component")

    path.observe(said=(result.stderr + result.stdout) != b"")
    assert not result.guest_started
    assert result.signal is None
    assert result.exit_code not in (0, None)
    assert result.stderr + result.stdout != b""


@requirement("WASI-REACTOR")
@needs(Feature.WASM)
def test_a_reactor_is_refused_as_a_command(path):
    result = path.run("reactor")

    path.observe(said=(result.stderr + result.stdout) != b"")
    assert not result.guest_started
    assert result.signal is None
    assert result.exit_code not in (0, None)
    assert result.stderr + result.stdout != b""


@requirement("WASM-UNKNOWN-IMPORT")
@needs(Feature.WASM)
def test_an_unknown_import_is_named(path):
    result = path.run("unknown-import")

    assert not result.guest_started
    assert result.signal is None
    assert result.exit_code not in (0, None)
    assert b"no_such_function" in result.stderr + result.stdout


@requirement("CRUN-WAT")
@needs(Feature.CRUN, Feature.WASM)
def test_a_module_in_text_format_is_compiled_and_run(path):
    result = path.run("text", nonce="")

    assert result.proven
    assert result.guest_started
    assert result.exit_code == 0


@requirement("OCI-PROCESS-ARGS-EMPTY")
@needs(Feature.OCI_CONFIG)
def test_empty_args_are_refused(path):
    result = path.run("exit-return-0", oci={"process": {"args": []}})

    assert not result.guest_started
    assert result.signal is None
    assert result.exit_code not in (0, None)
