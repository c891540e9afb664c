"""Container images in the layout of the OCI image specification, in every form that Wasm is shipped in
(https://github.com/opencontainers/image-spec/blob/v1.1.1/image-layout.md).

A few JSON documents around one tar: nothing but the standard library is needed, and every byte is ours.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
#: A module that is a layer by itself: https://tag-runtime.cncf.io/wgs/wasm/deliverables/wasm-oci-artifact/
MODULE = "application/wasm"
CREATED = "2025-01-01T00:00:00Z"
MTIME = 1_735_689_600  # the same; fixed, so that the same content gives the same digest


@dataclass(frozen=True)
class Content:
    """What goes into one image.

    Attributes:
        platform: ``os/architecture`` of its configuration.
        layers: one after the other, each path to content; ``None`` is a directory.
        config: ``config`` of the image's configuration: Env, Cmd, Entrypoint, User ...
        annotations: of the manifest.
        modules: layers after the others, each a module as it is.
    """

    platform: str
    layers: tuple[Mapping[str, bytes | None], ...]
    config: Mapping[str, Any] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    modules: tuple[bytes, ...] = ()


@dataclass(frozen=True)
class BuiltImage:
    """An image, built.

    Attributes:
        name: what it is called where it is loaded.
        archive: tar of its layout; ``docker load`` finds its own manifest in there too.
        digest: of what a tag points to, the manifest or the index.
        manifests: platform to digest of the manifest.
        modules: digests of the layers that are modules.
    """

    name: str
    archive: bytes
    digest: str
    manifests: Mapping[str, str]
    modules: tuple[str, ...] = ()


def build(name: str, contents: Sequence[Content], *, index: bool = False) -> BuiltImage:
    """Build an image.

    Args:
        name: with tag, as in ``localhost/thing:1``.
        contents: one for each platform; more than one needs an index.
        index: point the tag to an index even for one platform.
    """
    blobs: dict[str, bytes] = {}
    described = [_manifest(content, blobs) for content in contents]
    top = described[0]
    if index or len(contents) > 1:
        document = {"schemaVersion": 2, "mediaType": INDEX, "manifests": described}
        top = _blob(_json(document), INDEX, blobs)
    # containerd takes the name from the key of its own: the other one may hold a tag alone
    names = dict.fromkeys(("io.containerd.image.name", "org.opencontainers.image.ref.name"), name)
    named = {**top, "annotations": names}
    files = {
        "oci-layout": _json({"imageLayoutVersion": "1.0.0"}),
        "index.json": _json({"schemaVersion": 2, "mediaType": INDEX, "manifests": [named]}),
        "manifest.json": _json([_for_docker(name, json.loads(blobs[described[0]["digest"]]))]),
        **{f"blobs/{digest.replace(':', '/')}": data for digest, data in blobs.items()},
    }
    manifests = {c.platform: d["digest"] for c, d in zip(contents, described, strict=True)}
    modules = tuple(_digest(module) for content in contents for module in content.modules)
    return BuiltImage(name, pack(files), str(top["digest"]), manifests, modules)


def pack(files: Mapping[str, bytes | None]) -> bytes:
    """A tar of these paths, everything owned by root; programs stay executable because all files are."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for path, data in files.items():
            member = tarfile.TarInfo(path)
            member.mtime, member.mode = MTIME, 0o755
            member.type = tarfile.DIRTYPE if data is None else tarfile.REGTYPE
            member.size = len(data or b"")
            tar.addfile(member, io.BytesIO(data or b""))
    return buffer.getvalue()


def _manifest(content: Content, blobs: dict[str, bytes]) -> dict[str, Any]:
    """The descriptor of one platform's manifest; everything it leads to is added to ``blobs``."""
    layers = [_blob(pack(layer), LAYER, blobs) for layer in content.layers]
    modules = [_blob(module, MODULE, blobs) for module in content.modules]
    system, architecture = content.platform.split("/")
    configuration = {
        "created": CREATED,
        "os": system,
        "architecture": architecture,
        "config": dict(content.config),
        # not compressed, so a layer's digest is its DiffID; containerd unpacks no module, so it has none
        "rootfs": {"type": "layers", "diff_ids": [layer["digest"] for layer in layers]},
        # an image's id is the digest of this document, so other modules make another
        "history": [
            *({"created": CREATED, "created_by": "conformance"} for _ in layers),
            *({"created": CREATED, "comment": module["digest"], "empty_layer": True} for module in modules),
        ],
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": _blob(_json(configuration), CONFIG, blobs),
        "layers": [*layers, *modules],
        **({"annotations": dict(content.annotations)} if content.annotations else {}),
    }
    described = _blob(_json(manifest), MANIFEST, blobs)
    return {**described, "platform": {"os": system, "architecture": architecture}}


def _for_docker(name: str, manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The entry of ``manifest.json`` by which docker 26.1 finds an image in an archive."""
    where = [f"blobs/{part['digest'].replace(':', '/')}" for part in (manifest["config"], *manifest["layers"])]
    return {"Config": where[0], "RepoTags": [name], "Layers": where[1:]}


def _blob(data: bytes, media_type: str, blobs: dict[str, bytes]) -> dict[str, Any]:
    digest = _digest(data)
    blobs[digest] = data
    return {"mediaType": media_type, "digest": digest, "size": len(data)}


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), sort_keys=True).encode()
