"""The material of a suite directory: checks, requirements, paths and expectations.

Everything is read and cross-checked before the first container starts, and without
importing a test: a typo is a usage error with file and line, not a surprise later.
"""

from __future__ import annotations

import ast
import fnmatch
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from conformance import launchers
from conformance.documents import fill, load, nearest
from conformance.errors import UsageError
from conformance.model import WHOLE_PATH, Check, Expectation, Feature, Race, Requirement, RuntimePath

T = TypeVar("T", Requirement, Expectation, Race)


@dataclass(frozen=True)
class Catalogue:
    """A suite directory as read.

    Attributes:
        root: the directory.
        checks: id to check, in the order of files and lines.
    """

    root: Path
    checks: Mapping[str, Check]
    requirements: Mapping[str, Requirement]
    paths: Mapping[str, RuntimePath]
    expectations: tuple[Expectation, ...]
    races: tuple[Race, ...] = ()

    def select_paths(self, patterns: Iterable[str], *, controls: bool = True) -> list[RuntimePath]:
        """Paths that match names or globs, each followed by its control.

        Args:
            patterns: names, globs or ``all``; a path whose runtime has to be brought is chosen by its name alone.
            controls: bring each path's control and the path below it along.

        Raises:
            UsageError: a pattern matches nothing; names the known paths and the nearest.
        """
        chosen: dict[str, RuntimePath] = {}
        for pattern in patterns:
            glob = "*" if pattern == "all" else pattern
            matching = [n for n in fnmatch.filter(self.paths, glob) if n == pattern or not self.paths[n].brought]
            if not matching:
                close = nearest(pattern, self.paths)
                raise UsageError(
                    f"unknown runtime '{pattern}'"
                    + (f"; did you mean '{close}'?" if close else "")
                    + f" (known: {', '.join(self.paths)})"
                )
            chosen.update((n, self.paths[n]) for n in matching)
        waiting = list(chosen.values()) if controls else []
        while waiting:
            path = waiting.pop(0)
            for name in (path.control, path.below):
                if name and name not in chosen:
                    chosen[name] = self.paths[name]
                    waiting.append(self.paths[name])
        return list(chosen.values())


def suite_root(arguments: Iterable[str], invoked_in: Path) -> Path | None:
    """The suite directory that pytest's arguments lie in: the one that holds ``paths/`` and ``requirements/``."""
    for argument in arguments:
        place = (invoked_in / argument.partition("::")[0]).resolve()
        for directory in (place, *place.parents):
            if (directory / "paths").is_dir() and (directory / "requirements").is_dir():
                return directory
    return None


def read(root: Path) -> Catalogue:
    """Read and cross-check a suite directory.

    Raises:
        UsageError: the first mistake found, with file, line and key.
    """
    checks = {c.id: c for file in sorted(root.rglob("test_*.py")) for c in _checks(file, root)}
    requirements = _requirements(root / "requirements", checks.values())
    paths = _paths(root / "paths", requirements)
    expectations = _expectations(root / "expectations", checks, paths)
    return Catalogue(root, checks, requirements, paths, expectations, _races(root / "races", paths))


def _requirements(directory: Path, checks: Iterable[Check]) -> dict[str, Requirement]:
    found: dict[str, Requirement] = {}
    for one in _rows(Requirement, directory):
        if one.id in found:
            first = found[one.id]
            raise UsageError(
                f"{one.file}:{one.line}: requirement '{one.id}' is defined twice (first: {first.file}:{first.line})"
            )
        found[one.id] = one
    used = set()
    for check in checks:
        used.add(check.requirement)
        if check.requirement not in found:
            close = nearest(check.requirement, found)
            raise UsageError(
                f"{check.file}:{check.line}: unknown requirement '{check.requirement}'"
                + (f"; did you mean '{close}'?" if close else "")
            )
    for one in found.values():
        if one.id not in used:
            raise UsageError(f"{one.file}:{one.line}: no check uses requirement '{one.id}'")
    return found


def _paths(directory: Path, requirements: Iterable[str]) -> dict[str, RuntimePath]:
    paths: dict[str, RuntimePath] = {}
    for file in sorted(directory.glob("*.yaml")):
        rows = load(file)
        if len(rows) != 1:
            raise UsageError(f"{file}:1: expected one runtime path, found {len(rows)}")
        path = fill(RuntimePath, rows[0], file)
        lines = rows[0]["__lines__"]
        if path.name != file.stem:
            raise UsageError(f"{file}:{lines['name']}: name '{path.name}' differs from the file's name")
        if path.launcher not in launchers.names():
            raise UsageError(
                f"{file}:{lines['launcher']}: unknown launcher '{path.launcher}'"
                f" (known: {', '.join(launchers.names())})"
            )
        if (path.engine is not None) != (path.guest == "wasm") and "embedded" not in path.features:
            raise UsageError(f"{file}:{path.line}: a wasm path names its engine, a native one has none")
        for key in ("features", "lacks"):
            for name in getattr(path, key):
                if name not in list(Feature):
                    close = nearest(name, list(Feature))
                    raise UsageError(
                        f"{file}:{lines[key]}: unknown feature '{name}'"
                        + (f"; did you mean '{close}'?" if close else "")
                    )
        for pattern in path.glue:
            if not fnmatch.filter(requirements, pattern):
                raise UsageError(f"{file}:{lines['glue']}: no requirement is named '{pattern}'")
        paths[path.name] = path
    for path in paths.values():
        for key in ("control", "below"):
            name = getattr(path, key)
            if name is not None and name not in paths:
                close = nearest(name, paths)
                raise UsageError(
                    f"{path.file}: {key} '{name}' is no known path" + (f"; did you mean '{close}'?" if close else "")
                )
    return paths


