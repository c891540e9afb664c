"""What is said about a mistake in the description of a daemon."""

from __future__ import annotations

from pathlib import Path

import pytest

from conformance import services
from conformance.errors import UsageError

GOOD = """\
name: thing
command: [thingd, "--config=@directory@/thing.conf"]
ready: [thing, ping]
ready_seconds: 5
values: [port]
files:
  - path: thing.conf
    text: "listen @port@"
"""


@pytest.mark.parametrize("name", services.names())
def test_every_service_of_ours_is_described_without_a_mistake(name: str) -> None:
    described = services.description(name)
    assert described.command
    assert described.ready


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (
            "values: [port]",
            "values: []",
            "thing.yaml:1: nothing stands for '@port@'; known: bridge, directory, network, registry",
        ),
        ("name: thing", "name: other", "thing.yaml:1: name 'other' differs from the file's name"),
        (
            "ready_seconds: 5",
            "secs: 5",
            "thing.yaml:4: unknown key 'secs'; known keys: name, command, ready, ready_seconds, files, values",
        ),
        ("ready: [thing, ping]\n", "", "thing.yaml:1: key 'ready' is missing"),
    ],
)
def test_a_mistake_is_told_with_file_and_line(tmp_path: Path, old: str, new: str, says: str) -> None:
    (tmp_path / "thing.yaml").write_text(GOOD.replace(old, new))
    with pytest.raises(UsageError) as caught:
        services.description("thing", tmp_path)
    assert str(caught.value) == f"{tmp_path}/{says}"


def test_an_unknown_service_is_told_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match="no service is called 'dockerdd'; known: containerd, .*, dockerd, registry"):
        services.description("dockerdd")


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (
            'time="1" level=error msg="no network" error="none in \\"/cni\\""\ntime="2" level=info msg=ready',
            'no network: none in "/cni"',
        ),
        ('time="1" level=fatal msg=stopped\ntime="2" level=warning msg="no metrics" error=none', "stopped"),
        ("containerd: cannot listen: in use", "containerd: cannot listen: in use"),
        ("configuration error: no port\n\nUsage:\n  registry\n  -h, --help   help", "configuration error: no port"),
        ('time="1" level=info msg="loading" error="skipped"', ""),
        ("", ""),
    ],
)  # fmt: skip
def test_what_a_daemon_complains_of_is_found_in_its_log(lines: str, says: str) -> None:
    assert services.complaint(lines) == says
