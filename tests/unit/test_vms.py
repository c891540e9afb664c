"""Boxes, machines and what they are provisioned with, without booting anything."""

from __future__ import annotations

import importlib.util
import json
import struct
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest

from conformance.build import accelerator, box, component, image, staging
from conformance.errors import InfrastructureError, UsageError
from conformance.testbeds import vagrant

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CONFORMANCE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv(staging.BROUGHT, raising=False)
    monkeypatch.delenv(accelerator.CHOICE, raising=False)
    return tmp_path / "cache"


# ---- recipes and disk


def test_a_layer_has_what_its_base_has() -> None:
    node, boot = image.recipe("node"), image.recipe("boot")
    assert set(node.packages) < set(boot.packages)
    assert "linux-image-amd64" in boot.packages
    assert image.cached("boot") is None
    assert box.current() is None


def test_a_layer_of_another_suite_is_refused(tmp_path: Path) -> None:
    (tmp_path / "low.yaml").write_text("suite: trixie\npackages: [a]\n")
    (tmp_path / "high.yaml").write_text("suite: bookworm\npackages: [b]\nbase: low\n")
    with pytest.raises(UsageError, match=r"high.yaml:1: its suite is bookworm, but that of its base 'low' is trixie"):
        image.recipe("high", tmp_path)


def test_the_first_sectors_hold_one_active_linux_partition_and_grub() -> None:
    core = b"core" * 1000
    data = box.first_sectors(b"\xeb" * 512, core)
    status, _, kind, _, start, count = struct.unpack("<B3sB3sII", data[446:462])
    assert (status, kind, start) == (0x80, 0x83, box.START_SECTOR)
    assert (start + count) * box.SECTOR == box.DISK_MIB << 20
    assert data[510:512] == b"\x55\xaa"
    assert data[462:510] == bytes(48)
    assert data[512:] == core
    with pytest.raises(InfrastructureError, match="too many to lie before"):
        box.first_sectors(b"", b"x" * (1 << 20))


# ---- accelerator


def fake_qemu(directory: Path, version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    directory.mkdir()
    program = directory / accelerator.QEMU
    program.write_text(f"#!/bin/sh\necho 'QEMU emulator version {version} (Debian)'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{directory}:/usr/bin:/bin")


def test_a_qemu_that_cannot_emulate_a_current_kernel_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_qemu(tmp_path / "bin", "7.2.9", monkeypatch)
    monkeypatch.setenv(accelerator.CHOICE, "tcg")
    with pytest.raises(InfrastructureError, match=r"QEMU 7\.2\.9 cannot emulate .* 10 or newer .*install\.sh vms"):
        accelerator.accelerator()
    monkeypatch.setenv(accelerator.CHOICE, "kvm")
    assert accelerator.accelerator() == "kvm"
    monkeypatch.setenv(accelerator.CHOICE, "xen")
    with pytest.raises(UsageError, match="CONFORMANCE_ACCELERATOR is 'xen'; allowed: kvm, tcg"):
        accelerator.accelerator()


def test_without_qemu_one_line_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InfrastructureError, match="qemu-system-x86_64 is not installed"):
        accelerator.accelerator()


def test_what_a_trial_showed_is_remembered_for_this_qemu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trials: list[int] = []
    monkeypatch.setattr(accelerator, "_boots_with_kvm", lambda progress: bool(trials.append(1)))
    fake_qemu(tmp_path / "bin", "10.0.2", monkeypatch)
    assert [accelerator.accelerator(), accelerator.accelerator()] == ["tcg", "tcg"]
    assert (len(trials), accelerator.remembered()) == (1, "tcg")
    fake_qemu(tmp_path / "newer", "10.1.0", monkeypatch)
    assert accelerator.remembered() == ""


# ---- provisioning


