"""What crictl's answers about images become; one that fails is a value that holds nothing."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest

from conformance.cri_images import CriImages
from conformance.model import Completed
from conformance.node import Node
from conformance.node import steps as s

ID = "sha256:1"
IMAGE = {"id": ID, "repoTags": ["r/i:1"], "repoDigests": ["r/i@sha256:2"], "size": "7", "pinned": False}


class Answering:
    """A node on which crictl gives one answer."""

    pace = 1.0

    def __init__(self, stdout: object, exit_code: int = 0) -> None:
        self.stdout, self.exit_code = stdout, exit_code
        self.asked: list[list[str]] = []

    def batch(self, steps: list[s.Step]) -> list[s.Answer]:
        self.asked += [list(step.argv) for step in steps if isinstance(step, s.Run)]
        fields: dict[str, Any] = {"exit_code": self.exit_code, "signal": None, "timed_out": False, "seconds": 0.0}
        text = self.stdout if isinstance(self.stdout, str) else json.dumps(self.stdout)
        return [s.Answer(fields, (text.encode(), b"no such image")) for _ in steps]


def images(node: Answering, failed: list[Completed] | None = None) -> CriImages:
    look = (failed if failed is not None else []).append
    return CriImages(cast(Node, node), ["crictl"], lambda archive, name: ["import", archive, name], look, ["ctr"])


def test_an_image_s_status_has_the_names_that_podman_and_docker_give() -> None:
    assert images(Answering({"status": IMAGE})).inspect("r/i:1") == {
        "RepoTags": IMAGE["repoTags"],
        "RepoDigests": IMAGE["repoDigests"],
    }


def test_an_image_that_is_not_there_has_no_status_and_the_runtime_is_looked_at() -> None:
    failed: list[Completed] = []
    absent = images(Answering("", exit_code=1), failed)
    assert absent.status("r/i:1") == absent.inspect("r/i:1") == {}
    assert [done.exit_code for done in failed] == [1, 1]


@pytest.mark.parametrize("said", ["", "no JSON", "[]", '{"images": null}'])
def test_an_answer_without_images_lists_none(said: str) -> None:
    assert images(Answering(said)).listed() == []


def test_a_loaded_image_is_looked_for_and_a_refused_one_is_not() -> None:
    taken, refusing = Answering({"status": IMAGE}), Answering("", exit_code=1)
    assert images(taken).load("/a.tar", "r/i:1").ok
    assert not images(refusing).load("/a.tar", "r/i:1").ok
    assert [words[1] for words in taken.asked] == ["/a.tar", "inspecti"]
    assert len(refusing.asked) == 1


def test_blobs_of_the_content_store_are_told_with_their_labels() -> None:
    listed = (
        "DIGEST\t\t\t\tSIZE\tAGE\t\tLABELS\n"
        "sha256:1\t65.97kB\t1 second\truntime.io/code/1=sha256:2,containerd.io/gc.ref.content.0=sha256:2\n"
        "sha256:2\t10.24kB\tLess than a second\t-\n"
    )
    assert images(Answering(listed)).labels() == {
        "sha256:1": {"runtime.io/code/1": "sha256:2", "containerd.io/gc.ref.content.0": "sha256:2"},
        "sha256:2": {},
    }
