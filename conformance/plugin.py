"""The pytest plug-in: options, the matrix of checks and paths, verdicts, journal, exit code.

It is active only when pytest's arguments lie in a suite directory. With pytest-xdist the
workers judge their own checks and the controller keeps the journal.
"""

from __future__ import annotations

import argparse
import functools
import sys
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from tenacity import Retrying, retry_if_exception, stop_after_attempt

from conformance import brought, catalogue, cri_specs, explanation, record, services
from conformance.build.cache import silent
from conformance.build.guests import corpus
from conformance.errors import InfrastructureError, NotRun, UnseenError, UsageError
from conformance.model import Check, Judged, Raw, RuntimePath, SkipReason, printable
from conformance.path_under_test import PathUnderTest
from conformance.recorder import Recorder
from conformance.reproduction import write_reproduction
from conformance.run import Run
from conformance.session import ATTEMPTS, Session, Settings, features_of
from conformance.testbeds import diagnostics, may_reboot, testbed
from conformance.user_workloads import read as read_user_workloads
from conformance.verdict import INFRASTRUCTURE_FAILED, Situation, judge, race_met

DEFAULT_RUNTIME = "crun-wasmedge"
LETTERS = {
    Judged.PASSED: ".", Judged.FAILED: "F", Judged.EXPECTED_FAILURE: "x", Judged.UNEXPECTED_PASS: "P",
    Judged.FIXED: "+", Judged.NOTED: "n", Judged.INCONCLUSIVE: "?", Judged.ERROR: "E", Judged.NOT_RUN: "-",
    Judged.SKIPPED: "s",
}  # fmt: skip


#: A bundle and a runtime's state need less; with so little left nothing is said about a runtime that fails.
LEAST_FREE_BYTES = 256 << 10
#: The node fact of a machine that a check may restart.
REBOOT = "reboot"
#: Marks of checks that have to be asked for.
LONG = ("soak", "critest")
RUN = pytest.StashKey[Run]()
SKIP_REASON = pytest.StashKey[SkipReason]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("conformance", "WebAssembly runtime conformance")
    add = group.addoption
    add(
        "--runtime",
        action="append",
        metavar="PATH",
        help=f"runtime path, glob or 'all'; repeatable (default: {DEFAULT_RUNTIME})",
    )
    add("--no-control", action="store_true", help="do not run the native controls along")
    add("--testbed", default="sandbox", metavar="NAME[://ADDRESS]", help="sandbox, local or ssh://user@host:port")
    add("--list-runtimes", action="store_true", help="list the runtime paths and exit")
    add(
        "--component",
        action="append",
        default=[],
        metavar="NAME=WHAT",
        help="use this build of a runtime or engine: a file, directory, Debian package or component; repeatable",
    )
    add("--report-dir", metavar="DIR", help="where the results go (default: reports/out/TIME-ID)")
    add("--keep", action="store_true", help="leave the node and every bundle in place and say how to enter it")
    add("--provision", action="store_true", help="ssh: install on the machine what a machine of ours would have")
    add("--allow-reboot", action="store_true", help="ssh: a check may restart the machine")
    add("--reproduce-to", metavar="DIR", help=argparse.SUPPRESS)  # used by 'conformance reproduce'
    add("--workloads", metavar="DIR", help="also run your own modules, each with a sidecar")


def pytest_cmdline_main(config: pytest.Config) -> int | None:
    if not config.getoption("list_runtimes"):
        return None
    root = catalogue.suite_root([*config.args, "suites"], config.invocation_params.dir)
    if root is None:
        raise pytest.UsageError(
            "--list-runtimes: no suite directory here; name it, as in 'pytest suites/ --list-runtimes'"
        )
    for path in _usage(catalogue.read, root).paths.values():
        print(f"{path.name:24} {path.summary}")
    return 0


