"""A runtime path is one YAML file, and a vendor's build is compared with what it was made from."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from conformance import documents
from conformance.build import component
from tests.conftest import REPOSITORY, Runner, Suite

pytestmark = pytest.mark.usefixtures("nothing_left")

CONFORMANCE = str(Path(sys.executable).with_name("conformance"))
#: A component that takes longer is built by ``make test-all`` only.
EXPENSIVE_SECONDS = 300
EXIT_CODES = {
    "process/test_exit_codes.py::test_exit_code_42_reaches_the_caller[crun-wasmedge]",
    "process/test_exit_codes.py::test_exit_code_42_reaches_the_parent_of_the_container_process[crun-wasmedge]",
    "process/test_exit_codes.py::test_a_go_guest_s_exit_code_reaches_the_caller[crun-wasmedge]",
}


def test_a_path_is_one_file(suite: Suite, run_suite: Runner) -> None:
    suite.write(
        "paths/made-up.yaml",
        """
        name: made-up
        summary: a runtime path that nobody has thought of
        layers: [crun, wasmtime]
        launcher: oci
        binary: crun
        guest: wasm
        engine: {name: wasmtime, library: libwasmtime.so, built_with: +WASM:wasmtime}
        request: {module.wasm.image/variant: compat}
        control: crun-native
        components: [crun-1.21-wasmtime, libwasmtime]
        """,
    )
    suite.checks("""
        def test_a_guest_runs(path):
            assert path.run("exit-return-0").proven
    """)
    ran = run_suite(suite, runtime="made-up", control=True, seconds=300)
    assert ran.exit_code == 0, ran.output
    assert ran.outcome("a_guest_runs[made-up]") == "passed"
    row = next(row for row in ran.rows if row["kind"] == "path" and row["path"] == "made-up")
    assert row["components"]["libwasmtime"] == "25.0.0"
    assert row["components"]["crun"] == "1.21"
    built = component.component("libwasmtime")
    assert row["digests"][f"{component.PLACE}/libwasmtime"] == built.digest
    assert f"{component.PLACE}/libwasmtime/lib/libwasmtime.so" in row["digests"]
    assert ran.results()["paths"]["made-up"]["request"] == {"module.wasm.image/variant": "compat"}


def affordable(path: str) -> bool:
    """Whether what a path needs is built, or cheap; ``make test-all`` builds all of it."""
    row = documents.load(REPOSITORY / "suites/paths" / f"{path}.yaml")[0]
    return "TEST_ALL" in os.environ or all(
        component.cached(name) or component.recipe(name).about_seconds < EXPENSIVE_SECONDS
        for name in component.with_needs(row["components"])
    )


@pytest.mark.parametrize(
    "path",
    [
        "crun-wasmtime",
        "crun-wamr",
        "crun-wasmer",
        "youki-wasmtime",
        "youki-wasmedge",
        "youki-wasmer",
        "youki-native",
        "embedded-wasmtime-runc",
        "podman-crun-wasmedge",
    ],
)
def test_a_path_shows_nothing_unexpected(run_suite: Runner, path: str) -> None:
    if not affordable(path):
        pytest.skip("it needs a component that takes long and is not built: make test-all")
    ran = run_suite(REPOSITORY / "suites", "-n", "2", runtime=path, seconds=3000)
    assert ran.exit_code == 0, ran.output
    assert set(ran.judged.values()) <= {"passed", "expected-failure", "noted", "inconclusive", "skipped"}


def test_a_shim_that_a_user_brings_is_judged_and_proves_nothing_with_another_engine(
    run_suite: Runner, tmp_path: Path
) -> None:
    """Ours stands for upstream's, which no registry has."""
    if not affordable("containerd-shimlib-wasmtime"):
        pytest.skip("it needs a component that takes long and is not built: make test-all")
    program = component.component("shimlib-wasmtime").place / "bin/containerd-shim-shimlib-wasmtime-v1"
    for engine, outcome in {"wasmtime": "passed", "wasmedge": "failed"}.items():
        shim = tmp_path / f"containerd-shim-{engine}-v1"
        shutil.copy(program, shim)
        path = f"containerd-shim-{engine}"
        given = f"--component={shim.name}={shim}"
        ran = run_suite(REPOSITORY / "suites", given, "-k", "exit_code_42_reaches", runtime=path, seconds=300)
        assert ran.outcome(f"exit_code_42_reaches_the_caller[{path}]") == outcome, ran.output
    assert "libwasmedge.so.0 is not mapped in the container's process" in ran.reason("exit_code_42_reaches")


def test_a_patch_that_hands_the_exit_code_on_fixes_exactly_the_checks_of_exit_codes(
    run_suite: Runner, tmp_path: Path
) -> None:
    """The story of docs/vendors.md."""
    for name in ("crun-1.21", "crun-1.21-exit-code"):
        component.component(name)
        ran = run_suite(
            REPOSITORY / "suites", f"--component=crun={name}", "-n", "2", report_dir=tmp_path / name, seconds=500
        )
        assert ran.exit_code == 0, ran.output
        fixed = {name for name, judged in ran.judged.items() if judged == "fixed"}
        assert fixed == (EXIT_CODES if "exit-code" in name else set())
    argv = [CONFORMANCE, "compare", str(tmp_path / "crun-1.21"), str(tmp_path / "crun-1.21-exit-code")]
    compared = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert compared.returncode == 0, compared.stdout
    assert "0 regressions, 3 fixes, 0 other changes" in compared.stdout


def test_components_are_listed_with_what_they_are_made_of_and_whether_they_are_built() -> None:
    built = component.component("libwasmtime")
    ran = subprocess.run([CONFORMANCE, "components"], capture_output=True, text=True, timeout=60, check=False)
    rows = {row.split()[0]: row for row in ran.stdout.splitlines()}
    assert ran.returncode == 0
    assert set(component.recipes()) <= set(rows)
    assert "wasmtime 25.0.0 (wheel)" in rows["libwasmtime"]
    assert built.digest[:12] in rows["libwasmtime"]


def test_an_unknown_thing_to_build_is_told_with_the_nearest() -> None:
    ran = subprocess.run([CONFORMANCE, "build", "libwasmtim"], capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 4
    assert "unknown thing to build 'libwasmtim'; did you mean 'libwasmtime'?" in ran.stderr
