"""The forms in which a module is shipped as a container image."""

from conformance import Feature, needs, requirement


def forms(path, request, **of_image):
    """Run one image as single manifest and as index, loaded and pulled; what came of each.

    Args:
        path: under test.
        request: what the container is asked with: annotations, platform.
        of_image: what the image is.
    """
    results = {}
    for shape in ("single", "index"):
        image = path.image("exit-return-0", index=shape == "index", **of_image)
        loaded = path.load(image)
        results[f"{shape}, loaded"] = path.run("exit-return-0", image=image.name, **request) if loaded.ok else loaded
        reference = path.push(image)
        pulled = path.pull(reference, of_image["platform"] if "platform" in request else "")
        results[f"{shape}, pulled"] = path.run("exit-return-0", image=reference, **request) if pulled.ok else pulled
    path.observe(runs=[form for form, result in results.items() if getattr(result, "proven", False)])
    return results


def refused(results):
    """The forms that did not run, with what was said of them."""
    said = {form: result for form, result in results.items() if not getattr(result, "proven", False)}
    return {form: result.stderr.decode("utf-8", "replace").strip()[-300:] for form, result in said.items()}


@requirement("IMG-LINUX")
@needs(Feature.IMAGES)
def test_an_ordinary_image_runs_in_every_form(path):
    results = forms(path, {})

    assert refused(results) == {}


@requirement("IMG-WASI-WASM")
@needs(Feature.IMAGES, Feature.WASM_PLATFORM)
def test_an_image_of_platform_wasi_wasm_runs_in_every_form(path):
    results = forms(path, {"platform": "wasi/wasm", "annotations": {}}, platform="wasi/wasm")

    assert refused(results) == {}


@requirement("IMG-WASI-WASM32")
@needs(Feature.IMAGES, Feature.WASM_PLATFORM)
def test_an_image_of_platform_wasi_wasm32_runs_in_every_form(path):
    results = forms(path, {"platform": "wasi/wasm32", "annotations": {}}, platform="wasi/wasm32")

    assert refused(results) == {}


@requirement("IMG-WASIP1-WASM")
@needs(Feature.IMAGES, Feature.WASM)
def test_an_image_of_platform_wasip1_wasm_runs_in_every_form(path):
    results = forms(path, {"platform": "wasip1/wasm"}, platform="wasip1/wasm")

    assert refused(results) == {}


@requirement("PROJECT-IMG-WASI-WASM")
@needs(Feature.IMAGES, Feature.PODS, Feature.WASM)
def test_an_image_of_platform_wasi_wasm_runs_in_every_form_where_the_pod_asks_for_it(path):
    results = forms(path, {}, platform="wasi/wasm")

    assert refused(results) == {}


@requirement("PROJECT-IMG-WASI-WASM32")
@needs(Feature.IMAGES, Feature.PODS, Feature.WASM)
def test_an_image_of_platform_wasi_wasm32_runs_in_every_form_where_the_pod_asks_for_it(path):
    results = forms(path, {}, platform="wasi/wasm32")

    assert refused(results) == {}


@requirement("IMG-NO-REQUEST")
@needs(Feature.IMAGES)
def test_a_module_that_nobody_asks_to_run_as_wasm_is_refused_with_a_reason(path):
    image = path.image(files={"module.wasm": b"\0asm\1\0\0\0"})
    assert path.load(image).ok

    result = path.run("exit-return-0", argv0="/module.wasm", image=image.name, annotations={})

    assert not result.guest_started
    assert result.exit_code not in (0, None)
    assert result.stderr != b""


@requirement("IMG-FOREIGN")
@needs(Feature.IMAGES)
def test_an_image_for_another_architecture_is_refused_or_warned_of(path):
    image = path.image("exit-return-0", platform="linux/s390x")
    loaded = path.load(image)

    result = path.run("exit-return-0", image=image.name)

    said = loaded.stderr + result.stderr
    path.observe(ran=result.guest_started, warned=b"s390x" in said)
    assert result.proven or not result.guest_started
    assert b"s390x" in said
