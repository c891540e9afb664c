"""The jobs of a GitHub workflow as the commands they run, for tests that check or run them.

Knows the few expressions that this repository uses: names with dots, ``||``, ``==``, ``!=``, ``&&`` and
``!cancelled()``. Local composite actions are followed; actions of others are steps without a command.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.conftest import REPOSITORY

WORKFLOW = REPOSITORY / ".github" / "workflows" / "conformance.yml"
ACTION = REPOSITORY / ".github" / "actions" / "conformance" / "action.yml"

_EXPRESSION = re.compile(r"\$\{\{\s*(.*?)\s*\}\}")
_LOCAL = "./"

Context = Mapping[str, Any]


@dataclass(frozen=True)
class Step:
    """One step of a job.

    Attributes:
        id: what its outputs are called by; may be empty.
        run: its shell commands; empty for an action.
        uses: the action; empty for commands.
        env: as written, expressions included.
        inputs: what an action is given, as written.
        condition: as written; empty for "when all went well".
        action: directory of the composite action it belongs to; None for the workflow's own.
    """

    id: str
    name: str
    run: str
    uses: str
    env: Mapping[str, str]
    inputs: Mapping[str, str]
    condition: str
    action: Path | None = None


def complaints(schema: str, file: Path) -> str:
    """What the schema that check-jsonschema brings along says about a file; empty when it is in order.

    Args:
        schema: ``github-workflows``, ``github-actions`` or ``gitlab-ci``.
        file: YAML.
    """
    argv = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{schema}", str(file)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def document(file: Path) -> dict[str, Any]:
    """A workflow or action as YAML reads it (``on`` is a truth value there)."""
    read: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
    return read


def jobs() -> dict[str, dict[str, Any]]:
    """The workflow's jobs by id."""
    found: dict[str, dict[str, Any]] = document(WORKFLOW)["jobs"]
    return found


def steps(job: dict[str, Any], repository: Path = REPOSITORY) -> Iterator[tuple[Step, Mapping[str, str] | None]]:
    """The job's steps; those of a local action come with the inputs that it was given, as written."""
    for row in job["steps"]:
        step = _step(row)
        if step.uses.startswith(_LOCAL):
            action = repository / step.uses.removeprefix(_LOCAL)
            yield from (
                (_step(inner, action), step.inputs) for inner in document(action / "action.yml")["runs"]["steps"]
            )
        else:
            yield step, None


def inputs(given: Mapping[str, str], context: Context) -> dict[str, str]:
    """Every input of the action: as given, or its default."""
    declared = document(ACTION)["inputs"]
    assert set(given) <= set(declared)
    return {name: evaluate(given.get(name, row.get("default", "")), context) for name, row in declared.items()}


def evaluate(text: str, context: Context) -> str:
    """``text`` with its expressions replaced by what ``context`` has."""
    return _EXPRESSION.sub(lambda found: _value(found[1], context), str(text))


def applies(step: Step, context: Context, *, failed: bool) -> bool:
    """Whether a step is taken, after one before it has failed or none has."""
    if not step.condition:
        return not failed
    terms = _EXPRESSION.sub(r"\1", step.condition).split("&&")
    assert any(term.strip() in ("!cancelled()", "always()") for term in terms), step.condition
    return all(_holds(term.strip(), context) for term in terms)


def _holds(term: str, context: Context) -> bool:
    if term in ("!cancelled()", "always()"):
        return True
    left, operator, right = re.fullmatch(r"(\S+) (==|!=) (\S+)", term).groups()  # type: ignore[union-attr]
    return (_value(left, context) == _value(right, context)) == (operator == "==")


def _value(expression: str, context: Context) -> str:
    for alternative in expression.split("||"):
        word = alternative.strip()
        if word.startswith("'"):
            return word.strip("'")
        assert re.fullmatch(r"[\w.-]+", word), f"an expression that the tests do not know: {expression}"
        value: Any = context
        for name in word.split("."):
            value = value.get(name, "") if isinstance(value, Mapping) else ""
        if value:
            return str(value)
    return ""


def _step(row: dict[str, Any], action: Path | None = None) -> Step:
    return Step(
        id=row.get("id", ""), name=row.get("name", row.get("uses", "")), run=row.get("run", ""),
        uses=row.get("uses", ""), env=row.get("env", {}), inputs=row.get("with", {}), condition=row.get("if", ""),
        action=action,
    )  # fmt: skip