def pytest_configure(config: pytest.Config) -> None:
    for line in (
        "requirement(id): the rule a check is bound to",
        "needs(*features): skipped on a path without these",
        "needs_node(*facts): skipped on a node where one is not true",
        "soak: takes minutes; run with -m soak only",
        "critest(group): once for each spec of critest's in a group; run with -m critest only",
    ):
        config.addinivalue_line("markers", line)
    root = catalogue.suite_root(config.args, config.invocation_params.dir)
    if root is None or config.getoption("list_runtimes"):
        return
    worker_input = getattr(config, "workerinput", None)
    read = _usage(catalogue.read, root)
    patterns = config.getoption("runtime") or [DEFAULT_RUNTIME]
    paths = _usage(read.select_paths, patterns, controls=not config.getoption("no_control"))
    _usage(testbed, config.getoption("testbed"))
    directory = config.getoption("workloads")
    asked = _asked(config, "critest")
    if asked and (worker_input is not None or getattr(config.option, "numprocesses", None)):
        raise pytest.UsageError("-m critest: critest runs once for a path; leave out -n")
    run = Run(
        catalogue=read,
        rootdir=config.rootpath,
        paths=paths,
        brought=_usage(brought.read, config.getoption("component"), paths, _told if worker_input is None else silent),
        workloads=_usage(read_user_workloads, Path(directory)) if directory else (),
        testbed=config.getoption("testbed"),
        strict=bool(config.getini("strict")),
        keep=config.getoption("keep"),
        provision=config.getoption("provision"),
        also_needed=(cri_specs.COMPONENT,) if asked else (),
        may_reboot=_usage(
            may_reboot,
            config.getoption("testbed"),
            allowed=config.getoption("allow_reboot"),
        ),
    )
    config.stash[RUN] = run
    if worker_input is not None:
        run.prepare_error = worker_input["conformance_prepare_error"]
        run.unbuilt = worker_input["conformance_unbuilt"]
        return
    wanted = config.getoption("report_dir")
    config.pluginmanager.register(Recorder(run, config, Path(wanted) if wanted else None), "conformance-recorder")


def _asked(config: pytest.Config, mark: str) -> bool:
    """Whether checks that take long are wanted: by ``-m``, or by the name of one, as for a replay."""
    return mark in config.getoption("markexpr") or any("::" in word and mark in word for word in config.args)


def _usage(call: Any, *arguments: Any, **more: Any) -> Any:
    """Call, and turn our usage error into pytest's: one line, exit code 4."""
    try:
        return call(*arguments, **more)
    except UsageError as error:
        raise pytest.UsageError(str(error)) from error
    except InfrastructureError as error:
        pytest.exit(str(error), returncode=INFRASTRUCTURE_FAILED)


def _told(message: str) -> None:
    """Progress before there is a report to write it to."""
    print(message, file=sys.stderr, flush=True)


def run_of(config: pytest.Config) -> Run | None:
    """The run that this pytest process belongs to; None when it runs no suite."""
    return config.stash.get(RUN, None)


# ---- the matrix


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    run = run_of(metafunc.config)
    if run is None:
        return
    if "path" in metafunc.fixturenames:
        metafunc.parametrize("path", run.paths, indirect=True, ids=[p.name for p in run.paths])
    if "user_workload" in metafunc.fixturenames and run.workloads:
        metafunc.parametrize("user_workload", run.workloads, ids=[w.name for w in run.workloads])
    if mark := metafunc.definition.get_closest_marker("critest"):
        specs = _usage(cri_specs.listed, metafunc.definition.path.parent / cri_specs.LISTED).of(*mark.args)
        if not _asked(metafunc.config, "critest"):
            specs = specs[:1]  # left out anyway, and thousands take their time
        metafunc.parametrize("spec", specs, indirect=True, ids=[cri_specs.plain(text) for text in specs])


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Checks of a user's modules exist only where there are such modules; long ones have to be asked for."""
    run = run_of(config)
    if run is None:
        return
    unused = [
        item
        for item in items
        if ("user_workload" in getattr(item, "fixturenames", ()) and not run.workloads)
        or any(item.get_closest_marker(name) and not _asked(config, name) for name in LONG)
    ]
    if unused:
        items[:] = [item for item in items if item not in unused]
        config.hook.pytest_deselected(items=unused)


