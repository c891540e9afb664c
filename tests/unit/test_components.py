"""Component recipes, what the key of a finished one depends on, and where it may come from."""

from __future__ import annotations

import functools
import http.server
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from conformance.build import cache, component, image
from conformance.errors import InfrastructureError, UsageError

RECIPE = """
name: {name}
version: "1"
summary: made up
sources: []
script: touch "$RESULT/file"
result: [file]
about_seconds: 1
disk_mib: 1
"""
Writer = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Writer:
    """Write a recipe into a directory that takes the place of ``vms/components``."""
    directory = tmp_path / "components"
    directory.mkdir()
    monkeypatch.setattr(component, "RECIPES", directory)
    monkeypatch.setenv("CONFORMANCE_CACHE", str(tmp_path / "cache"))

    def write(name: str, *lines: str, text: str = RECIPE) -> Path:
        file = directory / f"{name}.yaml"
        kept = [row for row in text.format(name=name).splitlines() if row.split(":")[0] not in _keys(lines)]
        file.write_text("\n".join([*kept, *lines]) + "\n")
        return file

    return write


def _keys(lines: tuple[str, ...]) -> set[str]:
    return {line.split(":")[0] for line in lines}


def finished(name: str, directory: Path) -> None:
    """A finished component where a build would leave it."""
    place = directory / "tree" / component.PLACE[1:] / name
    place.mkdir(parents=True)
    (place / "file").write_text("content")
    known = {"name": name, "version": "1", "digest": cache.digest_of(place), "seconds": 1.0, "mib": 0.1}
    (directory / "component.json").write_text(json.dumps({**known, "result": ["file"], "contains": {}}))


def key_of(name: str) -> str:
    return component._key(component.recipe(name))  # noqa: SLF001


# ---- recipes


def test_the_recipes_of_this_repository_are_without_mistakes() -> None:
    known = component.recipes()
    assert {"crun-1.21", "libwasmtime", "youki-wasmtime"} <= set(known)
    assert image.recipe(component.BUILDER).backports


def test_what_a_component_needs_comes_before_it() -> None:
    assert component.with_needs(["crun-1.21-wamr", "no component", "libiwasm"]) == ["libiwasm", "crun-1.21-wamr"]


def test_a_recipe_like_another_takes_what_it_does_not_say(write: Writer) -> None:
    write("first", "version: '2'")
    write("second", "like: first", "about_seconds: 7", text="name: {name}")
    second = component.recipe("second")
    assert (second.version, second.about_seconds, second.result) == ("2", 7, ("file",))


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("scirpt: true", "unknown key 'scirpt'; did you mean 'script'?"),
        ("disk_mib: plenty", "'disk_mib' must be int, not str ('plenty')"),
        ("name: other", "name 'other' differs from the file's name"),
        ("needs: [nothing]", "it needs 'nothing', which is no component"),
        ("patches: [none.patch]", "there is no patch 'none.patch' in "),
        ("like: nothing", "it is like 'nothing', which is no component"),
        ("sources: [{kind: crate, name: a, version: '1', sha256: abc}]", "sha256 of a must be 64 hexadecimal digits"),
        ("sources: [{kind: tarball, name: a, version: '1', sha256: abc}]", "'kind' is 'tarball'; allowed: "),
    ],
)
def test_a_mistake_in_a_recipe_is_one_line_with_file_and_line(write: Writer, line: str, says: str) -> None:
    file = write("made-up", line)
    with pytest.raises(UsageError) as caught:
        component.recipes()
    assert str(caught.value).startswith(f"{file}:")
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_component_that_is_not_known_is_told_with_the_nearest(write: Writer) -> None:
    write("made-up")
    with pytest.raises(UsageError, match="no component is called 'made-pu'; did you mean 'made-up'?"):
        component.recipe("made-pu")