def installer(record: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("install", staging.INSTALLER)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.RECORD = str(record)  # type: ignore[attr-defined]
    return module


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def bring(monkeypatch: pytest.MonkeyPatch, **components: Path) -> Path:
    monkeypatch.setenv(staging.BROUGHT, " ".join(f"{n}={p}" for n, p in components.items()))
    return staging.stage("low-level")


def without_components(tmp_path: Path) -> Path:
    """The machines, with nothing but what a test brings."""
    file = tmp_path / "machines.yaml"
    file.write_text("- {name: low-level, memory: 1024, cpus: 2}\n")
    return file


def test_a_machine_gets_the_components_that_are_built_and_names_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "machines.yaml"
    file.write_text("- {name: low-level, memory: 1, cpus: 1, components: [libwasmtime, youki-wasmer]}\n")
    monkeypatch.setattr(staging, "MACHINES", file)
    library = "opt/conformance/components/libwasmtime/lib/libwasmtime.so"
    built = component.Component(
        "libwasmtime", "25.0.0", tree(tmp_path / "built", {library: "it"}), "d" * 64, 1.0, 1.0, (), {}
    )
    monkeypatch.setattr(component, "cached", lambda name: built if name == "libwasmtime" else None)
    manifest = json.loads((staging.stage("low-level") / "manifest.json").read_text())
    assert [list(row["files"]) for row in manifest["components"]] == [[f"/{library}"]]
    assert manifest["missing"] == ["youki-wasmer"]


def test_replacing_one_component_touches_that_one_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    there = str(tmp_path / "machine").lstrip("/")
    crun = tree(tmp_path / "crun", {f"{there}/crun": "one"})
    shim = tree(tmp_path / "shim", {f"{there}/shim": "shim", f"{there}/old": "old"})
    install = installer(tmp_path / "record.json")
    monkeypatch.setattr(staging, "MACHINES", without_components(tmp_path))
    install.main(bring(monkeypatch, crun=crun, shim=shim))
    assert capsys.readouterr().out.count("installed") == 2
    before = (tmp_path / "machine" / "shim").stat().st_ino

    install.main(bring(monkeypatch, crun=crun, shim=shim))
    assert [line.split()[-1] for line in capsys.readouterr().out.splitlines()] == ["unchanged", "unchanged"]

    tree(tmp_path / "crun", {f"{there}/crun": "two"})
    install.main(bring(monkeypatch, crun=crun, shim=shim))
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("crun")
    assert "-> " in first
    assert second.endswith("unchanged")
    assert (tmp_path / "machine" / "crun").read_text() == "two"
    assert (tmp_path / "machine" / "shim").stat().st_ino == before

    (tmp_path / "shim" / there / "old").unlink()
    install.main(bring(monkeypatch, shim=shim))
    assert sorted(p.name for p in (tmp_path / "machine").iterdir()) == ["shim"]


def test_an_installation_that_was_cut_short_goes_on_where_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    there = str(tmp_path / "machine").lstrip("/")
    trees = {n: tree(tmp_path / n, {f"{there}/{n}": n}) for n in ("a", "b")}
    install = installer(tmp_path / "record.json")
    stage = bring(monkeypatch, **trees)
    rows = {row["name"]: row for row in json.loads((stage / "manifest.json").read_text())["components"]}
    damaged = stage / "objects" / next(iter(rows["b"]["files"].values()))["sha256"]
    whole = damaged.read_bytes()
    damaged.write_bytes(b"damaged")
    with pytest.raises(SystemExit, match="arrived damaged"):
        install.main(stage)
    damaged.write_bytes(whole)
    capsys.readouterr()
    install.main(stage)
    said = capsys.readouterr().out.splitlines()
    assert said[0].endswith("unchanged")
    assert "installed" in said[1]


def test_a_program_of_the_user_s_is_staged_under_its_component_s_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tree(tmp_path, {"crun-1.29-mine": "#!/bin/sh\n"}) / "crun-1.29-mine"
    stage = bring(monkeypatch, crun=program)
    (row,) = json.loads((stage / "manifest.json").read_text())["components"]
    assert list(row["files"]) == ["/opt/conformance/bin/crun"]
    assert len(list((stage / "objects").iterdir())) == 1


def test_components_that_are_not_built_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONFORMANCE_CACHE", str(tmp_path))
    manifest = json.loads((staging.stage("crio") / "manifest.json").read_text())
    assert {"crio", "cri-tools"} <= set(manifest["missing"])


@pytest.mark.parametrize(
    ("words", "says"),
    [("crun", "'crun' is not NAME=FILE"), ("crun=/no/such/file", "/no/such/file is not there")],
)
def test_a_component_that_is_not_there_is_a_usage_error(words: str, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(staging.BROUGHT, words)
    with pytest.raises(UsageError, match=says):
        staging.stage("low-level")


def test_an_unknown_machine_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="no machine 'moon' .*containerd, crio"):
        staging.stage("moon")


# ---- the testbed


def test_a_machine_in_use_names_its_holder_and_the_wait_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    program = (
        "import time\nfrom conformance.testbeds import vagrant\n"
        "vagrant._lock('low-level', print)\nprint('held', flush=True)\ntime.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", program], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout
        assert holder.stdout.readline() == "held\n"
        monkeypatch.setenv(vagrant.WAIT, "0.3")
        said: list[str] = []
        with pytest.raises(InfrastructureError, match=f"used by process {holder.pid} since"):
            vagrant._lock("low-level", said.append)
        assert len(said) == 1
    finally:
        holder.kill()
        holder.wait(10)
    started = time.monotonic()
    vagrant._lock("low-level", lambda _: None)  # a holder that was killed holds nothing
    vagrant.finish(keep=False)
    assert time.monotonic() - started < 5


def test_vagrant_s_telling_line_is_found(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("Bringing machine up\nCall to virDomainCreate failed: no space left\n\nPlease look at the docs.\n")
    assert vagrant._said(log) == "Call to virDomainCreate failed: no space left"
    log.write_text("")
    assert vagrant._said(log) == "it said nothing"
    assert (vagrant.ROOT / "Vagrantfile").is_file()