def _expectations(
    directory: Path, checks: Mapping[str, Check], paths: Mapping[str, RuntimePath]
) -> tuple[Expectation, ...]:
    rows = []
    for one in _rows(Expectation, directory):
        where = f"{one.file}:{one.line}"
        if one.check != WHOLE_PATH and one.check not in checks:
            close = nearest(one.check, checks)
            raise UsageError(
                f"{where}: no check is named '{one.check}'" + (f"; did you mean '{close}'?" if close else "")
            )
        _check_reach(one, paths)
        if not one.observed:
            raise UsageError(f"{where}: 'observed' pins nothing; any other failure would hide behind it")
        if one.check == WHOLE_PATH and one.observed.get("starts") is not False:
            raise UsageError(
                f"{where}: '*' is for a path on which no guest starts; 'observed' must say 'starts: false'"
            )
        if not one.issue and not one.reproduction:
            raise UsageError(f"{where}: give an 'issue' or a 'reproduction'")
        rows.append(one)
    return tuple(rows)


def _races(directory: Path, paths: Mapping[str, RuntimePath]) -> tuple[Race, ...]:
    rows = _rows(Race, directory)
    for one in rows:
        _check_reach(one, paths)
        if not one.said.strip():
            raise UsageError(f"{one.file}:{one.line}: 'said' is empty; every failure would be this race")
    return tuple(rows)


def _check_reach(one: Expectation | Race, paths: Mapping[str, RuntimePath]) -> None:
    where = f"{one.file}:{one.line}"
    for pattern in one.paths:
        if not fnmatch.filter(paths, pattern):
            close = nearest(pattern, paths)
            raise UsageError(f"{where}: no path is named '{pattern}'" + (f"; did you mean '{close}'?" if close else ""))
    for component, specifier in one.affects.items():
        try:
            SpecifierSet(specifier)
        except InvalidSpecifier as error:
            raise UsageError(f"{where}: affects.{component}: {error}") from error


def _rows(kind: type[T], directory: Path) -> list[T]:
    return [fill(kind, row, file) for file in sorted(directory.glob("*.yaml")) for row in load(file)]


def _checks(file: Path, root: Path) -> list[Check]:
    """The test functions of one file, from its syntax tree."""
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"))
    except SyntaxError as error:
        raise UsageError(f"{file}:{error.lineno}: {error.msg}") from error
    found = []
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            check = Check(
                id=f"{file.relative_to(root).as_posix()}::{node.name}",
                requirement="",
                needs=frozenset(),
                needs_node=(),
                sentence=node.name.removeprefix("test_").replace("_", " "),
                file=file,
                line=node.lineno,
            )
            for decorator in node.decorator_list:
                check = _decorated(check, decorator)
            if not check.requirement:
                raise UsageError(f"{file}:{node.lineno}: {node.name} has no @requirement")
            found.append(check)
    return found


def _decorated(check: Check, decorator: ast.expr) -> Check:
    if not isinstance(decorator, ast.Call) or not isinstance(decorator.func, ast.Name):
        return check
    where = f"{check.file}:{decorator.lineno}"
    name = decorator.func.id
    if name == "requirement":
        return replace(check, requirement=str(_literal(decorator.args[0], where)))
    if name == "needs_node":
        return replace(check, needs_node=tuple(str(_literal(a, where)) for a in decorator.args))
    if name == "needs":
        features = []
        for argument in decorator.args:
            if not isinstance(argument, ast.Attribute) or argument.attr not in Feature.__members__:
                raise UsageError(f"{where}: unknown feature '{ast.unparse(argument)}'")
            features.append(Feature[argument.attr])
        return replace(check, needs=check.needs | frozenset(features))
    return check


def _literal(node: ast.expr, where: str) -> Any:
    if not isinstance(node, ast.Constant):
        raise UsageError(f"{where}: '{ast.unparse(node)}' must be a literal")
    return node.value


def plain_version(text: str) -> str:
    """A Debian or upstream version as one that can be compared: no epoch, revision or suffix.

    >>> plain_version("1:0.14.1+dfsg-2")
    '0.14.1'
    """
    found = re.match(r"(?:\d+:)?(\d+(?:\.\d+)*)", text)
    return found[1] if found else "0"