def test_a_source_with_another_digest_is_refused_and_not_kept(
    write: Writer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    wanted = "0" * 64
    file = write("made-up", f"sources: [{{kind: crate, name: it, version: '1', sha256: '{wanted}'}}]")

    def arrives(source: component.Source, wanted: object, compilers: object, directory: Path) -> Path:
        place = directory / "it.crate"
        place.write_bytes(b"something else")
        return place

    monkeypatch.setattr(component, "_from_registry", arrives)
    monkeypatch.setattr(component, "image", lambda *_: image.Image(tmp_path, "", {}))
    with pytest.raises(UsageError) as caught:
        component.component("made-up")
    assert str(caught.value).startswith(f"{file}:2: it 1 has sha256 ")
    assert f"the recipe says {wanted}" in str(caught.value)
    assert not (cache.root() / "sources" / wanted[:16]).exists()
    assert component.cached("made-up") is None


# ---- the key


def test_the_key_follows_what_the_result_depends_on(write: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    patches = write("needed").parent / "patches"
    patches.mkdir()
    (patches / "a.patch").write_text("one")
    write("made-up", "needs: [needed]", "patches: [a.patch]")
    keys = [key_of("made-up")]

    (patches / "a.patch").write_text("two")
    keys.append(key_of("made-up"))
    write("made-up", "needs: [needed]", "patches: [a.patch]", "script: touch $RESULT/file $RESULT/more")
    keys.append(key_of("made-up"))
    write("needed", "version: '2'")
    keys.append(key_of("made-up"))
    monkeypatch.setattr(component, "recipe_digest", lambda _: "another builder")
    keys.append(key_of("made-up"))

    assert len(set(keys)) == len(keys)


def test_the_key_follows_a_crate_of_ours_and_its_lock_must_be_there(write: Writer) -> None:
    crate = write("made-up").parent / "crate"
    without = key_of("made-up")
    write("made-up", "directory: crate")
    with pytest.raises(UsageError, match=r"there is no .*/crate/Cargo\.lock"):
        key_of("made-up")
    crate.mkdir()
    (crate / "Cargo.lock").write_text("one")
    one = key_of("made-up")
    (crate / "Cargo.lock").write_text("two")

    assert len({without, one, key_of("made-up")}) == 3


def test_the_key_does_not_follow_what_is_only_told(write: Writer) -> None:
    write("made-up")
    before = key_of("made-up")
    write("made-up", "summary: other words", "about_seconds: 99", "disk_mib: 5")
    assert key_of("made-up") == before


# ---- where a finished one comes from


@pytest.fixture
def team(write: Writer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache in which 'made-up' is finished; building it again is out of the question."""
    write("made-up")
    place = tmp_path / "team"
    monkeypatch.setenv("CONFORMANCE_CACHE", str(place))
    cache.entry("components", key_of("made-up"), functools.partial(finished, "made-up"))
    monkeypatch.setenv("CONFORMANCE_CACHE", str(tmp_path / "cache"))

    def build(*_: object) -> None:
        raise InfrastructureError("it would have been built")

    monkeypatch.setattr(component, "_make", build)
    return place


def test_it_is_copied_from_a_cache_directory(team: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(component.CACHE_FROM, f"/nowhere {team}")
    built = component.component("made-up")
    assert (built.place / "file").read_text() == "content"
    assert str(built.tree).startswith(str(cache.root()))
    assert component.cached("made-up") == built


def test_it_is_unpacked_from_a_packed_directory(team: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CONFORMANCE_CACHE", str(team))
    packed = component.pack("made-up", tmp_path / "packed")
    assert packed.name == f"{key_of('made-up')[:16]}.tar"
    monkeypatch.setenv("CONFORMANCE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv(component.CACHE_FROM, str(tmp_path / "packed"))
    assert (component.component("made-up").place / "file").read_text() == "content"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """A web server for what is below ``packed``."""
    (tmp_path / "packed").mkdir()
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path / "packed"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{serving.server_port}"
        serving.shutdown()


def test_it_is_read_through_a_url_and_built_where_that_has_none(
    team: Path, server: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(component.CACHE_FROM, server)
    with pytest.raises(InfrastructureError, match="it would have been built"):
        component.component("made-up")
    monkeypatch.setenv("CONFORMANCE_CACHE", str(team))
    component.pack("made-up", tmp_path / "packed")
    monkeypatch.setenv("CONFORMANCE_CACHE", str(tmp_path / "cache"))
    assert (component.component("made-up").place / "file").read_text() == "content"


def test_one_that_is_not_what_it_says_is_refused(team: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(component.CACHE_FROM, str(team))
    (team / "components" / key_of("made-up")[:16] / "tree" / component.PLACE[1:] / "made-up" / "file").write_text(
        "evil"
    )
    with pytest.raises(InfrastructureError, match="its digest differs"):
        component.component("made-up")
    assert component.cached("made-up") is None


def test_a_damaged_one_is_told_and_built_anew(team: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    packed = tmp_path / "packed" / "components" / f"{key_of('made-up')[:16]}.tar"
    packed.parent.mkdir(parents=True)
    packed.write_bytes(b"no tar")
    monkeypatch.setenv(component.CACHE_FROM, str(tmp_path / "packed"))
    told: list[str] = []
    with pytest.raises(InfrastructureError, match="it would have been built"):
        component.component("made-up", told.append)
    assert told[0].startswith(f"{tmp_path}/packed cannot be read: ")