@pytest.fixture
def path(request: pytest.FixtureRequest) -> Iterator[PathUnderTest]:
    """The runtime path under test, on an open node; what a check starts there is removed after it."""
    run = run_of(request.config)
    if run is None:
        raise pytest.UsageError("a check needs a suite directory: pytest suites/")
    wanted: RuntimePath = request.param
    check = run.catalogue.checks[run.split(request.node.nodeid)[0]]
    _skip_without(request.node, check.needs - features_of(wanted), SkipReason.UNSUPPORTED, f"{wanted.name} has no")
    if run.prepare_error:
        raise NotRun(run.prepare_error)
    if run.session is None:
        settings = Settings(
            run.testbed, run.corpus or corpus(), run.brought, run.strict, run.keep, run.components(), run.unbuilt,
            run.may_reboot,
        )  # fmt: skip
        run.session = Session(settings)
    started = time.monotonic()
    with run.session.turn(wanted.node, alone=REBOOT in check.needs_node):
        yield from _under_test(request, run, run.session, wanted, check, started)


def _under_test(
    request: pytest.FixtureRequest, run: Run, session: Session, wanted: RuntimePath, check: Check, started: float
) -> Iterator[PathUnderTest]:
    opened = session.open(wanted)
    request.node.stash[record.OPENING_SECONDS] = time.monotonic() - started
    absent = [fact for fact in check.needs_node if not _fact(opened.node.facts, fact)]
    _skip_without(request.node, absent, SkipReason.UNAVAILABLE, "the node has no")
    under_test = PathUnderTest(opened, session, check.id)
    request.node.stash[record.UNDER_TEST] = under_test
    request.node.stash[record.OPENED] = opened
    reproduction = request.config.getoption("reproduce_to")
    opened.node.transcript = [] if reproduction else None
    yield under_test
    if reproduction:
        write_reproduction(
            Path(reproduction), opened, session.settings.corpus, request.node.stash.get(record.TRANSCRIPT, [])
        )
    before = opened.node.busy_seconds
    under_test.clean_up()
    request.node.stash[record.CLEANING_SECONDS] = opened.node.busy_seconds - before


@pytest.fixture
def spec(request: pytest.FixtureRequest, path: PathUnderTest) -> cri_specs.Spec:
    """What critest says of one of its specs; at the first of a path it runs all that were chosen."""
    known = cri_specs.listed(request.node.path.parent / cri_specs.LISTED)
    if request.param in known.unavailable:
        _skip_without(request.node, [request.param], SkipReason.UNAVAILABLE, f"{known.unavailable[request.param]}:")
    found = path.spec_of_critest(request.param, _chosen_specs(request, path), request.node.path.parent)
    if found.state == "skipped":
        request.node.stash[SKIP_REASON] = SkipReason.UNSUPPORTED
        pytest.skip(f"{SkipReason.UNSUPPORTED}: critest skips it: {found.said}")
    return found


def _chosen_specs(request: pytest.FixtureRequest, path: PathUnderTest) -> list[str]:
    """The specs that this run wants of a path and its node can have."""
    run = run_of(request.config)
    assert run is not None
    found = []
    for item in request.session.items:
        chosen = getattr(item, "callspec", None)
        if chosen is None or "spec" not in chosen.params or chosen.params["path"].name != path.name:
            continue
        check = run.catalogue.checks[run.split(item.nodeid)[0]]
        if all(_fact(path.node.facts, fact) for fact in check.needs_node):
            found.append(chosen.params["spec"])
    return found


def _skip_without(item: pytest.Item, absent: Any, reason: SkipReason, text: str) -> None:
    """The one place where a check is skipped."""
    if absent:
        item.stash[SKIP_REASON] = reason
        pytest.skip(f"{reason}: {text} {', '.join(sorted(absent))}")


