"""How crun says and chooses what it can run."""

from conformance import Feature, needs, requirement


@requirement("CRUN-FEATURES")
@needs(Feature.CRUN, Feature.WASM, Feature.RUNTIME_COMMAND)
def test_features_tell_that_wasm_is_supported(path):
    features = path.features()

    assert features["annotations"]["run.oci.crun.wasm"] == "true"
    assert path.run("exit-return-0").proven


@requirement("CRUN-ARGV0")
@needs(Feature.CRUN, Feature.WASM, Feature.RUNTIME_COMMAND)
def test_a_runtime_named_crun_wasm_needs_no_annotation(path):
    result = path.run("exit-return-0", binary=path.runtime_named("crun-wasm"), annotations={})

    assert result.proven
    assert result.exit_code == 0


@requirement("CRUN-ARGV0-ANNOTATION")
@needs(Feature.CRUN, Feature.WASM, Feature.RUNTIME_COMMAND)
def test_a_runtime_named_crun_wasm_refuses_the_annotation(path):
    result = path.run("exit-return-0", binary=path.runtime_named("crun-wasm"))

    assert not result.guest_started
    assert result.exit_code not in (0, None)
    assert b"handler" in result.stderr


@requirement("CRUN-NO-LIBRARY")
@needs(Feature.CRUN, Feature.WASM, Feature.RUNTIME_COMMAND)
def test_a_missing_engine_library_is_named(path):
    hide = 'mount --bind /dev/null "$0" && exec "$@"'

    result = path.run("exit-return-0", wrapped_in=("unshare", "-m", "sh", "-c", hide, path.engine_file))

    assert not result.guest_started
    assert result.signal is None
    assert result.exit_code not in (0, None)
    assert b"libwasmedge" in result.stderr
