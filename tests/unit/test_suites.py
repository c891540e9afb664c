"""Rules that every check keeps, read from the syntax tree."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

SUITES = REPOSITORY / "suites"
FILES = sorted(SUITES.rglob("test_*.py"))
#: Calls whose result is a guest's run.
RUNS = {"run", "run_spec", "run_user_workload", "finish"}
FORBIDDEN_MODULES = {"subprocess", "time", "os", "threading", "socket", "multiprocessing", "requests", "random"}
FORBIDDEN_PYTEST = {"fail", "skip", "xfail", "raises", "importorskip", "exit", "mark"}
TESTS = [
    pytest.param(node, id=f"{file.relative_to(SUITES)}::{node.name}")
    for file in FILES
    for node in ast.parse(file.read_text()).body
    if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
]
each_check = pytest.mark.parametrize("check", TESTS)
each_file = pytest.mark.parametrize("file", [pytest.param(f, id=str(f.relative_to(SUITES))) for f in FILES])


def run_calls(tree: ast.AST) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in RUNS:
            owner = node.func.value
            if isinstance(owner, ast.Name) and owner.id == "path":
                yield node


def names_in(tree: ast.AST, kind: type[ast.expr_context] = ast.Load) -> set[str]:
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, kind)}


def proves(node: ast.AST) -> bool:
    return any(isinstance(n, ast.Attribute) and n.attr in ("proven", "guest_started") for n in ast.walk(node))


def unproven_runs(check: ast.FunctionDef) -> list[str]:
    """Runs of a guest whose result no assertion asks for its proof."""
    asserted: set[str] = set()
    proving = [n for n in ast.walk(check) if isinstance(n, ast.Assert) and proves(n)]
    for one in proving:
        asserted |= names_in(one)
    # a comprehension or loop in between passes the question on to what it goes through
    for _ in range(3):
        for node in ast.walk(check):
            if isinstance(node, (ast.For, ast.comprehension)) and names_in(node.target, ast.Store) & asserted:
                asserted |= names_in(node.iter)
            elif isinstance(node, ast.Assign) and any(names_in(t, ast.Store) & asserted for t in node.targets):
                asserted |= names_in(node.value)
    bound = {
        id(call): {name for target in node.targets for name in names_in(target, ast.Store)}
        for node in ast.walk(check) if isinstance(node, ast.Assign) for call in run_calls(node)
    }  # fmt: skip
    inside = {id(call) for one in proving for call in run_calls(one)}
    return [
        f"line {call.lineno}: {ast.unparse(call)[:60]}"
        for call in run_calls(check)
        if id(call) not in inside and not bound.get(id(call), set()) & asserted
    ]


def test_there_are_checks() -> None:
    assert len(TESTS) > 10


@each_check
def test_each_check_is_bound_to_a_requirement(check: ast.FunctionDef) -> None:
    names = [d.func.id for d in check.decorator_list if isinstance(d, ast.Call) and isinstance(d.func, ast.Name)]
    assert names.count("requirement") == 1


@each_check
def test_each_guest_that_is_run_is_asked_for_its_proof(check: ast.FunctionDef) -> None:
    assert unproven_runs(check) == []


@each_check
def test_each_check_asserts_something(check: ast.FunctionDef) -> None:
    assert any(isinstance(node, ast.Assert) for node in ast.walk(check))


@each_check
def test_no_check_ends_early_or_hides_an_error(check: ast.FunctionDef) -> None:
    wrong = (ast.Return, ast.Try, ast.Raise, ast.Yield, ast.While, ast.AsyncFor, ast.Await)
    found = [f"line {n.lineno}: {type(n).__name__}" for n in ast.walk(check) if isinstance(n, wrong)]
    assert found == []


@each_check
def test_no_check_knows_which_path_it_is_on(check: ast.FunctionDef) -> None:
    branches = [n for n in ast.walk(check) if isinstance(n, (ast.If, ast.IfExp))]
    found = [
        f"line {n.lineno}" for n in branches if "path.name" in ast.unparse(n.test) or "path._" in ast.unparse(n.test)
    ]
    assert found == []


@each_file
def test_no_suite_starts_processes_sleeps_or_decides_its_own_outcome(file: Path) -> None:
    found = []
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name.split(".")[0] in FORBIDDEN_MODULES | {"pytest"}]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in FORBIDDEN_MODULES:
            found.append(str(node.module))
        elif isinstance(node, ast.ImportFrom) and node.module == "pytest":
            found += [alias.name for alias in node.names if alias.name in FORBIDDEN_PYTEST]
        elif isinstance(node, ast.ClassDef):
            found.append(f"class {node.name}: the catalogue reads functions only")
    assert found == []


# ---- the rules themselves find what they are for


@pytest.mark.parametrize(
    ("body", "count"),
    [
        ("result = path.run('a')\n assert result.proven", 0),
        ("result = path.run('a')\n assert not result.guest_started", 0),
        ("assert path.run('a').proven", 0),
        ("results = [path.run(n) for n in 'ab']\n assert all(r.proven for r in results)", 0),
        ("result = path.run('a')\n assert result.exit_code == 0", 1),
        ("one = path.run('a')\n two = path.run('b')\n assert one.proven", 1),
        ("path.run('a')\n assert True", 1),
        ("container = path.create('a')\n result = path.finish(container)\n assert result.exit_code == 0", 1),
    ],
)
def test_a_run_without_proof_is_seen(body: str, count: int) -> None:
    function = ast.parse(f"def test_x(path):\n {body}\n").body[0]
    assert isinstance(function, ast.FunctionDef)
    assert len(unproven_runs(function)) == count