def _fact(facts: dict[str, Any], name: str) -> bool:
    kind, _, value = name.partition(":")
    if kind == "cgroup":
        return value in facts["controllers"]
    return facts["cgroup_mode"] == value if kind == "cgroup_mode" else bool(facts.get(name))


# ---- verdicts (in the process that ran the check)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    if run_of(item.config) is None:
        return (yield)
    with explanation.bounded():
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """Try a check again whose container ran unseen, or that met a known race of the runtime's own.

    Both happen now and then on a busy node; the record says how often, and which race.
    """
    check = pyfuncitem.obj
    run = run_of(pyfuncitem.config)
    under_test = pyfuncitem.stash.get(record.UNDER_TEST, None)
    if run and under_test:

        def worth_another_try(error: BaseException) -> bool:
            race = race_met(run.catalogue.races, _situation(pyfuncitem, run, under_test.name), under_test.told())
            under_test.races += [race] if race else []
            return race is not None or isinstance(error, UnseenError)

        trying = Retrying(
            retry=retry_if_exception(worth_another_try), stop=stop_after_attempt(ATTEMPTS), reraise=True,
            before_sleep=lambda _: under_test.begin_again(),
        )  # fmt: skip
        pyfuncitem.obj = functools.wraps(check)(functools.partial(trying, check))
    try:
        return (yield)
    finally:
        pyfuncitem.obj = check


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    opened = item.stash.get(record.OPENED, None)
    if call.when == "call" and opened is not None and opened.node.transcript is not None:
        # what is asked of the node from here on is about the node
        item.stash[record.TRANSCRIPT], opened.node.transcript = opened.node.transcript, None
    report = yield
    run = run_of(item.config)
    if run is None:
        return report
    error = call.excinfo.value if call.excinfo else None
    if report.when == "teardown":
        report.conformance = {"commands_seconds": item.stash.get(record.CLEANING_SECONDS, 0.0)}  # type: ignore[attr-defined]
        if report.failed:
            report.conformance["teardown_error"] = str(error)
            report.longrepr = f"{item.name}: clean-up failed: {error}"
        return report
    if report.when == "setup" and report.passed:
        return report
    raw, message = _raw(item, report, error)
    if raw is Raw.ERROR and isinstance(error, InfrastructureError) and not isinstance(error, NotRun):
        message += _diagnostics(item, run)
    if raw in (Raw.FAILED, Raw.ERROR):
        message += _daemon_logs(item)
    row = record.make(item, run.catalogue, raw, message, report, run.split(item.nodeid))
    row["skip_reason"] = item.stash.get(SKIP_REASON, None)
    row["observations"] = record.plain(row["observations"])
    _judge(item, run, raw, row, report, ours=isinstance(error, InfrastructureError))
    report.conformance = record.plain(row)  # type: ignore[attr-defined]
    return report


def _diagnostics(item: pytest.Item, run: Run) -> str:
    """What the node's own logs say, below the line that says what went wrong."""
    wanted = getattr(item, "callspec", None) and item.callspec.params.get("path")  # type: ignore[attr-defined]
    if not isinstance(wanted, RuntimePath) or run.prepare_error:
        return ""
    told = diagnostics(run.testbed, wanted.node)
    return "".join(f"\n--- {name}\n{printable(text)}" for name, text in told.items())


def _daemon_logs(item: pytest.Item) -> str:
    """The end of the logs of the daemons that the path has on its node."""
    opened = item.stash.get(record.OPENED, None)
    if opened is None or not (hasattr(opened.launcher, "daemon") or hasattr(opened.launcher, "service")):
        return ""
    told = services.logs(opened.node)
    return "".join(f"\n--- {name}\n{printable(text)}" for name, text in told.items() if text)


