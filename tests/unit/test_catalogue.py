"""A suite directory is cross-checked before the first container, without importing a check."""

from __future__ import annotations

import re

import pytest

from conformance import catalogue
from conformance.errors import UsageError
from conformance.model import Feature
from tests.conftest import REPOSITORY, Suite

EXPECTATION = """\
- check: {check}
  paths: [{path}]
  observed: {observed}
  affects: {{crun: "{affects}"}}
  reason: known
  reviewed: "2026-01-01"
  reproduction: "true"
"""
DEFAULTS = {
    "check": "test_it.py::test_a_thing",
    "path": "crun-wasmedge",
    "observed": "{exit_code: 0}",
    "affects": "==1.21",
}
ONE_CHECK = "def test_a_thing(path):\n    assert path\n"


def mistake(suite: Suite) -> str:
    with pytest.raises(UsageError) as caught:
        catalogue.read(suite.root)
    assert "\n" not in str(caught.value)
    return str(caught.value).replace(f"{suite.root}/", "")


def test_this_repository_s_own_suite_is_in_order() -> None:
    read = catalogue.read(REPOSITORY / "suites")
    assert len(read.checks) > 10
    assert {"crun-wasmedge", "crun-native", "runc-native"} <= set(read.paths)


def test_a_check_is_found_with_everything_it_says_about_itself(suite: Suite) -> None:
    suite.rule("A-RULE").checks("""
        @requirement("A-RULE")
        @needs(Feature.HOOKS, Feature.WASM)
        @needs_node("cgroup:memory")
        def test_a_thing_holds(path):
            assert path
    """)
    (check,) = catalogue.read(suite.root).checks.values()
    assert check.id == "test_it.py::test_a_thing_holds"
    assert check.sentence == "a thing holds"
    assert check.requirement == "A-RULE"
    assert check.needs == {Feature.HOOKS, Feature.WASM}
    assert check.needs_node == ("cgroup:memory",)


def test_a_suite_is_never_imported(suite: Suite) -> None:
    suite.checks(ONE_CHECK).write("test_bomb.py", "raise SystemExit('imported')\n")
    assert list(catalogue.read(suite.root).checks) == ["test_it.py::test_a_thing"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("def test_x(path):\n    assert path\n", "test_x has no @requirement"),
        (
            '@requirement("TEST-RULES")\ndef test_x(path):\n    assert path\n',
            "unknown requirement 'TEST-RULES'; did you mean 'TEST-RULE'?",
        ),
        ("@requirement(RULE)\ndef test_x(path):\n    assert path\n", "'RULE' must be a literal"),
        (
            '@requirement("TEST-RULE")\n@needs(Feature.HOKS)\ndef test_x(path):\n    assert path\n',
            "unknown feature 'Feature.HOKS'",
        ),
        ("def test_x(path:\n", "'(' was never closed"),
    ],
)
def test_a_mistake_in_a_check_names_file_and_line(suite: Suite, text: str, says: str) -> None:
    suite.checks(ONE_CHECK).write("area/test_wrong.py", text)
    assert re.match(rf"area/test_wrong\.py:\d: {re.escape(says)}", mistake(suite))


def test_a_requirement_is_defined_once(suite: Suite) -> None:
    suite.checks(ONE_CHECK)
    text = (suite.root / "requirements/tests.yaml").read_text()
    suite.write("requirements/twice.yaml", "\n# again\n" + text)
    assert (
        mistake(suite)
        == "requirements/twice.yaml:2: requirement 'TEST-RULE' is defined twice (first: requirements/tests.yaml:1)"
    )


def test_a_requirement_without_a_check_is_a_mistake(suite: Suite) -> None:
    suite.checks(ONE_CHECK).rule("UNUSED")
    assert mistake(suite) == "requirements/tests.yaml:8: no check uses requirement 'UNUSED'"


def test_a_typo_in_a_requirement_names_the_key(suite: Suite) -> None:
    suite.checks(ONE_CHECK)
    file = suite.root / "requirements/tests.yaml"
    file.write_text(file.read_text().replace("level:", "levle:"))
    assert mistake(suite) == "requirements/tests.yaml:3: unknown key 'levle'; did you mean 'level'?"


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("guest: wasm", "gest: wasm", "paths/crun-wasmedge.yaml:6: unknown key 'gest'; did you mean 'guest'?"),
        ("guest: wasm", "guest: wsm", "paths/crun-wasmedge.yaml:6: 'guest' is 'wsm'; allowed: wasm, native"),
        ("name: crun-wasmedge", "name: other", "paths/crun-wasmedge.yaml:1: name 'other' differs from the file's name"),
        (
            "launcher: oci",
            "launcher: ocy",
            "crun-wasmedge.yaml:4: unknown launcher 'ocy' (known: crictl, ctr, docker, oci, podman)",
        ),
        ("features: [crun, listener]", "features: [crum]", "unknown feature 'crum'; did you mean 'crun'?"),
        (
            "control: crun-native",
            "control: crun-natve",
            "control 'crun-natve' is no known path; did you mean 'crun-native'?",
        ),
        (
            "guest: wasm",
            "guest: native",
            "paths/crun-wasmedge.yaml:1: a wasm path names its engine, a native one has none",
        ),
        ("library: libwasmedge.so.0", "libary: libwasmedge.so.0", "unknown key 'libary'; did you mean 'library'?"),
    ],
)
def test_a_typo_in_a_path_names_file_line_and_key(suite: Suite, old: str, new: str, says: str) -> None:
    suite.checks(ONE_CHECK)
    file = suite.root / "paths/crun-wasmedge.yaml"
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))
    assert says in mistake(suite)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            {"check": "test_it.py::test_a_thin"},
            "1: no check is named 'test_it.py::test_a_thin'; did you mean 'test_it.py::test_a_thing'?",
        ),
        ({"path": "crun-wasmegde"}, "1: no path is named 'crun-wasmegde'; did you mean 'crun-wasmedge'?"),
        ({"path": "youki-*"}, "1: no path is named 'youki-*'"),
        ({"observed": "{}"}, "1: 'observed' pins nothing"),
        ({"check": '"*"'}, "1: '*' is for a path on which no guest starts; 'observed' must say 'starts: false'"),
        ({"affects": "=1.21"}, "1: affects.crun: Invalid specifier"),
    ],
)
def test_an_expectation_that_cannot_apply_is_a_mistake(suite: Suite, change: dict[str, str], says: str) -> None:
    suite.checks(ONE_CHECK).write("expectations/known.yaml", EXPECTATION.format(**DEFAULTS | change))
    assert mistake(suite).startswith(f"expectations/known.yaml:{says}")


