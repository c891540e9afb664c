"""Builds of components that fail, are interrupted or find no room or network, in the real builder."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from conformance.build import cache, component
from conformance.build.image import image
from conformance.errors import InfrastructureError, UsageError
from tests.conftest import REPOSITORY, Runner, Suite, until
from tests.faults.test_builds import processes_of

RECIPE = """
name: made-up
version: "1"
summary: made up
sources: []
script: |
{script}
result: [bin/made-up]
about_seconds: 1
disk_mib: 1
"""
CONFORMANCE = str(Path(sys.executable).with_name("conformance"))
Recipe = Callable[[str], None]


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, but for the images of this machine's own."""
    image(component.BUILDER)
    images = cache.root() / "images"
    place = tmp_path / "cache"
    place.mkdir()
    (place / "images").symlink_to(images)
    monkeypatch.setenv("CONFORMANCE_CACHE", str(place))
    return place


@pytest.fixture
def recipe(own_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recipe:
    """The only recipe: 'made-up', with this script."""
    (tmp_path / "components").mkdir()
    monkeypatch.setattr(component, "RECIPES", tmp_path / "components")

    def write(script: str) -> None:
        text = "\n".join(f"  {line}" for line in script.splitlines())
        (tmp_path / "components" / "made-up.yaml").write_text(RECIPE.format(script=text))

    return write


def entries(place: Path) -> list[str]:
    """Finished and half-finished components of a cache."""
    return [entry.name for entry in place.glob("components/*") if entry.is_dir()]


def test_a_component_is_built_without_network_and_lies_where_the_node_has_it(recipe: Recipe) -> None:
    recipe("""
        mkdir "$RESULT/bin"
        cp /proc/net/dev "$RESULT/bin/made-up"
    """)
    built = component.component("made-up")
    assert built.place == built.tree / "opt/conformance/components/made-up"
    interfaces = (built.place / "bin/made-up").read_text().splitlines()[2:]
    assert [row.split(":")[0].strip() for row in interfaces] == ["lo"]
    assert built.digest == cache.digest_of(built.place)
    assert (built.tree / "opt/conformance/components/made-up.json").is_file()


def test_a_debian_package_is_fetched_checked_and_laid_out(recipe: Recipe, own_cache: Path) -> None:
    recipe('dpkg-deb -x "$SOURCES"/tini_*.deb "$RESULT"\nmv "$RESULT/usr/bin" "$RESULT/bin"')
    file = component.RECIPES / "made-up.yaml"
    known = image("node").packages["tini"]
    source = f"{{kind: debian-package, name: tini, version: {known}, sha256: '{'0' * 64}'}}"
    text = file.read_text().replace("sources: []", f"sources:\n  - {source}")
    file.write_text(text.replace("bin/made-up", "bin/tini"))

    with pytest.raises(UsageError, match="the recipe says 0000") as caught:
        component.component("made-up")
    assert entries(own_cache) == []
    digest = str(caught.value).partition("has sha256 ")[2][:64]
    file.write_text(file.read_text().replace("0" * 64, digest))

    built = component.component("made-up")
    assert (built.place / "bin/tini").read_bytes()[:4] == b"\x7fELF"


def test_a_build_that_fails_shows_its_last_lines_its_log_and_the_command(recipe: Recipe, own_cache: Path) -> None:
    recipe("echo 'no such compiler' >&2\nexit 7")
    with pytest.raises(InfrastructureError) as caught:
        component.component("made-up")
    assert str(caught.value) == (
        "building made-up failed with exit code 7:\nno such compiler\n"
        f"full log: {own_cache}/logs/component-made-up.log (repeat it: conformance build made-up)"
    )
    assert entries(own_cache) == []


def test_a_build_that_makes_nothing_says_what_is_missing(recipe: Recipe, own_cache: Path) -> None:
    recipe("true")
    with pytest.raises(InfrastructureError, match="building made-up made no bin/made-up:"):
        component.component("made-up")
    assert entries(own_cache) == []


def test_a_build_that_is_killed_leaves_nothing_to_use_and_the_next_one_works(
    recipe: Recipe, own_cache: Path, tmp_path: Path
) -> None:
    recipe('mkdir "$RESULT/bin"; touch "$RESULT/bin/made-up" "$NAME.there"; exec sleep 4243')
    program = (
        "from pathlib import Path; from conformance.build import component;"
        f"component.RECIPES = Path({str(tmp_path / 'components')!r}); component.component('made-up')"
    )
    build = subprocess.Popen([sys.executable, "-c", program], cwd=REPOSITORY)
    until(lambda: list(own_cache.glob("components/*.partial-*/work/tree/opt/conformance/*/made-up/bin/made-up")), 60)

    build.send_signal(signal.SIGKILL)
    build.wait(10)

    until(lambda: not processes_of(own_cache), seconds=15)
    assert component.cached("made-up") is None
    recipe('mkdir "$RESULT/bin"; touch "$RESULT/bin/made-up"')
    component.component("made-up")
    assert len(entries(own_cache)) == 1


@pytest.fixture
def small_disk(own_cache: Path) -> Iterator[Path]:
    """Room for 40 MiB of components."""
    place = own_cache / "components"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40m", "none", str(place)], check=True)
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_disk_that_a_build_fills_is_told_and_left_empty(recipe: Recipe, own_cache: Path, small_disk: Path) -> None:
    recipe('dd if=/dev/zero of="$RESULT/filler" bs=1M count=100')
    with pytest.raises(InfrastructureError) as caught:
        component.component("made-up")
    assert f"no space left for {small_disk}: about 1 MiB needed, the build filled the disk" in str(caught.value)
    assert entries(own_cache) == []


def test_without_a_registry_an_empty_cache_names_what_is_missing(own_cache: Path) -> None:
    argv = ["unshare", "--net", CONFORMANCE, "build", "crun-1.21"]
    ran = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == 3
    assert "crun-1.21 needs crun 1.21-1 (debian-source), which cannot be had: " in ran.stdout
    assert entries(own_cache) == []


def test_without_a_registry_a_full_cache_is_enough() -> None:
    component.component("libiwasm")
    argv = ["unshare", "--net", CONFORMANCE, "build", "libiwasm"]
    ran = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0
    assert "building" not in ran.stdout


def test_a_component_that_cannot_be_built_is_an_error_of_its_paths_only(
    suite: Suite, run_suite: Runner, own_cache: Path
) -> None:
    real = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "wasm-conformance"
    (own_cache / "corpus").symlink_to(real / "corpus")
    shutil.copy(REPOSITORY / "suites/paths/crun-wasmtime.yaml", suite.root / "paths")
    suite.checks("""
        def test_one(path):
            assert path.run("exit-return-0").proven

        def test_two(path):
            assert path.run("exit-return-0").proven
    """)
    ran = run_suite(suite, "--runtime=crun-wasmtime", before=("unshare", "--net"))
    assert ran.exit_code == 3
    assert ran.outcome("one[crun-wasmedge]") == ran.outcome("two[crun-wasmedge]") == "passed"
    assert ran.outcome("one[crun-wasmtime]") == "error"
    assert ran.outcome("two[crun-wasmtime]") == "not-run"
    assert "which cannot be had" in ran.reason("one[crun-wasmtime]")
