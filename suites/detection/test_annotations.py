"""Which annotations make crun hand a module to its engine."""

from conformance import Feature, needs, requirement

HANDLER, VARIANT = "run.oci.handler", "module.wasm.image/variant"


@requirement("CRUN-HANDLER-WASM")
@needs(Feature.CRUN, Feature.HANDLER)
def test_handler_wasm_runs_a_module(path):
    result = path.run("exit-return-0", annotations={HANDLER: "wasm"})

    assert result.proven
    assert result.exit_code == 0


@requirement("CRUN-VARIANT-COMPAT")
@needs(Feature.HANDLER)
def test_variant_compat_runs_a_module(path):
    result = path.run("exit-return-0", annotations={VARIANT: "compat"})

    assert result.proven
    assert result.exit_code == 0


@requirement("CRUN-HANDLER-SMART")
@needs(Feature.CRUN, Feature.HANDLER)
def test_handler_wasm_smart_runs_a_module(path):
    result = path.run("exit-return-0", annotations={HANDLER: "wasm-smart"})

    assert result.proven
    assert result.exit_code == 0


@requirement("CRUN-VARIANT-SMART")
@needs(Feature.CRUN, Feature.HANDLER)
def test_variant_compat_smart_runs_a_module(path):
    result = path.run("exit-return-0", annotations={VARIANT: "compat-smart"})

    assert result.proven
    assert result.exit_code == 0


@requirement("CRUN-HANDLER-SHADOWS")
@needs(Feature.CRUN, Feature.HANDLER)
def test_the_handler_shadows_the_variant(path):
    result = path.run("no-suffix", announces="exit-return-0", annotations={HANDLER: "wasm", VARIANT: "compat-smart"})

    assert result.proven
    assert result.exit_code == 0


@requirement("CRUN-SUFFIX")
@needs(Feature.HANDLER)
def test_a_module_without_suffix_runs_under_compat(path):
    result = path.run("no-suffix", announces="exit-return-0", annotations={VARIANT: "compat"})

    assert result.proven
    assert result.exit_code == 0


@requirement("PROJECT-NOT-EXECUTABLE")
@needs(Feature.HANDLER)
def test_a_module_need_not_be_executable(path):
    result = path.run("not-executable", announces="exit-return-0")

    assert result.proven
    assert result.exit_code == 0


@requirement("CRUN-NO-ANNOTATION")
@needs(Feature.HANDLER)
def test_without_annotation_a_module_is_no_program(path):
    result = path.run("exit-return-0", annotations={})

    assert not result.guest_started
    assert result.signal is None
    assert result.exit_code not in (0, None)


@requirement("CRUN-HANDLER-UNKNOWN")
@needs(Feature.HANDLER)
def test_an_unknown_handler_is_refused_by_name(path):
    result = path.run("exit-return-0", annotations={HANDLER: "no-such-handler"})

    path.observe(named=b"no-such-handler" in result.stderr)
    assert not result.guest_started
    assert result.exit_code not in (0, None)
    assert b"no-such-handler" in result.stderr
