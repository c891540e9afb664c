"""Only a check's own assertion is a failure, and nothing passes without proof."""

from __future__ import annotations

import pytest

from tests.conftest import Runner, Suite

pytestmark = pytest.mark.usefixtures("nothing_left")


def test_a_check_that_passes_although_its_guest_is_unproven_is_an_error(suite: Suite, run_suite: Runner) -> None:
    suite.checks("""
        from dataclasses import replace

        def test_a_native_guest_slips_in(path):
            spec = path.spec("exit-return-0", annotations={})
            tree = spec.rootfs.replace("/wasm", "/native")
            result = path.run_spec(replace(spec, rootfs=tree, args=("/exit-return-0", *spec.args[1:])))
            assert result.guest_started
            assert result.exit_code == 0

        def test_the_same_with_its_proof_asked_for(path):
            spec = path.spec("exit-return-0", annotations={})
            tree = spec.rootfs.replace("/wasm", "/native")
            assert path.run_spec(replace(spec, rootfs=tree, args=("/exit-return-0", *spec.args[1:]))).proven
    """)
    ran = run_suite(suite)
    assert ran.exit_code == 3
    assert ran.outcome("slips_in") == "error"
    assert "the check passed although a guest is not proven" in ran.reason("slips_in")
    assert "compiled for x86_64-linux" in ran.reason("slips_in")
    assert ran.outcome("asked_for") == "failed"


def test_an_assertion_that_is_not_the_check_s_own_is_an_error(suite: Suite, run_suite: Runner) -> None:
    suite.checks("""
        import pytest
        from conformance import proof

        @pytest.fixture
        def broken():
            assert False, "in a fixture"

        @requirement("TEST-RULE")
        def test_a_fixture(path, broken):
            assert path.run("exit-return-0").proven

        def test_the_harness(path):
            code = "def give_up(*a, **k):\\n    assert False, 'inside conformance'"
            names = {}
            exec(compile(code, proof.__file__, "exec"), names)
            path.launcher.result = names["give_up"]
            assert path.run("exit-return-0").proven

        def test_something_else(path):
            raise ValueError("neither")

        def test_its_own(path):
            assert False, "its own"
    """)
    ran = run_suite(suite)
    assert ran.exit_code == 3
    assert ran.outcome("test_a_fixture") == "error"
    assert ran.outcome("test_the_harness") == "error"
    assert ran.outcome("test_something_else") == "error"
    assert ran.outcome("test_its_own") == "failed"
    assert "inside conformance" in ran.reason("test_the_harness")


RACES = """
    - said: "ot a directory"
      paths: [crun-native]
      reason: crun loses the directory
      issue: https://github.com/containers/crun/issues/1
      reviewed: "2026-11-29"
"""
MEETS_RACES = """
    def test_a_meets_it_once(path):
        where = "/exit-42" if path.attempts == 1 else "/"
        assert path.run("exit-return-0", cwd=where).proven

    def test_b_meets_it_each_time(path):
        assert path.run("exit-return-0", cwd="/exit-42").proven

    def test_c_fails_otherwise(path):
        assert path.run("exit-42").exit_code == 0
"""


def test_a_check_that_meets_a_known_race_is_tried_again_and_noted(suite: Suite, run_suite: Runner) -> None:
    suite.write("races/crun.yaml", RACES)
    ran = run_suite(suite.checks(MEETS_RACES), runtime="crun-native")
    assert ran.exit_code == 1, ran.output
    assert [row["judged"] for row in ran.records.values()] == ["passed", "failed", "failed"]
    assert [row["attempts"] for row in ran.records.values()] == [2, 3, 1]
    assert "test_a_meets_it_once[crun-native] was tried again: crun loses the directory" in " ".join(ran.output.split())


def test_a_race_is_a_failure_where_nothing_is_excused_and_on_other_paths(suite: Suite, run_suite: Runner) -> None:
    suite.write("races/crun.yaml", RACES)
    suite.checks(MEETS_RACES)
    for ran in (run_suite(suite, "--strict", runtime="crun-native"), run_suite(suite, runtime="runc-native")):
        assert [row["judged"] for row in ran.records.values()] == ["failed"] * 3
        assert [row["attempts"] for row in ran.records.values()] == [1, 1, 1]


UNSEEN_AT_FIRST = """
    from conformance.errors import UnseenError
    from conformance.launchers import oci

    run, ran = oci.Launcher.run, []

    def unseen_at_first(self, spec):
        result = run(self, spec)
        ran.append(spec)
        if len(ran) == 1:
            raise UnseenError("nobody saw it")
        return result

    oci.Launcher.run = unseen_at_first
"""


def test_a_path_whose_first_guest_runs_unseen_is_opened_all_the_same(suite: Suite, run_suite: Runner) -> None:
    suite.write("conftest.py", UNSEEN_AT_FIRST)
    suite.checks("""
        def test_a(path):
            assert path.run("exit-return-0").proven
    """)
    ran = run_suite(suite)
    assert ran.exit_code == 0, ran.output


def test_an_error_weighs_more_than_a_failure(suite: Suite, run_suite: Runner) -> None:
    ran = run_suite(suite.checks("""
        def test_a(path):
            assert path.run("exit-return-0").exit_code == 1

        def test_b(path):
            assert path.run("no-such-workload").proven
    """))  # fmt: skip
    assert ran.exit_code == 3
    assert ran.outcome("test_a") == "failed"
    assert ran.outcome("test_b") == "error"
    assert ran.reason("test_b") == "the corpus has no workload 'no-such-workload' for wasm paths"


def test_nothing_that_ran_is_no_success(suite: Suite, run_suite: Runner) -> None:
    suite.checks("""
        @requirement("TEST-RULE")
        @needs(Feature.CHECKPOINT)
        def test_it(path):
            assert path.run("exit-return-0").proven
    """)
    ran = run_suite(suite)
    assert ran.exit_code == 3
    assert ran.outcome("test_it") == "skipped"
    assert next(iter(ran.records.values()))["skip_reason"] == "unsupported"


EXPECTATION = """\
- check: test_it.py::test_exit_code
  paths: ["*"]
  observed: {{exit_code: {code}}}
  reason: known
  reviewed: "2026-01-01"
  reproduction: "true"
"""


@pytest.mark.parametrize(
    ("code", "wanted", "options", "judged", "status"),
    [
        (0, 7, (), "expected-failure", 0),
        (3, 7, (), "failed", 1),
        (0, 7, ("--strict",), "failed", 1),
        (0, 0, (), "unexpected-pass", 1),
    ],
)
def test_an_expectation_covers_exactly_what_it_pins(
    suite: Suite, run_suite: Runner, code: int, wanted: int, options: tuple[str, ...], judged: str, status: int
) -> None:
    suite.checks(f"""
        def test_exit_code(path):
            result = path.run("exit-return-0")
            assert result.proven
            assert result.exit_code == {wanted}
    """).write("expectations/known.yaml", EXPECTATION.format(code=code))
    ran = run_suite(suite, *options)
    assert ran.outcome("test_exit_code") == judged
    assert ran.exit_code == status


def test_a_large_difference_is_explained_at_once_on_a_ci_server(
    suite: Suite, run_suite: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI", "true")
    suite.checks("""
        import random

        def test_two_streams(path):
            assert path.run("exit-return-0").proven
            one, other = (random.Random(seed).randbytes(65536) for seed in "ab")
            assert b"same" + one == b"same" + other
    """)
    ran = run_suite(suite, seconds=30)
    assert ran.outcome("two_streams") == "failed"
    assert "bytes of 65540 == bytes of 65540" in ran.output
    assert "first difference at 4:" in ran.output
