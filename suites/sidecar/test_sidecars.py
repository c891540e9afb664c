"""Native programs beside modules: pause containers and side-cars of a mixed pod."""

from conformance import Feature, needs, requirement

HANDLER, VARIANT = "run.oci.handler", "module.wasm.image/variant"
CONTAINERD_KEY, CRIO_KEY = "io.kubernetes.cri.container-type", "io.kubernetes.cri-o.ContainerType"


def native(path, annotations):
    """Run a native program on a path that hands modules to an engine."""
    return path.run(
        "exit-return-0", argv0="/exit-return-0", guest="native", rootfs=path.native_root, annotations=annotations
    )


@requirement("CRUN-SMART-NATIVE")
@needs(Feature.CRUN, Feature.HANDLER)
def test_under_wasm_smart_a_native_sidecar_runs_natively(path):
    result = native(path, {HANDLER: "wasm-smart"})

    assert result.proven
    assert result.exit_code == 0


@requirement("CRUN-VARIANT-SMART-NATIVE")
@needs(Feature.CRUN, Feature.HANDLER)
def test_under_compat_smart_a_native_sidecar_runs_natively(path):
    result = native(path, {VARIANT: "compat-smart"})

    assert result.proven
    assert result.exit_code == 0


@requirement("CRUN-COMPAT-NATIVE")
@needs(Feature.HANDLER)
def test_under_compat_a_native_sidecar_fails_visibly(path):
    result = native(path, {VARIANT: "compat"})

    assert not result.guest_started
    assert result.signal is None
    assert result.exit_code not in (0, None)


@requirement("CRUN-PAUSE-CONTAINERD")
@needs(Feature.CRUN, Feature.HANDLER, Feature.ANNOTATIONS)
def test_containerd_s_pause_container_runs_natively(path):
    result = native(path, {HANDLER: "wasm", CONTAINERD_KEY: "sandbox"})

    assert result.proven
    assert result.exit_code == 0


@requirement("CRUN-PAUSE-CRIO")
@needs(Feature.CRUN, Feature.HANDLER, Feature.ANNOTATIONS)
def test_cri_o_s_pause_container_runs_natively(path):
    result = native(path, {HANDLER: "wasm", CRIO_KEY: "sandbox"})

    assert result.proven
    assert result.exit_code == 0
