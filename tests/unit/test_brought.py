"""``--component NAME=WHAT``: what is taken, and what a mistake reads like."""

from __future__ import annotations

import io
import subprocess
import tarfile
from pathlib import Path

import pytest

from conformance import brought, catalogue
from conformance.errors import UsageError
from conformance.run import Run

ELF = b"\x7fELF\x02\x01\x01" + bytes(57)
PATHS = catalogue.read(Path(__file__).parents[2] / "suites").paths
CHOSEN = [PATHS[name] for name in ("crun-wasmedge", "crun-native")]


def program(place: Path, name: str = "crun") -> Path:
    place.mkdir(parents=True, exist_ok=True)
    file = place / name
    file.write_text("#!/bin/sh\n")
    file.chmod(0o755)
    return file


def names(one: brought.Brought) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(one.tar())) as tar:
        return sorted(tar.getnames())


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ("crun", "--component=crun: expected NAME=FILE, NAME=DIRECTORY, NAME=PACKAGE.deb or NAME=COMPONENT"),
        ("youki=x", "no chosen path runs or loads 'youki' (they run: crun; they load: libwasmedge)"),
        ("crun=./none", "./none is not a file or directory"),
        ("crun=crun-0.1", "crun-0.1 is not a file or directory, nor a component (known: "),
    ],
)
def test_a_mistake_is_one_line(option: str, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        brought.read([option], CHOSEN)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_name_given_twice_is_refused(tmp_path: Path) -> None:
    file = program(tmp_path)
    with pytest.raises(UsageError, match="crun is given twice"):
        brought.read([f"crun={file}", f"crun={file}"], CHOSEN)


def test_a_file_is_a_program_under_the_runtime_s_own_name(tmp_path: Path) -> None:
    one = brought.read([f"crun={program(tmp_path, 'crun-vendor')}"], CHOSEN)["crun"]
    assert names(one) == ["bin/crun"]
    assert all(one.concerns(path) for path in CHOSEN)


def test_a_library_gets_the_name_that_the_runtime_looks_for(tmp_path: Path) -> None:
    library = tmp_path / "my-engine.so"
    library.write_bytes(ELF)
    one = brought.read([f"libwasmedge={library}"], CHOSEN)["libwasmedge"]
    assert names(one) == ["lib/libwasmedge.so.0"]
    assert [path.name for path in CHOSEN if one.concerns(path)] == ["crun-wasmedge"]


def test_a_library_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.so").write_text("text")
    with pytest.raises(UsageError, match="is no shared library"):
        brought.read([f"libwasmedge={tmp_path}/text.so"], CHOSEN)


def test_a_directory_brings_the_program_and_the_libraries_beside_it(tmp_path: Path) -> None:
    program(tmp_path / "bin")
    program(tmp_path / "bin", "other")
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "libit.so.1.2").write_bytes(ELF)
    (tmp_path / "lib" / "libit.so.1").symlink_to("libit.so.1.2")
    one = brought.read([f"crun={tmp_path}"], CHOSEN)["crun"]
    assert names(one) == ["bin/crun", "lib/libit.so.1", "lib/libit.so.1.2"]
    with tarfile.open(fileobj=io.BytesIO(one.tar())) as tar:
        assert tar.getmember("lib/libit.so.1").issym()


def test_a_directory_without_it_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no program 'crun' .looked into its top, bin, sbin"):
        brought.read([f"crun={tmp_path}"], CHOSEN)
    with pytest.raises(UsageError, match=r"holds no libwasmedge.so.0 .looked into its top, lib"):
        brought.read([f"libwasmedge={tmp_path}"], CHOSEN)


def test_a_debian_package_is_unpacked_and_says_its_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONFORMANCE_CACHE", str(tmp_path / "cache"))
    tree = tmp_path / "tree"
    library = tree / "usr/lib/x86_64-linux-gnu"
    library.mkdir(parents=True)
    (library / "libwasmedge.so.0.2").write_bytes(ELF)
    (library / "libwasmedge.so.0").symlink_to("libwasmedge.so.0.2")
    (tree / "DEBIAN").mkdir()
    (tree / "DEBIAN/control").write_text(
        "Package: it\nVersion: 0.15.0-1\nArchitecture: amd64\nMaintainer: n <n@example.org>\nDescription: it\n"
    )
    subprocess.run(["dpkg-deb", "-b", str(tree), str(tmp_path / "it.deb")], check=True, capture_output=True)
    one = brought.read([f"libwasmedge={tmp_path}/it.deb"], CHOSEN)["libwasmedge"]
    assert one.version == "0.15.0-1"
    assert names(one) == ["lib/libwasmedge.so.0", "lib/libwasmedge.so.0.2"]


def test_a_file_that_is_no_package_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONFORMANCE_CACHE", str(tmp_path / "cache"))
    (tmp_path / "it.deb").write_text("text")
    with pytest.raises(UsageError, match="is no Debian package"):
        brought.read([f"crun={tmp_path}/it.deb"], CHOSEN)


def test_other_content_is_another_place_on_the_node(tmp_path: Path) -> None:
    file = program(tmp_path)
    first = brought.read([f"crun={file}"], CHOSEN)["crun"].place
    file.write_text("#!/bin/sh\nexit 1\n")
    assert brought.read([f"crun={file}"], CHOSEN)["crun"].place != first


@pytest.mark.parametrize(
    ("path", "name", "still"),
    [("crio-crun-native", "crio", {"crio", "cri-tools"}), ("youki-wasmtime", "youki", set())],
)
def test_a_component_is_left_out_when_each_of_its_programs_is_brought(
    tmp_path: Path, path: str, name: str, still: set[str]
) -> None:
    chosen = [PATHS[path]]
    read = brought.read([f"{name}={program(tmp_path, name)}"], chosen)
    run = Run(catalogue.read(Path(__file__).parents[2] / "suites"), tmp_path, chosen, read, (), "sandbox", False, False)
    assert set(run.needed()) == still
