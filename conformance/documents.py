"""Reading YAML documents so that a mistake is reported with file, line and key."""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from conformance.errors import UsageError

T = typing.TypeVar("T")


def nearest(word: str, known: typing.Iterable[str]) -> str:
    """The known word most like ``word``, or an empty string."""
    matches = difflib.get_close_matches(word, sorted(known), n=1, cutoff=0.5)
    return matches[0] if matches else ""


def load(path: Path) -> list[dict[str, Any]]:
    """Read a YAML file holding one mapping or a list of mappings.

    Each mapping gets the key ``__line__`` with the line it starts on.

    Raises:
        UsageError: not readable, not YAML, a key written twice, or another shape.
    """
    try:
        text = path.read_text(encoding="utf-8")
        documents = yaml.load(text, Loader=_LineLoader)  # noqa: S506 - derives from SafeLoader
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read: {error}") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        raise UsageError(f"{path}:{line}: not valid YAML: {getattr(error, 'problem', error)}") from error
    if documents is None:
        return []
    rows = documents if isinstance(documents, list) else [documents]
    for row in rows:
        if not isinstance(row, dict):
            raise UsageError(f"{path}:1: expected a mapping or a list of mappings, found {type(row).__name__}")
    return rows


def fill(kind: type[T], row: dict[str, Any], path: Path) -> T:
    """Make a dataclass of a mapping read by :func:`load`, checking every key and type.

    Args:
        kind: a dataclass; its fields are the keys allowed (``line`` and ``file`` are ours).
        row: the mapping.
        path: the file it came from, for the message.

    Raises:
        UsageError: unknown or missing key, or a value of another type.
    """
    line = row.get("__line__", 1)
    fields = {f.name: f for f in dataclasses.fields(kind) if f.name not in ("file", "line")}  # type: ignore[arg-type]
    hints = typing.get_type_hints(kind)
    values: dict[str, Any] = {}
    for key, value in row.items():
        if key == "__line__":
            continue
        where = f"{path}:{row.get('__lines__', {}).get(str(key), line)}"
        if key == "__lines__":
            continue
        if key not in fields:
            close = nearest(str(key), fields)
            known = f"did you mean '{close}'?" if close else f"known keys: {', '.join(fields)}"
            raise UsageError(f"{where}: unknown key '{key}'; {known}")
        values[key] = _checked(value, hints[key], where, key)
    for name, field in fields.items():
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if required and name not in values:
            raise UsageError(f"{path}:{line}: key '{name}' is missing")
    return kind(**values, **{k: v for k, v in (("file", path), ("line", line)) if k in hints})


def _checked(value: Any, hint: Any, where: str, key: str) -> Any:
    """``value`` as the annotated type, or a UsageError that names the key."""
    origin = typing.get_origin(hint)
    arguments = typing.get_args(hint)
    if hint is Any:
        return _without_lines(value)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        choices = [a for a in arguments if a is not type(None)]
        return _checked(value, choices[0], where, key)
    if origin is tuple:
        if not isinstance(value, list):
            raise UsageError(f"{where}: '{key}' must be a list")
        return tuple(_checked(item, arguments[0], where, key) for item in value)
    if origin is dict:
        if not isinstance(value, dict):
            raise UsageError(f"{where}: '{key}' must be a mapping")
        return {
            k: _checked(v, arguments[1], where, f"{key}.{k}") for k, v in value.items() if not str(k).startswith("__")
        }
    if origin is typing.Literal:
        if value not in arguments:
            raise UsageError(f"{where}: '{key}' is '{value}'; allowed: {', '.join(map(str, arguments))}")
        return value
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, dict):
            raise UsageError(f"{where}: '{key}' must be a mapping")
        return fill(typing.cast(type, hint), value, Path(where.rsplit(":", 1)[0]))
    if hint is str and isinstance(value, (int, float)) and not isinstance(value, bool):
        raise UsageError(f"{where}: '{key}' must be text; put {value} in quotes")
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        raise UsageError(f"{where}: '{key}' must be {hint.__name__}, not {type(value).__name__} ({value!r})")
    return value


def _without_lines(value: Any) -> Any:
    """A value as it was written, without what :func:`load` remembers of it."""
    if isinstance(value, dict):
        return {k: _without_lines(v) for k, v in value.items() if k not in ("__line__", "__lines__")}
    return [_without_lines(item) for item in value] if isinstance(value, list) else value


class _LineLoader(yaml.SafeLoader):
    """A SafeLoader that remembers lines and refuses a key written twice."""


def _mapping(loader: _LineLoader, node: yaml.MappingNode) -> Iterator[dict[Any, Any]]:
    row: dict[Any, Any] = {}
    yield row
    lines: dict[str, int] = {}
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node, deep=True)
        if key in row:
            raise yaml.constructor.ConstructorError(None, None, f"key '{key}' is written twice", key_node.start_mark)
        row[key] = loader.construct_object(value_node, deep=True)
        lines[str(key)] = key_node.start_mark.line + 1
    row["__line__"] = node.start_mark.line + 1
    row["__lines__"] = lines


_LineLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)
