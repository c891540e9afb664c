"""Show which expectations a run asks for: new ones to write, old ones that no longer hold.

Prints YAML entries for the unexpected failures of a run, and names entries that passed.
With --write the new entries are appended to the expectation files, one file per path; each
still needs a person's reason and an issue or reproduction, and says so.
"""

from __future__ import annotations

import argparse
import datetime
from pathlib import Path

import yaml

from conformance.catalogue import plain_version
from conformance.cli.replay import LATEST, REPOSITORY
from conformance.errors import InfrastructureError
from conformance.model import Judged
from conformance.report import journal

#: What nobody may pin: it differs from run to run, or says nothing about the failure.
UNPINNED = ("evidence", "timed_out", "signal", "engine")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """See :class:`conformance.cli.Command`."""
    parser.add_argument(
        "directory", nargs="?", type=Path, default=LATEST, metavar="DIR", help="a run (default: latest)"
    )
    parser.add_argument("--write", action="store_true", help="append the new entries to the files")
    parser.add_argument(
        "--expectations", type=Path, default=REPOSITORY / "suites" / "expectations", metavar="DIR",
        help="where the files are (default: suites/expectations)",
    )  # fmt: skip


def run(options: argparse.Namespace) -> int:
    """See :class:`conformance.cli.Command`."""
    read = journal.read(options.directory.resolve())
    stale = [r for r in read.records if r["judged"] in (Judged.UNEXPECTED_PASS, Judged.FIXED) and r["expectation"]]
    for record in stale:
        print(f"# remove {record['expectation']['id']}: {record['id']} passes now ({record['judged']})")
    new = [r for r in read.records if r["judged"] == Judged.FAILED]
    for record in new:
        text = entry(record, read.facts.get(record["path"], {}).get("components", {}))
        file = options.expectations / f"{record['path']}.yaml"
        print(text, end="")
        if options.write:
            try:
                with file.open("a", encoding="utf-8") as target:
                    target.write(text)
            except OSError as error:
                raise InfrastructureError(f"cannot write {file}: {error.strerror}") from error
            print(f"# written to {file}")
    print(
        f"# {len(new)} new, {len(stale)} to remove"
        + ("" if options.write or not new else "; --write appends the new ones")
    )
    return 0


def entry(record: journal.Row, components: dict[str, str]) -> str:
    """A YAML entry that pins what a failed record observed.

    Args:
        record: judged ``failed``.
        components: of its path; their versions limit the entry.
    """
    observed = {k: v for k, v in record["observations"].items() if k not in UNPINNED}
    row = {
        "check": record["check"],
        "paths": [record["path"]],
        "observed": observed,
        "affects": {name: f"=={plain_version(version)}" for name, version in components.items()},
        "reason": f"TODO say why: {record['reason'] or record['message'].partition(chr(10))[0]}",
        "reproduction": f"conformance replay '{record['id']}'",
        "reviewed": f"{datetime.date.today():%Y-%m-%d}",
    }
    return str(yaml.safe_dump([row], sort_keys=False, allow_unicode=True, width=120))