def _raw(item: pytest.Item, report: pytest.TestReport, error: BaseException | None) -> tuple[Raw, str]:
    """Failure, error or skip: only an ``assert`` in the check's own body is a failure."""
    if report.skipped:
        return Raw.SKIPPED, str(error)
    if report.passed:
        under_test = item.stash.get(record.UNDER_TEST, None)
        unproven = under_test.unproven() if under_test else []
        if unproven:
            return Raw.ERROR, f"the check passed although a guest is {unproven[0]}"
        return Raw.PASSED, ""
    if isinstance(error, NotRun):
        return Raw.NOT_RUN, str(error)
    if isinstance(error, InfrastructureError):
        return Raw.ERROR, str(error)
    if report.when == "call" and isinstance(error, AssertionError) and _raised_in_check(item, error):
        full = _full_disk(item)
        return (Raw.ERROR, full) if full else (Raw.FAILED, str(error))
    return Raw.ERROR, f"{type(error).__name__}: {error}"


def _full_disk(item: pytest.Item) -> str:
    """What says so, where a runtime may have failed for lack of room on its node, or with the node."""
    opened = item.stash.get(record.OPENED, None)
    if opened is None:
        return ""
    node = opened.node
    # a daemon's directory may have a file system of its own
    for directory in (str(node.directory), *(service.directory for service in node.services.values())):
        try:
            if node.free_bytes(directory) < LEAST_FREE_BYTES:
                return f"{node.name}: no space is left below {directory}: ENOSPC"
        except InfrastructureError as gone:
            return str(gone)
    return ""


def _raised_in_check(item: pytest.Item, error: AssertionError) -> bool:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and Path(trace.tb_frame.f_code.co_filename) == item.path


def _situation(item: pytest.Item, run: Run, path: str) -> Situation:
    opened = item.stash.get(record.OPENED, None)
    return Situation(
        path=path,
        components=opened.versions.components if opened else {},
        facts=opened.node.facts if opened else {},
        canary=opened.canary if opened else {},
        brought=bool(opened and opened.brought),
        strict=run.strict,
    )


def _judge(
    item: pytest.Item, run: Run, raw: Raw, row: dict[str, Any], report: pytest.TestReport, *, ours: bool
) -> None:
    """Judge, and tell pytest in its own terms so that ``-x`` and its counts agree with us.

    Args:
        ours: the error is one of our one-line messages, whose traceback would tell the reader nothing.
    """
    requirement = run.catalogue.requirements[run.catalogue.checks[row["check"]].requirement]
    situation = _situation(item, run, row["path"])
    verdict = judge(raw, row["check"], requirement, row["observations"], run.catalogue.expectations, situation)
    row["judged"] = verdict.judged.value
    row["reason"] = verdict.reason or row["message"].partition("\n")[0]
    row["expectation"] = record.of_expectation(verdict.expectation)
    if verdict.judged in (Judged.EXPECTED_FAILURE, Judged.NOTED, Judged.INCONCLUSIVE):
        report.outcome = "skipped"
        report.wasxfail = verdict.reason
    elif verdict.judged is Judged.UNEXPECTED_PASS:
        report.outcome, report.longrepr = "failed", f"{item.name}: unexpected pass: {verdict.reason}"
    elif raw in (Raw.ERROR, Raw.NOT_RUN):
        report.outcome = "failed"
        if ours or not report.longrepr:
            report.longrepr = row["message"]
    elif verdict.judged is Judged.FAILED and verdict.reason:
        report.sections.append(("conformance", verdict.reason))


def pytest_report_teststatus(report: Any) -> tuple[str, str, Any] | None:
    row = getattr(report, "conformance", None)
    if not row or "judged" not in row:
        return None
    judged = Judged(row["judged"])
    colour = {"red": True} if judged in (Judged.FAILED, Judged.UNEXPECTED_PASS, Judged.ERROR) else {"yellow": True}
    word = judged.value.upper()
    category = judged.value
    if judged is Judged.UNEXPECTED_PASS:
        category = "failed"
    return category, LETTERS[judged], word if judged is Judged.PASSED else (word, colour)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Give the nodes of this process back; with pytest-xdist every worker does."""
    run = run_of(session.config)
    if run is not None and run.session is not None:
        for line in run.session.close():
            print(f"\n{line}", file=sys.stderr)
        run.session = None
