"""One run made of many: what is put together, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from conformance.cli import main
from conformance.errors import UsageError
from conformance.report import journal, results
from conformance.report.merging import Merged, merge, plain_name
from tests.unit import edited_run

Row = dict[str, Any]

CRUN = ("crun-wasmedge", "crun-native")
PODMAN = ("podman-crun-wasmedge", "podman-crun-native")
RULE = "OCI-PROC-ARGS"


def merged(*directories: Path) -> Merged:
    return merge([journal.read(directory) for directory in directories], "new")


def by_id(rows: tuple[Row, ...]) -> dict[str, Row]:
    return {row["id"]: row for row in rows}


def native(outcome: Row) -> Callable[[Row], Row]:
    """A change of one check on the control."""
    return lambda row: row | outcome if (row["path"], row["requirement"]) == ("crun-native", RULE) else row


def only_path(name: str, then: Callable[[Row], Row | None] = lambda row: row) -> Callable[[Row], Row | None]:
    """A change that leaves this path's checks, and ``then`` changes them."""
    return lambda row: then(row) if row["path"] == name else None


def test_two_jobs_become_one_run_with_all_reports(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = edited_run.write(tmp_path / "a", id_="run-a", paths=CRUN, workers=2)
    second = edited_run.write(tmp_path / "b", id_="run-b", paths=PODMAN, started="2026-11-24T08:14:00Z")
    assert main(["merge", str(first), str(second), "--to", str(tmp_path / "new")]) == 3
    assert "podman-crun-wasmedge" in capsys.readouterr().out
    new = json.loads((tmp_path / "new" / "results.json").read_text())
    assert list(new["paths"]) == [*CRUN, *PODMAN]
    run = new["run"]
    assert [part["id"] for part in run["merged"]] == ["run-a", "run-b"]
    assert (run["started"], run["workers"], run["testbed"]) == ("2026-11-24T08:14:00Z", 3, "sandbox")
    assert new["notes"] == []
    old = [row for directory in (first, second) for row in results.results(journal.read(directory))["records"]]
    assert [row["id"] for row in new["records"]] == [row["id"] for row in old]
    assert [row["control"] for row in new["records"]] == [row["control"] for row in old]
    for name in ("junit.xml", "summary.md", "report.html", "plan.json", "results.jsonl"):
        assert (tmp_path / "new" / name).stat().st_size > 1000


def test_parts_of_one_path_are_put_together(tmp_path: Path) -> None:
    def half(even: bool) -> Callable[[Row], Row | None]:
        return lambda row: row if (len(row["requirement"]) % 2 == 0) is even else None

    parts = [edited_run.write(tmp_path / str(even), id_=str(even), change=half(even)) for even in (True, False)]
    whole = journal.read(edited_run.write(tmp_path / "whole"))
    assert set(by_id(merged(*parts).records)) == set(by_id(whole.records))


def test_a_control_that_ran_along_twice_counts_once(tmp_path: Path) -> None:
    first = edited_run.write(tmp_path / "a", id_="run-a")
    second = edited_run.write(tmp_path / "b", id_="run-b", change=only_path("crun-native"))
    found = merged(first, second)
    assert set(by_id(found.records)) == set(by_id(journal.read(first).records))


@pytest.mark.parametrize("bad_comes_first", [True, False])
def test_of_two_verdicts_on_a_control_the_worse_stays_and_names_the_other(
    tmp_path: Path, bad_comes_first: bool
) -> None:
    bad = {"raw": "failed", "judged": "failed", "message": "assert 1 == 2", "reason": "assert 1 == 2"}
    failing, passing = (native(bad), native({})) if bad_comes_first else (native({}), native(bad))
    first = edited_run.write(tmp_path / "a", id_="run-a", change=failing)
    second = edited_run.write(tmp_path / "b", id_="run-b", change=only_path("crun-native", passing))
    row = next(r for r in merged(first, second).records if (r["path"], r["requirement"]) == ("crun-native", RULE))
    other = "run-b" if bad_comes_first else "run-a"
    assert (row["judged"], row["reason"]) == ("failed", f"assert 1 == 2; passed in run {other}")


def test_the_same_check_asked_for_twice_is_refused(tmp_path: Path) -> None:
    first = edited_run.write(tmp_path / "a", id_="run-a")
    second = edited_run.write(tmp_path / "b", id_="run-b")
    with pytest.raises(UsageError, match=r"\[crun-wasmedge\] is in .*/a and in .*/b: a check counts once"):
        merged(first, second)


def test_several_testbeds_are_several_paths_each_with_its_control(tmp_path: Path) -> None:
    first = edited_run.write(tmp_path / "a", id_="run-a")
    second = edited_run.write(tmp_path / "b", id_="run-b", testbed="ssh://root@10.0.0.2:22", node={"kernel": "6.12"})
    third = edited_run.write(tmp_path / "c", id_="run-c", paths=PODMAN)
    found = merged(first, second, third)
    beds = ("sandbox", "ssh-root-10-0-0-2-22")
    assert list(found.header["paths"]) == [*(f"{path}@{bed}" for bed in beds for path in CRUN), *PODMAN]
    assert found.header["paths"]["crun-wasmedge@sandbox"]["control"] == "crun-native@sandbox"
    assert found.header["paths"][PODMAN[0]]["control"] == PODMAN[1]
    assert len(found.records) == len(by_id(found.records))
    assert {row["path"] for row in found.records} == set(found.header["paths"])
    assert all(row["id"].endswith(f"[{row['path']}]") for row in found.records)
    kernels = {row["path"]: row["node"]["kernel"] for row in found.facts}
    assert kernels["crun-native@ssh-root-10-0-0-2-22"] == "6.12"
    assert found.header["run"]["testbed"] == "sandbox, ssh://root@10.0.0.2:22"


@pytest.mark.parametrize(
    ("second", "says"),
    [
        ({"components": {"crun": "1.22"}}, "path 'crun-wasmedge': crun is 1.21-1 in .* and 1.22 in "),
        (
            {"brought": {"crun": {"file": "crun", "sha256": "ab", "paths": ["crun-wasmedge", "crun-native"]}}},
            "crun was brought in .*/b, and in .*/a it is another",
        ),
        ({"strict": True}, "/b: one run is strict"),
        ({"id_": "run-a"}, "/b: run run-a is in .*/a already"),
    ],
)
def test_what_is_not_one_thing_is_refused(tmp_path: Path, second: dict[str, Any], says: str) -> None:
    first = edited_run.write(tmp_path / "a", id_="run-a", change=only_path("crun-wasmedge"))
    other = edited_run.write(tmp_path / "b", change=only_path("crun-native"), **({"id_": "run-b"} | second))
    with pytest.raises(UsageError, match=says) as caught:
        merged(first, other)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("part", "key"), [("paths", "layers"), ("requirements", "text")])
