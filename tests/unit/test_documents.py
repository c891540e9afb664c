"""A mistake in a YAML file is told with file, line and key."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from conformance.documents import fill, load, nearest
from conformance.errors import UsageError


@dataclass(frozen=True)
class Inner:
    name: str


@dataclass(frozen=True)
class Thing:
    name: str
    level: Literal["MUST", "MAY"] = "MUST"
    words: tuple[str, ...] = ()
    pairs: dict[str, str] = field(default_factory=dict)
    count: int = 0
    wanted: bool = False
    maybe: str | None = None
    inner: Inner | None = None
    file: Path = Path()
    line: int = 0


def written(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "thing.yaml"
    file.write_text(text)
    return file


def filled(tmp_path: Path, text: str) -> Thing:
    file = written(tmp_path, text)
    return fill(Thing, load(file)[0], file)


def test_every_kind_of_value_arrives(tmp_path: Path) -> None:
    thing = filled(
        tmp_path, "\nname: a\nlevel: MAY\nwords: [x, y]\npairs: {k: v}\ncount: 3\nwanted: true\ninner: {name: b}\n"
    )
    assert (thing.name, thing.level, thing.words, thing.pairs) == ("a", "MAY", ("x", "y"), {"k": "v"})
    assert (thing.count, thing.wanted, thing.maybe, thing.inner) == (3, True, None, Inner("b"))
    assert (thing.file, thing.line) == (tmp_path / "thing.yaml", 2)


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("name: a\n\nlevl: MAY\n", 3, "unknown key 'levl'; did you mean 'level'?"),
        ("name: a\nzzzzzz: 1\n", 2, "unknown key 'zzzzzz'; known keys: name, level"),
        ("level: MAY\n", 1, "key 'name' is missing"),
        ("name: a\nlevel: OUGHT\n", 2, "'level' is 'OUGHT'; allowed: MUST, MAY"),
        ("name: a\nwords: x\n", 2, "'words' must be a list"),
        ("name: a\npairs: [x]\n", 2, "'pairs' must be a mapping"),
        ("name: a\npairs:\n  k: 1\n", 2, "'pairs.k' must be text; put 1 in quotes"),
        ("name: 1.30\n", 1, "'name' must be text; put 1.3 in quotes"),
        ("name: a\ncount: many\n", 2, "'count' must be int, not str ('many')"),
        ("name: a\ncount: true\n", 2, "'count' must be int, not bool (True)"),
        ("name: a\nwanted: 1\n", 2, "'wanted' must be bool, not int (1)"),
        ("name: a\ninner:\n  nam: b\n", 3, "unknown key 'nam'; did you mean 'name'?"),
        ("name: a\nname: b\n", 2, "key 'name' is written twice"),
        ("name: [a\nlevel: MAY\n", 2, "not valid YAML"),
        ("just text\n", 1, "expected a mapping or a list of mappings, found str"),
        ("- name: a\n- 5\n", 1, "expected a mapping or a list of mappings, found int"),
        ("name: a\n42: b\n", 2, "unknown key '42'"),
    ],
)
def test_a_mistake_names_file_line_and_key(tmp_path: Path, text: str, line: int, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        filled(tmp_path, text)
    assert str(caught.value).startswith(f"{tmp_path / 'thing.yaml'}:{line}: ")
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_text_or_not_there_is_named(tmp_path: Path) -> None:
    file = tmp_path / "thing.yaml"
    with pytest.raises(UsageError, match="cannot be read"):
        load(file)
    file.write_bytes(b"name: \xff\xfe\n")
    with pytest.raises(UsageError, match="cannot be read"):
        load(file)


def test_an_empty_file_is_an_empty_list(tmp_path: Path) -> None:
    assert load(written(tmp_path, "# nothing\n")) == []


def test_yaml_cannot_start_anything(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not valid YAML"):
        load(written(tmp_path, "name: !!python/object/apply:os.system [id]\n"))


def test_the_nearest_word_is_near() -> None:
    assert nearest("crun-wasmegde", ["crun-native", "crun-wasmedge"]) == "crun-wasmedge"
    assert nearest("xyz", ["crun-native"]) == ""
