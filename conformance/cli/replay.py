"""Run one recorded check again, with the options of its run, and compare the verdicts.

The new results go beside the old ones. The exit code is pytest's.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from conformance import catalogue
from conformance.documents import nearest
from conformance.errors import InfrastructureError, UsageError
from conformance.report import journal

REPOSITORY = Path(__file__).parents[2]
LATEST = REPOSITORY / "reports" / "out" / "latest"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """See :class:`conformance.cli.Command`."""
    parser.add_argument("id", metavar="ID", help="of a record, as the summary shows it")
    parser.add_argument("--run", type=Path, default=LATEST, metavar="DIR", help="its run's directory (default: latest)")
    parser.add_argument("--suites", type=Path, metavar="DIR", help="the suite directory (default: as in the run)")


def run(options: argparse.Namespace) -> int:
    """See :class:`conformance.cli.Command`."""
    directory = options.run.resolve()
    old = journal.read(directory)
    record = recorded(old, options.id)
    again = Path(tempfile.mkdtemp(prefix=f"{directory.name}-replay-", dir=directory.parent))
    argv = ["pytest", str(suite_directory(old, options.suites) / record["id"]), *options_of(old, record)]
    status = subprocess.run([sys.executable, "-m", *argv, f"--report-dir={again}"], check=False).returncode
    new = recorded(journal.read(again), record["id"]) if (again / journal.JOURNAL).exists() else None
    if new is None:
        raise InfrastructureError(f"pytest ended with exit code {status} before the check was tried")
    print(f"\n{_compared(record, new)}\n{again}/")
    return status


def recorded(run_: journal.Run, wanted: str) -> journal.Row:
    """The record with that id, with or without the suite directory in front.

    Raises:
        UsageError: no such record; names the nearest.
    """
    by_id = {record["id"]: record for record in run_.records}
    for candidate in (wanted, wanted.removeprefix("suites/")):
        if candidate in by_id:
            return by_id[candidate]
    close = nearest(wanted, by_id)
    raise UsageError(f"{run_.directory}: no record '{wanted}'" + (f"; did you mean '{close}'?" if close else ""))


def suite_directory(run_: journal.Run, named: Path | None) -> Path:
    """Where the checks of a run are: as named, as its command line said, or this repository's.

    Raises:
        UsageError: the named one is none.
    """
    if named is not None:
        found = catalogue.suite_root([str(named)], Path.cwd())
        if found is None:
            raise UsageError(f"{named} is no suite directory: it holds no paths/ and requirements/")
        return found
    places = [word for word in run_.run["argv"][1:] if not word.startswith("-")]
    return catalogue.suite_root(places, Path.cwd()) or REPOSITORY / "suites"


def options_of(old: journal.Run, record: journal.Row) -> list[str]:
    """What of the old command line decides a verdict."""
    words = [f"--testbed={old.run['testbed']}"]
    if record["path"] in old.paths:
        words += [f"--runtime={record['path']}", "--no-control"]
    for name, brought in old.run["brought"].items():
        if record["path"] in old.paths and record["path"] not in brought.get("paths", ()):
            continue
        words.append(f"--component={name}={_still_there(name, brought)}")
    if old.run["strict"]:
        words.append("--strict")
    return words + _option_words(old.run["argv"], "--workloads")


def _still_there(name: str, brought: journal.Row) -> str:
    """What was brought to the old run, to be brought again."""
    file = Path(brought["file"])
    if brought.get("component"):
        return str(brought["component"])
    if not file.exists():
        raise UsageError(f"the run was made with {name}={file}, which is not there any more")
    if file.is_file() and hashlib.sha256(file.read_bytes()).hexdigest() != brought["sha256"]:
        print(f"{file} is not the file of the old run: it has changed since", file=sys.stderr)
    return str(file)


def _option_words(argv: Sequence[str], name: str) -> list[str]:
    """``--name=value`` as an old command line has it, in either spelling."""
    found = []
    for word, following in zip(argv, [*argv[1:], ""], strict=True):
        if word == name:
            found.append(f"{name}={following}")
        elif word.startswith(f"{name}="):
            found.append(word)
    return found


def _compared(old: journal.Row, new: journal.Row) -> str:
    if (old["raw"], old["judged"]) == (new["raw"], new["judged"]):
        return f"the same verdict: {new['judged']}" + (f" ({new['reason']})" if new["reason"] else "")
    return f"another verdict: it was {_told(old)}, now it is {_told(new)}"


def _told(record: journal.Row) -> str:
    return str(record["judged"]) + (f" ({record['reason']})" if record["reason"] else "")
