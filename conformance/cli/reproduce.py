"""Write a folder that shows what a check saw with the runtime alone.

The check is run once more to record its steps. The folder holds the root file system, the
bundles and run.sh, which needs the runtime and nothing of the harness.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from conformance.cli.replay import LATEST, options_of, recorded, suite_directory
from conformance.errors import InfrastructureError, UsageError
from conformance.report import journal
from conformance.reproduction import LAUNCHERS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """See :class:`conformance.cli.Command`."""
    parser.add_argument("id", metavar="ID", help="of a record, as the summary shows it")
    parser.add_argument("--run", type=Path, default=LATEST, metavar="DIR", help="its run's directory (default: latest)")
    parser.add_argument("--suites", type=Path, metavar="DIR", help="the suite directory (default: as in the run)")
    parser.add_argument("--to", type=Path, metavar="DIR", help="the folder to write (default: named after the check)")


def run(options: argparse.Namespace) -> int:
    """See :class:`conformance.cli.Command`."""
    old = journal.read(options.run.resolve())
    record = recorded(old, options.id)
    path = old.paths[record["path"]]
    if path["launcher"] not in LAUNCHERS:
        raise UsageError(
            f"{record['path']} is asked through {path['layers'][0]}, a daemon that a folder cannot bring;"
            f" choose {path['below'] or 'a path below it'}, or use conformance replay"
        )
    folder = options.to or Path("reproduction-" + re.sub(r"[^a-z0-9]+", "-", record["id"].lower()).strip("-"))
    if folder.exists() and any(folder.iterdir()):
        raise UsageError(f"{folder} is not empty; name another one with --to")
    with tempfile.TemporaryDirectory(prefix="conformance-reproduce-") as report:
        argv = ["pytest", str(suite_directory(old, options.suites) / record["id"]), *options_of(old, record)]
        argv += [f"--report-dir={report}", f"--reproduce-to={folder.resolve()}", "-q", "--tb=no", "--no-summary"]
        done = subprocess.run([sys.executable, "-m", *argv], check=False, capture_output=True, text=True)
        if not (folder / "run.sh").exists():
            raise InfrastructureError(f"the check could not be tried: {done.stdout.strip().splitlines()[-1:]}")
        new = recorded(journal.read(Path(report)), record["id"])
    requirement = old.requirements[record["requirement"]]
    (folder / "README.md").write_text(_told(new, requirement, old), encoding="utf-8")
    print(f"{folder}/run.sh shows: {new['judged']}: {new['reason'] or record['sentence']}")
    return 0


def _told(record: journal.Row, requirement: journal.Row, old: journal.Run) -> str:
    """What the folder is about, for whoever gets it attached to an issue."""
    facts = old.facts.get(record["path"], {})
    versions = ", ".join(f"{name} {version}" for name, version in facts.get("components", {}).items())
    observed = "".join(f"- {name}: `{value}`\n" for name, value in record["observations"].items())
    return (
        f"# {record['sentence']}\n\n"
        f"`{record['id']}`\n\n"
        f"**Rule** ({requirement['level']}, {requirement['basis']}): {requirement['title']}\n"
        f"> {requirement['text']}\n> <{requirement['url']}>\n\n"
        f"**Versions** {versions or 'unknown'}\n\n"
        f"**The check says** {record['judged']}: `{record['message'].partition(chr(10))[0] or 'passed'}`\n\n"
        f"**Observed**\n{observed}\n"
        f"{_shows(record)}"
        "Run `sudo ./run.sh`; `RUNTIME=/path/to/another/build` tries another one.\n"
    )


def _shows(record: journal.Row) -> str:
    shows = (record["expectation"] or {}).get("shows")
    return f"**The failure shows in the output as** `{shows}`\n\n" if shows else ""
