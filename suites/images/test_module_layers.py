"""Modules that are layers of an image by themselves, and what a shim compiles of them."""

from conformance import Feature, needs, requirement

#: With this runwasi's labels in containerd's content store begin.
COMPILED = "runwasi.io/precompiled/"


def module_of_its_own(path, workload):
    """A workload's module that no other check has: with a custom section more."""
    section = b"\x01n" + path.new_nonce().encode()
    return path.bytes_of(workload) + bytes([0, len(section)]) + section


def loaded(path, *modules):
    """An image of these layers and nothing else, loaded."""
    image = path.image(platform="wasip1/wasm", modules=modules)
    assert path.load(image).ok
    return image


def compiled(path, image):
    """Of an image's module: its digest, runwasi's label there, and the digest of the code to which that points."""
    [layer] = image.modules
    labels = path.images.labels()[layer]
    names = [name for name in labels if name.startswith(COMPILED)]
    assert len(names) == 1
    return layer, names[0], labels[names[0]]


@requirement("IMG-MODULE-LAYER")
@needs(Feature.IMAGES, Feature.MODULE_LAYERS)
def test_a_module_that_is_a_layer_by_itself_runs(path):
    image = loaded(path, path.bytes_of("exit-return-0"))

    result = path.run("exit-return-0", image=image.name)

    assert result.proven
    assert result.exit_code == 0


@requirement("CRI-PRECOMPILED-REUSED")
@needs(Feature.IMAGES, Feature.PODS, Feature.PRECOMPILES)
def test_what_was_compiled_of_a_module_is_used_again(path):
    one, other = (loaded(path, module_of_its_own(path, name)) for name in ("exit-return-0", "exit-42"))
    first = path.run("exit-return-0", image=one.name)
    assert path.run("exit-42", image=other.name).proven
    layer, label, _ = compiled(path, one)
    *_, code = compiled(path, other)

    # the same code would come of compiling it again, so it is exchanged for another's
    assert path.images.label(layer, label, code).ok
    second = path.run("exit-return-0", announces="exit-42", image=one.name)

    assert first.proven
    assert first.exit_code == 0
    assert second.proven
    assert second.exit_code == 42


@requirement("CRI-PRECOMPILED-FORGED")
@needs(Feature.IMAGES, Feature.PODS, Feature.PRECOMPILES)
def test_compiled_code_that_comes_in_an_image_does_not_run(path):
    image = loaded(path, module_of_its_own(path, "exit-42"))
    assert path.run("exit-42", image=image.name).proven
    *_, code = compiled(path, image)
    forged = loaded(path, path.images.content(code))

    result = path.run("exit-42", image=forged.name)

    assert not result.guest_started
    assert result.exit_code not in (0, 42, None)
