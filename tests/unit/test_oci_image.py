"""Images in the layout of the OCI image specification, as this project writes them."""

from __future__ import annotations

import io
import json
import tarfile
from typing import Any

from conformance.build.oci_image import LAYER, MODULE, BuiltImage, Content, build


def told(image: BuiltImage, digest: str) -> dict[str, Any]:
    """One JSON document of an image."""
    with tarfile.open(fileobj=io.BytesIO(image.archive)) as tar:
        file = tar.extractfile(f"blobs/{digest.replace(':', '/')}")
        assert file is not None
        found: dict[str, Any] = json.load(file)
        return found


def test_a_module_that_is_a_layer_follows_the_others_and_is_not_unpacked() -> None:
    image = build("localhost/a:1", [Content("wasip1/wasm", ({"file": b"text"},), modules=(b"\0asm",))])
    manifest = told(image, image.digest)
    config = told(image, manifest["config"]["digest"])
    assert [layer["mediaType"] for layer in manifest["layers"]] == [LAYER, MODULE]
    assert [manifest["layers"][1]["digest"]] == list(image.modules)
    assert config["rootfs"]["diff_ids"] == [manifest["layers"][0]["digest"]]


def test_images_of_other_modules_have_other_ids() -> None:
    images = [build("localhost/a:1", [Content("wasip1/wasm", ({},), modules=(text,))]) for text in (b"one", b"two")]
    ids = {told(image, image.digest)["config"]["digest"] for image in images}
    assert len(ids) == 2
