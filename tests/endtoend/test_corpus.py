"""The corpus builds, and its native twins do on this host what their sources say."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from conformance.build import guests, patterns

TARGET = f"{platform.machine()}-linux"
NONCE = "0a1b2c"


@pytest.fixture(scope="module")
def corpus() -> guests.Corpus:
    if not shutil.which("mmdebstrap"):
        pytest.skip("mmdebstrap is not installed")
    return guests.corpus(print)


def run(
    corpus: guests.Corpus, name: str, *args: str, stdin: bytes = b"", cwd: Path | None = None, seconds: float = 20
) -> tuple[subprocess.CompletedProcess[bytes], list[dict[str, Any]]]:
    """Run a native twin here; gives back what it did and its reports."""
    program = str(corpus.path / "native" / str(corpus.guests[name].native))
    done = subprocess.run(
        [program, *args], input=stdin, capture_output=True, timeout=seconds, check=False, cwd=cwd, env={"K": "V é"}
    )
    reports = [json.loads(line[8:]) for line in done.stdout.split(b"\n") if line.startswith(b"@report ")]
    return done, reports


def test_modules_are_modules(corpus: guests.Corpus) -> None:
    not_modules = {"elf", "empty", "directory", "text", "shared-object"}
    for guest in corpus.guests.values():
        path = corpus.path / "wasm" / guest.wasm
        if guest.name == "directory":
            assert path.is_dir()
        else:
            assert (path.read_bytes()[:4] == b"\0asm") == (guest.name not in not_modules), guest.name


def test_c_modules_are_small(corpus: guests.Corpus) -> None:
    for guest in corpus.guests.values():
        if guest.language == "c":
            assert (guest.wasm_bytes or 0) < 48 * 1024, guest.name


def test_every_native_twin_announces_itself(corpus: guests.Corpus) -> None:
    for guest in corpus.guests.values():
        if not guest.native:
            continue
        process = subprocess.Popen(
            [corpus.path / "native" / guest.native, f"nonce={NONCE}", "mib=1"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        assert process.stdout is not None
        line = process.stdout.readline()
        os.killpg(process.pid, signal.SIGKILL)  # with the children that it may have by now
        process.communicate(timeout=20)
        assert line.startswith(b"@guest "), guest.name
        assert json.loads(line[7:]) == {"guest": guest.name, "target": TARGET, "nonce": NONCE}


def test_the_nonce_comes_from_a_joined_argument_or_the_environment(corpus: guests.Corpus) -> None:
    for name in ("exit-42", "rust-behaviour", "go-exit-42"):
        program = corpus.path / "native" / str(corpus.guests[name].native)
        joined = subprocess.run([program, "a nonce=beef z"], capture_output=True, stdin=subprocess.DEVNULL, check=False)
        assert b'"nonce":"beef"' in joined.stdout
        variable = subprocess.run(
            [program], capture_output=True, stdin=subprocess.DEVNULL, check=False, env={"CONFORMANCE_NONCE": "cafe"}
        )
        assert b'"nonce":"cafe"' in variable.stdout


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("exit-return-0", 0),
        ("exit-explicit-0", 0),
        ("exit-42", 42),
        ("exit-256", 0),
        ("trap", -4),
        ("rust-panic", 101),
        ("go-exit-42", 42),
        ("go-panic", 2),
    ],
)
def test_native_exit_codes(corpus: guests.Corpus, name: str, code: int) -> None:
    assert run(corpus, name)[0].returncode == code


def test_arguments_and_environment_keep_every_byte(corpus: guests.Corpus) -> None:
    reported = run(corpus, "arguments", 'a "quoted" \\ word', "tab\tnewline\n", "é")[1][0]["args"]
    assert [text.encode("latin-1") for text in reported[1:]] == [b'a "quoted" \\ word', b"tab\tnewline\n", "é".encode()]
    assert run(corpus, "environment")[1] == [{"env": ["K=V \u00c3\u00a9"]}]


def test_stdin_echo(corpus: guests.Corpus) -> None:
    data = bytes(range(256)) * 1000
    done, reports = run(corpus, "stdin-echo", stdin=data)
    assert reports == [{"bytes": len(data), "fnv1a64": patterns.fnv1a64(data)}]
    assert done.stderr == data


def test_streams_and_bytes_are_the_patterns(corpus: guests.Corpus) -> None:
    done, _ = run(corpus, "streams")
    assert done.stdout.split(b"\n", 1)[1] == patterns.stream("out")
    assert done.stderr == patterns.stream("err")
    assert run(corpus, "bytes")[0].stdout.split(b"\n", 1)[1] == patterns.HOSTILE


def test_memory(corpus: guests.Corpus) -> None:
    assert run(corpus, "memory", "mib=32")[1] == [{"mib": 16}, {"mib": 32}, {"mib": 32, "done": True}]


def test_files(corpus: guests.Corpus, tmp_path: Path) -> None:
    def one(*operations: str) -> Sequence[dict[str, Any]]:
        return run(corpus, "files", f"nonce={NONCE}", *operations, cwd=tmp_path)[1]

    done = one(
        "write:a:x:y", "append:a:z", "read:a", "mkdir:d", "list:.", "stat:a", "stat:d", "symlink:l:a", "readlink:l",
        "open-write:a", "chmod:a:600", "unlink:a", "rmdir:d", "unlink:l", "list:.",
    )  # fmt: skip
    assert [report["errno"] for report in done] == [None] * 15
    assert all(report["ok"] for report in done)
    assert done[2] == {"op": "read", "path": "a", "text": "x:yz", "ok": True, "errno": None}
    assert done[4]["entries"] == ["a", "d"]
    assert (done[5]["size"], done[5]["kind"], done[6]["kind"]) == (4, "file", "directory")
    assert done[8]["text"] == "a"
    assert done[14]["entries"] == []
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    expected = {
        "read:none": "ENOENT",
        "rmdir:full": "ENOTEMPTY",
        "mkdir:full": "EEXIST",
        "read:full": "EISDIR",
        "list:full/file": "ENOTDIR",
        "readlink:full": "EINVAL",
    }
    failed = one(*expected)
    assert [report["errno"] for report in failed] == list(expected.values())
    assert not any(report["ok"] for report in failed)


def test_the_remaining_c_guests(corpus: guests.Corpus, tmp_path: Path) -> None:
    (tmp_path / "here.txt").write_text("here\n")
    assert run(corpus, "working-directory", cwd=tmp_path)[1] == [
        {"cwd": str(tmp_path), "relative": "here\n", "errno": None}
    ]
    assert run(corpus, "working-directory", cwd=Path("/"))[1][0]["errno"] == "ENOENT"
    assert run(corpus, "hold")[1] == [{"released": True}]
    assert [row["fd"] for row in run(corpus, "descriptors")[1][0]["fds"]] == [0, 1, 2]
    found = run(corpus, "clock-random")[1][0]
    assert abs(found["realtime_seconds"] - time.time()) < 5
    assert found["monotonic_ns"][1] - found["monotonic_ns"][0] >= 20_000_000
    assert found["random"][0] != found["random"][1]
    assert all(re.fullmatch("[0-9a-f]{32}", text) for text in found["random"])
    assert run(corpus, "sleep", "seconds=0")[1] == [{"slept": 0}]
    flooded, reports = run(corpus, "flood", "mib=2")
    assert reports == [{"flooded": 2}]
    assert len(flooded.stdout) > 2 << 20
    assert len(run(corpus, "flood", "stderr", "mib=1")[0].stderr) == 1 << 20
    assert run(corpus, "terminal", stdin=b"one\ntwo\n")[1] == [{"isatty": [False] * 3}, {"line": "one"}]


def test_rust_and_go_behaviour(corpus: guests.Corpus) -> None:
    rust = run(corpus, "rust-behaviour", "x", stdin=b"12345")[1][0]
    assert (rust["args"][1:], rust["env"], rust["stdin_bytes"]) == (["x"], ["K=V \u00c3\u00a9"], 5)
    assert rust["sum_of_squares"] == sum(number * number for number in range(100))
    go = run(corpus, "go-behaviour", "x", stdin=b"12345")[1][0]
    assert (go["args"][1:], go["env"], go["stdin_bytes"]) == (["x"], ["K=V \u00c3\u00a9"], 5)
    assert go["channel_sum"] == sum(range(1000))


def test_the_manifest_is_true(corpus: guests.Corpus) -> None:
    assert hashlib.sha256(corpus.tar.read_bytes()).hexdigest() == corpus.digest
    with tarfile.open(corpus.tar) as archive:
        members = {member.name: member for member in archive.getmembers()}
        for guest in corpus.guests.values():
            files = ((f"wasm/{guest.wasm}", guest.wasm_sha256), (f"native/{guest.native}", guest.native_sha256))
            for name, digest in files:
                if digest is None:
                    continue
                content = archive.extractfile(name)
                assert content is not None
                assert hashlib.sha256(content.read()).hexdigest() == digest, name
                assert members[name].mode == (0o644 if guest.name == "not-executable" else 0o755)
    assert {(member.uid, member.gid, member.mtime) for member in members.values()} == {(0, 0, guests.MTIME)}
    assert members["wasm/tmp"].mode == 0o1777
    assert "native/data/greeting.txt" in members


def test_a_second_call_costs_next_to_nothing(corpus: guests.Corpus) -> None:
    started = time.monotonic()
    again = guests.corpus()
    assert time.monotonic() - started < 0.5
    assert again == corpus


def test_no_mount_is_left(corpus: guests.Corpus) -> None:
    assert str(corpus.path.parents[1]) not in Path("/proc/self/mountinfo").read_text()


def test_a_builder_whose_owner_is_killed_ends(corpus: guests.Corpus, tmp_path: Path) -> None:
    code = f"""
from pathlib import Path
from conformance.build import builder
from conformance.build.image import image
work = Path({str(tmp_path)!r})
builder.run(image("builder"), "touch /mnt/started; exec sleep 4242", work=work, log=work / "log", timeout_seconds=60)
"""
    process = subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parents[2])
    _until(lambda: (tmp_path / "started").exists())
    assert _running("sleep 4242")
    process.kill()
    process.wait()
    _until(lambda: not _running("sleep 4242"))


def _running(command: str) -> bool:
    words = command.encode().replace(b" ", b"\0") + b"\0"
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if path.read_bytes() == words:
                return True
    return False


def _until(condition: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.05)
