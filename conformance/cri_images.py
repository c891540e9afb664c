"""The images of a CRI runtime, asked for through its ``ImageService`` with crictl.

https://github.com/kubernetes/cri-api/blob/v0.36.0/pkg/apis/runtime/v1/api.proto. The CRI can pull an image, not
load one: that is done with the tool that a node has for the runtime's own store.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

from conformance.model import Completed, Said
from conformance.node import Node, completed
from conformance.node import steps as s

#: Loading and pulling.
IMAGE_TIMEOUT_SECONDS = 120.0
#: containerd's CRI plug-in learns from an event that its store has another image.
NOTICED_SECONDS = 3.0
#: containerd counts what its images use every ten seconds.
COUNTED_SECONDS = 25.0
#: Prints "used" for each file system of which bytes are.
_USED = '{{range .status.imageFilesystems}}{{if ne .usedBytes.value "0"}}used{{end}}{{end}}'


@dataclass
class CriImages:
    """What :class:`conformance.path_under_test.PathUnderTest` asks of the images of one CRI runtime.

    Attributes:
        crictl: with its connection.
        importing: the command that puts an archive into the store, from the archive's file and the image's name.
        look_at_daemon: raises if the CRI runtime has ended; given a command that failed.
        contents: the command of containerd's content store; empty where there is none.
    """

    node: Node
    crictl: list[str]
    importing: Callable[[str, str], list[str]]
    look_at_daemon: Callable[[Completed], None]
    contents: list[str]

    def load(self, archive: str, name: str) -> Completed:
        """Put an archive on the node into the store, and wait until the runtime knows the image.

        A value, because what is said of a form is a verdict.
        """
        done = self._done(*self.importing(archive, name))
        if done.ok:
            look = [*self.crictl, "inspecti", "--output=json", name]
            self.node.batch([s.Run(look, repeat_until='"status"', timeout_seconds=NOTICED_SECONDS)])
        return done

    def pull(self, reference: str, platform: str = "") -> Completed:
        """``PullImage``, which knows no ``platform``: the runtime takes its node's own."""
        return self._done(*self.crictl, "pull", reference)

    def inspect(self, image: str) -> Said:
        """:meth:`status` under the keys that podman and docker use; empty where there is no such image."""
        found = self.status(image)
        return Said({"RepoTags": found["repoTags"], "RepoDigests": found["repoDigests"]} if found else {})

    def look(self, image: str) -> Completed:
        """``ImageStatus``; for one that is not there crictl says so, for an error of the runtime's it says that."""
        return self._done(*self.crictl, "inspecti", "--output=json", image)

    def status(self, image: str) -> Said:
        """``ImageStatus`` of a name, a digest or an id; empty where the runtime has no such image."""
        said = _object(self.look(image)).get("status", Said())
        return said if isinstance(said, Said) else Said()

    def listed(self) -> list[Said]:
        """``ListImages``."""
        return list(_object(self._done(*self.crictl, "images", "--output=json")).get("images") or [])

    def remove(self, image: str) -> Completed:
        """``RemoveImage``; crictl asks for the image's status first, and for one that is not there for nothing else."""
        return self._done(*self.crictl, "rmi", image)

    def file_systems(self) -> list[Said]:
        """``ImageFsInfo``, as soon as it tells of bytes that are used or the deadline has passed."""
        look = [*self.crictl, "imagefsinfo", "--output=go-template", f"--template={_USED}"]
        self.node.batch([s.Run(look, repeat_until="used", timeout_seconds=COUNTED_SECONDS)])
        status = _object(self._done(*self.crictl, "imagefsinfo", "--output=json")).get("status", Said())
        return list(status.get("imageFilesystems") or [])

    def labels(self) -> dict[str, dict[str, str]]:
        """What containerd's content store holds: digests, each with its labels."""
        listed = self._done(*self.contents, "ls").stdout.decode().splitlines()[1:]
        rows = [line.split("\t") for line in listed]
        return {
            row[0].strip(): dict(label.split("=", 1) for label in row[-1].strip().split(",") if "=" in label)
            for row in rows
        }

    def label(self, digest: str, name: str, value: str) -> Completed:
        """Give a blob of the content store a label."""
        return self._done(*self.contents, "label", digest, f"{name}={value}")

    def content(self, digest: str) -> bytes:
        """A blob of the content store."""
        return self._done(*self.contents, "get", digest).stdout

    def _done(self, *argv: str) -> Completed:
        step = s.Run(argv, timeout_seconds=IMAGE_TIMEOUT_SECONDS)
        done = completed(step, self.node.batch([step])[0])
        if not done.ok:
            self.look_at_daemon(done)
        return done


def _object(done: Completed) -> Said:
    """What a command printed as a JSON object; empty where it failed or printed none."""
    try:
        value = json.loads(done.stdout, object_hook=Said) if done.ok else Said()
    except ValueError:
        return Said()  # a check that looks for a key finds none
    return value if isinstance(value, Said) else Said()
