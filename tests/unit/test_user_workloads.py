"""A user's own modules and what their sidecars say."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from conformance.errors import UsageError
from conformance.user_workloads import packed, read

MODULE = b"\0asm\1\0\0\0"


@pytest.fixture
def modules(tmp_path: Path) -> Path:
    directory = tmp_path / "modules"
    (directory / "deep").mkdir(parents=True)
    (directory / "plain.wasm").write_bytes(MODULE)
    return directory


def test_a_module_without_a_sidecar_must_exit_with_0(modules: Path) -> None:
    (workload,) = read(modules)
    assert (workload.name, workload.exit_code, workload.args, workload.stdout) == ("plain", 0, (), None)
    assert workload.rests_on_exit_code


def test_a_sidecar_in_yaml_or_in_wasi_testsuite_s_json_is_read(modules: Path) -> None:
    (modules / "plain.yaml").write_text("args: [a b]\nenv: {K: v}\nstdin: hello\nstdout: 'HELLO'\nexit_code: 3\n")
    (modules / "deep/other.wasm").write_bytes(MODULE)
    (modules / "deep/other.json").write_text('{"root": "tree", "stderr": ""}')
    (modules / "deep/tree").mkdir()
    other, plain = read(modules)
    assert (other.name, other.root, other.stderr) == ("deep/other", modules / "deep/tree", "")
    assert (plain.args, plain.env, plain.stdin, plain.stdout, plain.exit_code) == (
        ("a b",),
        {"K": "v"},
        "hello",
        "HELLO",
        3,
    )
    assert not other.rests_on_exit_code
    assert not plain.rests_on_exit_code


@pytest.mark.parametrize(
    ("sidecar", "says"),
    [
        ("args: [a]\nexit_cod: 3\n", "plain.yaml:2: unknown key 'exit_cod'; did you mean 'exit_code'?"),
        ("exit_code: three\n", "plain.yaml:1: 'exit_code' must be int"),
        ("args: [1]\n", "plain.yaml:1: 'args' must be text; put 1 in quotes"),
        ("stdin: x\nroot: nowhere\n", "plain.yaml:2: root 'nowhere' is not a directory"),
    ],
)
def test_a_mistake_in_a_sidecar_names_file_line_and_key(modules: Path, sidecar: str, says: str) -> None:
    (modules / "plain.yaml").write_text(sidecar)
    with pytest.raises(UsageError) as caught:
        read(modules)
    assert says in str(caught.value)


def test_a_directory_without_modules_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"holds no \*\.wasm"):
        read(tmp_path)
    with pytest.raises(UsageError, match="is not a directory"):
        read(tmp_path / "nowhere")


def test_a_file_that_is_no_module_is_named(modules: Path) -> None:
    (modules / "text.wasm").write_text("(module)")
    with pytest.raises(UsageError, match=r"text\.wasm is no WebAssembly module"):
        read(modules)


def test_the_tree_holds_module_root_and_mount_points_and_its_digest_is_its_content(modules: Path) -> None:
    (modules / "plain.yaml").write_text("root: tree\n")
    (modules / "tree").mkdir()
    (modules / "tree/data.txt").write_text("data")
    (modules / "tree/data.txt").chmod(0o600)
    digest, tar = packed(read(modules)[0])
    with tarfile.open(fileobj=tar) as archive:
        names = {entry.name.removeprefix("./"): entry for entry in archive.getmembers()}
        assert {"dev", "proc", "sys", "tmp", "data.txt", "plain.wasm"} <= set(names)
        assert names["data.txt"].mode & 0o044
        assert {(entry.uid, entry.gid, entry.mtime) for entry in names.values()} == {(0, 0, 0)}
    assert packed(read(modules)[0])[0] == digest
    (modules / "tree/data.txt").write_text("date")
    assert packed(read(modules)[0])[0] != digest
