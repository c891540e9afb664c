"""Each check that needs a real node has been seen to fail: a crun that breaks one thing turns it red.

``tests/mutants`` does the same for the others, in the sandbox.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY, Runner
from tests.vms.conftest import Machines

SUITES = REPOSITORY / "suites"
#: Changes the bundle's configuration ``c`` and the command line ``argv``, then becomes the real crun.
BROKEN = """#!/usr/bin/python3 -IS
import json, os, subprocess, sys
argv = sys.argv[1:]
name = argv[-1] if argv else ""
bundle = argv[argv.index("--bundle") + 1] if "--bundle" in argv else ""
command = next((word for word in argv if word in ("create", "run", "state", "delete")), "")
if bundle:
    with open(bundle + "/config.json") as file:
        c = json.load(file)
    resources = c["linux"].setdefault("resources", {{}})
    {configuration}
    with open(bundle + "/config.new", "w") as file:
        json.dump(c, file)
    os.replace(bundle + "/config.new", bundle + "/config.json")
{otherwise}
os.execv("/usr/bin/crun", ["crun", *argv])
"""
SCOPE_STAYS = """if command == "delete":
    code = subprocess.call(["/usr/bin/crun", *argv])
    unit = "--unit=conformance-%s.scope" % name
    subprocess.call(["systemd-run", "--quiet", unit, "--scope", "sh", "-c", "sleep 20 &"])
    sys.exit(code)"""
STILL_RUNNING = """if command == "state":
    done = subprocess.run(["/usr/bin/crun", *argv], stdout=subprocess.PIPE)
    sys.stdout.write(done.stdout.decode().replace('"stopped"', '"running"'))
    sys.exit(done.returncode)"""
NEVER_DELETED = "if command == 'delete' and '--force' not in argv: sys.exit(0)"


@dataclass(frozen=True)
class Broken:
    """One thing that is broken.

    Attributes:
        checks: that must turn red, and no others in their file.
        file: below the suite directory.
        configuration: statement on ``c``, the bundle's configuration, and ``resources`` in it.
        otherwise: statements for any command.
    """

    file: str
    checks: tuple[str, ...]
    configuration: str = "pass"
    otherwise: str = ""


CGROUPS, SYSTEMD, REBOOT = "resources/test_cgroup_v2.py", "lifecycle/test_systemd.py", "lifecycle/test_reboot.py"
LIMITS = ("memory_cpu_and_pids",)
WITHOUT_SYSTEMD = "if '--systemd-cgroup' in argv: c['linux']['cgroupsPath'] = '/conformance-mutant/' + name"
MUTANTS = {
    "drops the memory limit": Broken(CGROUPS, LIMITS, "resources.pop('memory', None)"),
    "drops the CPU limit": Broken(CGROUPS, LIMITS, "resources.pop('cpu', None)"),
    "drops the pids limit": Broken(CGROUPS, LIMITS, "resources.pop('pids', None)"),
    "drops keys of the unified hierarchy": Broken(CGROUPS, ("resources_unified",), "resources.pop('unified', None)"),
    "drops the write limit": Broken(CGROUPS, ("write_limit",), "resources.pop('blockIO', None)"),
    "lets memory grow": Broken(
        "resources/test_limits.py", ("outgrows", "as_137"), "resources.pop('memory', None)"
    ),
    "makes no scope": Broken(
        SYSTEMD, ("a_scope_holds", "systemd_knows"), WITHOUT_SYSTEMD,
        "argv = [word for word in argv if word != '--systemd-cgroup']",
    ),
    "leaves the scope": Broken(SYSTEMD, ("a_scope_holds",), otherwise=SCOPE_STAYS),
    "keeps limits from systemd": Broken(SYSTEMD, ("systemd_knows",), "resources.clear()"),
    "drops the AppArmor profile": Broken(
        "identity/test_identity.py", ("apparmor",), "c['process'].pop('apparmorProfile', None)"
    ),
    "drops oomScoreAdj": Broken(
        "identity/test_identity.py", ("is_the_one_asked_for and oom", "can_be_lowered"),
        "c['process'].pop('oomScoreAdj', None)",
    ),
    "takes a rootless guest's capabilities": Broken(
        "identity/test_rootless.py", ("test_an_ordinary_user_runs",), "c['process']['capabilities'] = {}"
    ),
    "says after a reboot that a container runs": Broken(REBOOT, ("after_a_reboot",), otherwise=STILL_RUNNING),
    "leaves its state after a reboot": Broken(REBOOT, ("after_a_reboot",), otherwise=NEVER_DELETED),
}  # fmt: skip


@pytest.mark.parametrize("name", MUTANTS)
def test_a_crun_that_breaks_one_thing_turns_its_checks_red(
    name: str, machine: Machines, run_suite: Runner, tmp_path: Path
) -> None:
    broken = MUTANTS[name]
    crun = tmp_path / "crun"
    crun.write_text(BROKEN.format(configuration=broken.configuration, otherwise=broken.otherwise))
    crun.chmod(0o755)
    chosen = " or ".join(f"({check})" for check in broken.checks)
    ran = run_suite(
        SUITES / broken.file, "-k", chosen, "--testbed=vagrant", f"--component=crun={crun}", seconds=600
    )  # fmt: skip
    assert ran.exit_code == 1, ran.output
    assert {row["judged"] for row in ran.records.values()} == {"failed"}, ran.output
    assert len(ran.records) == len(broken.checks)


def test_the_wrapper_itself_turns_nothing_red(machine: Machines, run_suite: Runner, tmp_path: Path) -> None:
    crun = tmp_path / "crun"
    crun.write_text(BROKEN.format(configuration="pass", otherwise=""))
    crun.chmod(0o755)
    files = sorted({SUITES / broken.file for broken in MUTANTS.values()})
    ran = run_suite(
        files[0], *map(str, files[1:]), "--testbed=vagrant", f"--component=crun={crun}", seconds=900
    )  # fmt: skip
    assert ran.exit_code == 0, ran.output
    assert {row["raw"] for name, row in ran.records.items() if "skipped" not in row["judged"]} <= {"passed", "failed"}
