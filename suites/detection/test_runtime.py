"""How crun says and chooses what it can run."""

from packaging.version import Version

from conformance import Feature, needs, requirement


@requirement("CRUN-FEATURES")
@needs(Feature.CRUN, Feature.HANDLER, Feature.RUNTIME_COMMAND)
def test_features_tell_that_wasm_is_supported(path):
    features = path.features()

    assert features["annotations"]["run.oci.crun.wasm"] == "true"
    assert path.run("exit-return-0").proven


@requirement("CRUN-ARGV0")
@needs(Feature.CRUN, Feature.HANDLER, Feature.RUNTIME_COMMAND)
def test_a_runtime_named_crun_wasm_needs_no_annotation(path):
    result = path.run("exit-return-0", binary=path.runtime_named("crun-wasm"), annotations={})

    assert result.proven
    assert result.exit_code == 0


@requirement("CRUN-ARGV0-ANNOTATION")
@needs(Feature.CRUN, Feature.HANDLER, Feature.RUNTIME_COMMAND)
def test_a_runtime_named_crun_wasm_refuses_the_annotation(path):
    result = path.run("exit-return-0", binary=path.runtime_named("crun-wasm"))

    assert not result.guest_started
    assert result.exit_code not in (0, None)
    assert b"handler" in result.stderr


@requirement("CRUN-NO-LIBRARY")
@needs(Feature.CRUN, Feature.HANDLER, Feature.RUNTIME_COMMAND)
def test_a_missing_engine_library_is_named(path):
    hide = 'mount --bind /dev/null "$0" && exec "$@"'

    result = path.run("exit-return-0", wrapped_in=("unshare", "-m", "sh", "-c", hide, path.engine_file))

    assert not result.guest_started
    assert result.signal is None
    assert result.exit_code not in (0, None)
    assert path.engine_file.rpartition("/")[2].partition(".so")[0] in result.stderr.decode()


@requirement("OCI-FEATURES-VERSIONS")
@needs(Feature.OCI_CONFIG, Feature.RUNTIME_COMMAND)
def test_the_versions_that_features_names_are_accepted(path):
    features = path.features()
    versions = [str(features[name]) for name in ("ociVersionMin", "ociVersionMax")]

    results = {version: path.run("exit-return-0", oci={"ociVersion": version}) for version in versions}

    path.observe(versions=versions)
    assert [version for version, result in results.items() if not result.proven] == []
    assert Version(versions[0]) <= Version(versions[1])
