"""Writes an OCI archive (image-spec, image-layout.md) with one layer to standard output: the
directory ``argv[1]`` as the image ``argv[2]`` whose config is the JSON object ``argv[3]``.

Sent as text to ``python3`` on the node, where the directory is; standard library only.
"""

import hashlib
import io
import json
import os
import sys
import tarfile

OCI = "application/vnd.oci.image."
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def main(directory: str, name: str, config: dict[str, object]) -> None:
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        tar.add(directory, ".")
    blobs: dict[str, bytes] = {}

    def described(data: bytes, kind: str) -> dict[str, object]:
        digest = hashlib.sha256(data).hexdigest()
        blobs[digest] = data
        return {"mediaType": OCI + kind, "digest": "sha256:" + digest, "size": len(data)}

    layers = [described(layer.getvalue(), "layer.v1.tar")]
    image = {
        "architecture": ARCHITECTURES[os.uname().machine], "os": "linux", "config": config,
        "rootfs": {"type": "layers", "diff_ids": [entry["digest"] for entry in layers]},
    }  # fmt: skip
    manifest = {
        "schemaVersion": 2, "mediaType": OCI + "manifest.v1+json",
        "config": described(json.dumps(image).encode(), "config.v1+json"), "layers": layers,
    }  # fmt: skip
    entry = described(json.dumps(manifest).encode(), "manifest.v1+json")
    entry["annotations"] = {"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name}
    files = {
        "oci-layout": b'{"imageLayoutVersion":"1.0.0"}',
        "index.json": json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode(),
        **{"blobs/sha256/" + digest: data for digest, data in blobs.items()},
    }
    with tarfile.open(fileobj=sys.stdout.buffer, mode="w|") as archive:
        for path, data in files.items():
            member = tarfile.TarInfo(path)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], json.loads(sys.argv[3]))
