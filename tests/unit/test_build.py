"""Caching and recipes, without network and without building anything."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from conformance.build import cache, command, guests, image, patterns
from conformance.errors import InfrastructureError, UsageError

REPOSITORY = Path(__file__).parents[2]
KEY = "0123456789abcdef0123456789abcdef"


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CONFORMANCE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def hello(directory: Path) -> None:
    (directory / "hello").write_text("hello\n")


def python(code: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
    )


def test_an_entry_is_built_once(own_cache: Path) -> None:
    calls: list[Path] = []
    first = cache.entry("images", KEY, lambda place: (calls.append(place), hello(place))[1])
    second = cache.entry("images", KEY, lambda place: (calls.append(place), hello(place))[1])
    assert first == second == own_cache / "images" / KEY[:16]
    assert (first / "hello").read_text() == "hello\n"
    assert len(calls) == 1


def test_a_failed_build_leaves_nothing(own_cache: Path) -> None:
    def breaks(directory: Path) -> None:
        hello(directory)
        raise InfrastructureError("the network is away")

    with pytest.raises(InfrastructureError, match="network is away"):
        cache.entry("images", KEY, breaks)
    assert [path.name for path in (own_cache / "images").iterdir()] == [f"{KEY[:16]}.lock"]
    assert (cache.entry("images", KEY, hello) / "hello").exists()


def test_what_a_killed_build_left_cannot_be_used_and_is_swept(own_cache: Path) -> None:
    process = python(f"""
        import os, signal
        from conformance.build import cache
        def build(place):
            (place / "half").write_text("half")
            os.kill(os.getpid(), signal.SIGKILL)
        cache.entry("images", "{KEY}", build)
    """)
    process.wait(30)
    home = own_cache / "images"
    assert not (home / KEY[:16]).exists()
    assert list(home.glob("*.partial-*"))
    other = cache.entry("images", "f" * 16, hello)  # another key: nobody holds the lock, so it is swept
    assert other.exists()
    assert not list(home.glob("*.partial-*"))
    assert [path.name for path in cache.entry("images", KEY, hello).iterdir()] == ["hello"]


def test_a_build_that_runs_is_not_swept(own_cache: Path) -> None:
    process = python(f"""
        import time
        from conformance.build import cache
        def build(place):
            print("building", flush=True)
            time.sleep(2)
            (place / "whole").write_text("whole")
        cache.entry("images", "{KEY}", build)
    """)
    assert process.stdout is not None
    assert process.stdout.readline() == "building\n"
    cache.entry("images", "f" * 16, hello)
    assert process.wait(30) == 0
    assert (own_cache / "images" / KEY[:16] / "whole").exists()


def test_two_processes_build_once_and_the_second_says_it_waits(own_cache: Path) -> None:
    code = f"""
        import os, time
        from conformance.build import cache
        def build(place):
            print("built", flush=True)
            time.sleep(1)
            (place / "by").write_text(str(os.getpid()))
        cache.entry("images", "{KEY}", build, progress=lambda message: print(message, flush=True))
    """
    outputs = [process.communicate(timeout=30)[0] for process in [python(code), python(code)]]
    assert sum("built" in output for output in outputs) == 1
    assert sum(f"waiting for another process that builds images/{KEY[:16]}" in output for output in outputs) == 1


def test_the_wait_is_bounded(own_cache: Path) -> None:
    process = python(f"""
        import time
        from conformance.build import cache
        def build(place):
            print("building", flush=True)
            time.sleep(60)
        cache.entry("images", "{KEY}", build)
    """)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        with pytest.raises(InfrastructureError, match="has been building"):
            cache.entry("images", KEY, hello, wait_seconds=0.3)
    finally:
        process.kill()
        process.wait()


def test_too_little_space_names_place_and_amount(own_cache: Path) -> None:
    with pytest.raises(InfrastructureError, match=rf"{own_cache}/images: about {1 << 40} MiB needed") as caught:
        cache.entry("images", KEY, hello, needs_mib=1 << 40)
    assert "CONFORMANCE_CACHE" in caught.value.hint


def test_a_disk_that_fills_up_is_reported(own_cache: Path) -> None:
    def fills(directory: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(InfrastructureError, match="no space left"):
        cache.entry("images", KEY, fills, needs_mib=1)
    assert not list((own_cache / "images").glob("*.partial-*"))


def test_digests_keep_their_parts_apart(tmp_path: Path) -> None:
    assert cache.digest_of("ab", "c") != cache.digest_of("a", "bc")
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "one").write_text("1")
    before = cache.digest_of(tmp_path / "tree")
    (tmp_path / "tree" / "one").rename(tmp_path / "tree" / "two")
    assert cache.digest_of(tmp_path / "tree") != before


def test_the_cache_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CONFORMANCE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache.root() == tmp_path / "wasm-conformance"


def test_an_ordinary_user_gets_sudo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert cache.as_root() == ("sudo", "-n")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert cache.as_root() == ()


def test_a_typo_in_a_recipe_is_named(tmp_path: Path) -> None:
    (tmp_path / "node.yaml").write_text("suite: trixie\npackges: [crun]\n")
    with pytest.raises(UsageError, match=r"node\.yaml:2: unknown key 'packges'; did you mean 'packages'"):
        image.recipe("node", tmp_path)


def test_an_unknown_image_lists_the_known() -> None:
    with pytest.raises(UsageError, match=r"known: .*builder.*node"):
        image.recipe("nodde")


def test_the_recipes_of_the_repository_are_valid() -> None:
    assert "crun" in image.recipe("node").packages
    assert "clang" in image.recipe("builder").packages


def test_missing_mmdebstrap_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(InfrastructureError, match="mmdebstrap is not installed") as caught:
        image.image("node")
    assert "apt-get install" in caught.value.hint


def test_a_failed_image_shows_log_and_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "mmdebstrap"
    program.write_text("#!/bin/sh\nfor i in $(seq 40); do echo line $i; done\necho 'E: no mirror' >&2\nexit 25\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(InfrastructureError) as caught:
        image.image("node")
    message = str(caught.value)
    assert "exit code 25" in message
    assert "E: no mirror" in message
    assert "line 20" not in message
    assert "image-node.log" in message
    assert "repeat it: env" in message
    assert "--variant=minbase" in message


def test_the_hosts_proxy_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    dump = 'Acquire::http::Proxy "http://proxy.example:3128";\nAcquire::https::Proxy "";\n'
    monkeypatch.setattr(image, "_output", lambda argv: dump)
    image.apt_options.cache_clear()
    assert image.apt_options() == ('Acquire::http::Proxy "http://proxy.example:3128"',)
    image.apt_options.cache_clear()


def test_a_command_that_does_not_end_is_ended(tmp_path: Path) -> None:
    started = time.monotonic()
    with pytest.raises(InfrastructureError, match="did not end within"):
        command.run(["sleep", "60"], log=tmp_path / "log", timeout_seconds=0.2)
    assert time.monotonic() - started < 10


def test_the_corpus_description_is_valid() -> None:
    entries = guests.workloads()
    assert len({workload.wasm for workload in entries}) == len(entries)
    assert all(workload.native for workload in entries if workload.kind == "guest")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("source: c/nothing.c", "source c/nothing.c does not exist"),
        ("half_of: exit-return-1", "which is no compiled entry"),
        ("bytes: ''\n  directory: true", "exactly one of"),
        ("sorce: c/one.c", "unknown key 'sorce'; did you mean 'source'"),
    ],
)
def test_a_mistake_in_the_corpus_is_named(tmp_path: Path, lines: str, message: str) -> None:
    language = "c" if "ource" in lines or "sorce" in lines else "none"
    (tmp_path / "corpus.yaml").write_text(
        f"- name: one\n  purpose: p\n  kind: malformed\n  language: {language}\n"
        f"  wasm: one.wasm\n  native: null\n  {lines}\n"
    )
    with pytest.raises(UsageError, match=message) as caught:
        guests.workloads(tmp_path)
    assert "corpus.yaml:" in str(caught.value)


def test_compiler_messages_come_with_the_file(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text(
        "c/one.c:3:5: error: no such thing\nFAILED c/one.c (wasm)\nmake: *** [/mnt/Makefile:7: job-0] Error 1\n"
    )
    text = guests._compile_error("c", log)
    assert text.startswith("c/one.c (wasm): does not compile:\nc/one.c:3:5: error: no such thing\n")
    assert "make:" not in text


def test_the_patterns_have_their_sizes() -> None:
    assert len(patterns.stream("out")) == len(patterns.stream("err")) == 1 << 20
    assert patterns.fnv1a64(b"") == "cbf29ce484222325"
    assert patterns.fnv1a64(b"a") == "af63dc4c8601ec8c"