def test_an_expectation_needs_an_issue_or_a_reproduction(suite: Suite) -> None:
    text = EXPECTATION.format(**DEFAULTS).replace('  reproduction: "true"\n', "")
    suite.checks(ONE_CHECK).write("expectations/known.yaml", text)
    assert mistake(suite) == "expectations/known.yaml:1: give an 'issue' or a 'reproduction'"


RACE = """
- said: "{said}"
  paths: ["{path}"]
  reason: sometimes
  issue: https://github.com/containers/crun/issues/1
  reviewed: "2026-11-29"
"""


@pytest.mark.parametrize(
    ("said", "path", "says"),
    [(" ", "crun-native", "'said' is empty"), ("lost", "youki-*", "no path is named 'youki-*'")],
)
def test_a_race_that_is_every_failure_or_none_is_a_mistake(suite: Suite, said: str, path: str, says: str) -> None:
    suite.checks(ONE_CHECK).write("races/known.yaml", RACE.format(said=said, path=path))
    assert mistake(suite).startswith(f"races/known.yaml:1: {says}")


def test_paths_are_chosen_by_name_glob_and_all(suite: Suite) -> None:
    read = catalogue.read(suite.checks(ONE_CHECK).root)

    def chosen(*patterns: str, controls: bool = False) -> list[str]:
        return [path.name for path in read.select_paths(patterns, controls=controls)]

    assert chosen("crun-wasmedge") == ["crun-wasmedge"]
    assert chosen("*-native") == ["crun-native", "runc-native"]
    assert chosen("all") == ["crun-native", "crun-wasmedge", "runc-native"]
    assert chosen("crun-wasmedge", "crun-*") == ["crun-wasmedge", "crun-native"]
    assert chosen("crun-wasmedge", controls=True) == ["crun-wasmedge", "crun-native", "runc-native"]


def test_a_path_whose_runtime_must_be_brought_is_chosen_by_its_name_alone(suite: Suite) -> None:
    path = suite.root / "paths" / "crun-wasmedge.yaml"
    path.write_text(path.read_text() + "brought: true\n")
    read = catalogue.read(suite.checks(ONE_CHECK).root)

    def chosen(pattern: str) -> list[str]:
        return [path.name for path in read.select_paths([pattern], controls=False)]

    assert chosen("crun-wasmedge") == ["crun-wasmedge"]
    assert chosen("all") == ["crun-native", "runc-native"]
    assert chosen("crun-*") == ["crun-native"]


def test_glue_names_requirements_that_exist(suite: Suite) -> None:
    path = suite.root / "paths" / "crun-wasmedge.yaml"
    path.write_text(path.read_text() + "glue: [TEST-*, TSET-RULE]\n")
    assert mistake(suite.checks(ONE_CHECK)).endswith("no requirement is named 'TSET-RULE'")


def test_an_unknown_path_is_told_with_the_nearest_and_all_known(suite: Suite) -> None:
    read = catalogue.read(suite.checks(ONE_CHECK).root)
    with pytest.raises(UsageError) as caught:
        read.select_paths(["crun-wasmegde"])
    assert str(caught.value) == (
        "unknown runtime 'crun-wasmegde'; did you mean 'crun-wasmedge'?"
        " (known: crun-native, crun-wasmedge, runc-native)"
    )


def test_the_suite_directory_is_found_from_anything_in_it(suite: Suite) -> None:
    suite.checks(ONE_CHECK, "area/test_it.py")
    for argument in ("suites", "suites/area", "suites/area/test_it.py", "suites/area/test_it.py::test_a_thing"):
        assert catalogue.suite_root([argument], suite.root.parent) == suite.root
    assert catalogue.suite_root(["elsewhere"], suite.root.parent) is None


@pytest.mark.parametrize(
    ("text", "version"),
    [("1:0.14.1+dfsg-2", "0.14.1"), ("1.21-1", "1.21"), ("1.1.12+ds1-5.1+b1", "1.1.12"), ("unknown", "0")],
)
def test_debian_s_decoration_of_a_version_does_not_count(text: str, version: str) -> None:
    assert catalogue.plain_version(text) == version