def test_two_versions_of_the_suite_are_refused(tmp_path: Path, part: str, key: str) -> None:
    first = edited_run.write(tmp_path / "a", id_="run-a", change=only_path("crun-wasmedge"))
    second = edited_run.write(tmp_path / "b", id_="run-b", change=only_path("crun-native"))
    header, *lines = (second / "results.jsonl").read_text().splitlines()
    row = json.loads(header)
    row[part][next(iter(row[part]))][key] = ["other"]
    (second / "results.jsonl").write_text("\n".join([json.dumps(row), *lines]) + "\n")
    with pytest.raises(UsageError, match="merge runs of one suite"):
        merged(first, second)


def test_a_killed_run_stays_one(tmp_path: Path) -> None:
    first = edited_run.write(tmp_path / "a", id_="run-a", paths=CRUN, change=only_path("crun-native"), status=1)
    second = edited_run.write(tmp_path / "b", id_="run-b", paths=PODMAN, status=None)
    lines = (second / "results.jsonl").read_text().splitlines()
    (second / "results.jsonl").write_text("\n".join(lines[:-1]) + "\n")  # the last check has no result
    assert main(["merge", str(first), str(second), "--to", str(tmp_path / "new")]) == 3
    new = results.results(journal.read(tmp_path / "new"))
    assert new["notes"] == ["the run has no end: it was killed, or is still going on"]
    assert new["records"][-1]["judged"] == "not-run"


@pytest.mark.parametrize(("one", "other", "status"), [(0, 1, 1), (3, 1, 3), (2, 3, 2), (0, 0, 0)])
def test_the_gravest_exit_status_is_the_new_one(tmp_path: Path, one: int, other: int, status: int) -> None:
    passes = {"raw": "passed", "judged": "passed"}
    first = edited_run.write(tmp_path / "a", id_="a", change=only_path(CRUN[0], lambda r: r | passes), status=one)
    second = edited_run.write(tmp_path / "b", id_="b", change=only_path(CRUN[1], lambda r: r | passes), status=other)
    assert merged(first, second).status == status


def test_errors_of_two_sessions_are_both_kept(tmp_path: Path) -> None:
    def prepare(row: Row) -> Row | None:
        wanted = row["requirement"] == RULE and row["path"] == "crun-wasmedge"
        gone = {"id": "session::prepare", "check": "session::prepare", "path": "-", "requirement": "", "raw": "error"}
        return row | gone | {"judged": "error", "reason": "no disk"} if wanted else None

    parts = [edited_run.write(tmp_path / name, id_=name, change=prepare) for name in ("run-a", "run-b")]
    assert [row["id"] for row in merged(*parts).records] == ["session::prepare[run-a]", "session::prepare[run-b]"]


def test_what_was_merged_can_be_merged_again(tmp_path: Path) -> None:
    parts = [edited_run.write(tmp_path / p[0], id_=p[0], paths=p) for p in (CRUN, PODMAN, ("youki-wasmer",))]
    main(["merge", str(parts[0]), str(parts[1]), "--to", str(tmp_path / "two")])
    found = merged(tmp_path / "two", parts[2])
    assert [part["id"] for part in found.header["run"]["merged"]] == [CRUN[0], PODMAN[0], "youki-wasmer"]
    with pytest.raises(UsageError, match=f"run {PODMAN[0]} is in .* already"):
        merged(tmp_path / "two", parts[1])


def test_a_directory_that_has_a_run_is_not_written_to(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = edited_run.write(tmp_path / "a")
    before = (first / "results.jsonl").read_bytes()
    assert main(["merge", str(first), "--to", str(first)]) == 4
    assert "holds a run already" in capsys.readouterr().err
    assert (first / "results.jsonl").read_bytes() == before


def test_names_without_special_characters() -> None:
    assert plain_name("ssh://root@10.0.0.2:22") == "ssh-root-10-0-0-2-22"
    assert plain_name("sandbox") == "sandbox"
