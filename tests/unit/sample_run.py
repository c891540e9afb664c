# ruff: noqa: E501 - a table of checks, one a line
"""A run as the plug-in leaves it, made up but in every way as large and as odd as a real one.

Five paths, each outcome at least once, and streams that attack every report.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from conformance.report.journal import Journal

Row = dict[str, Any]

_SPEC = "https://github.com/opencontainers/runtime-spec/blob/v1.2.1/"
_WASI = "https://github.com/WebAssembly/WASI/blob/v0.2.7/legacy/preview1/docs.md"
_CRUN = "https://github.com/containers/crun/blob/1.21/docs/wasm-wasi-on-kubernetes.md"

#: directory | file | sentence | requirement | level | basis | source | rule
_CHECKS = """
process|exit_codes|exit code 0 reaches the caller|OCI-PROC-EXIT-0|MUST|parity|crun|The exit code of the container's process is the exit code of crun run.
process|exit_codes|exit code 42 reaches the caller|OCI-PROC-EXIT-42|MUST|parity|crun|The exit code of the container's process is the exit code of crun run.
process|exit_codes|exit code 255 reaches the caller|OCI-PROC-EXIT-255|MUST|parity|crun|The exit code of the container's process is the exit code of crun run.
process|exit_codes|returning from main is exit code 0|OCI-PROC-RETURN-0|MUST|parity|crun|A command that returns from _start without proc_exit ends with 0.
process|exit_codes|a trap is not exit code 0|OCI-PROC-TRAP|MUST|parity|crun|A process that ends abnormally is never reported as successful.
process|exit_codes|exit code 256 is not reported as success|OCI-PROC-EXIT-256|SHOULD|project|wasi|proc_exit takes a 32 bit code; hosts keep eight bits of it.
process|exit_codes|a Rust panic is exit code 134 or a trap|WASI-PANIC-RUST|SHOULD|parity|wasi|An abort of the guest is visible to the caller.
process|exit_codes|a Go panic is exit code 2|WASI-PANIC-GO|SHOULD|parity|wasi|An abort of the guest is visible to the caller.
process|start|a module that imports an unknown function is refused|WASI-IMPORT-UNKNOWN|MUST|spec|wasi|Instantiation fails where an import cannot be satisfied.
process|start|a file that is text in wat form is refused or run|CRUN-WAT|MAY|upstream-doc|crun|Text modules may be accepted by the engine.
process|start|a truncated module is refused with an error|WASI-TRUNCATED|MUST|spec|wasi|A module that does not validate is not run.
process|start|a reactor without _start is refused|WASI-REACTOR|MUST|spec|wasi|Command modules export a function _start.
process|start|an empty file is refused|WASI-EMPTY|MUST|spec|wasi|A module starts with the magic bytes.
arguments|arguments|every argument arrives|OCI-PROC-ARGS|MUST|spec|config.md#process|args (array of strings, REQUIRED on Linux) specifies the binary and arguments.
arguments|arguments|an empty argument arrives|OCI-PROC-ARGS-EMPTY|MUST|spec|config.md#process|args has similar semantics to POSIX execvp's argv.
arguments|arguments|arguments keep spaces and quotes|OCI-PROC-ARGS-SPACES|MUST|spec|config.md#process|args has similar semantics to POSIX execvp's argv.
arguments|arguments|an argument in UTF-8 arrives byte for byte|OCI-PROC-ARGS-UTF8|MUST|spec|config.md#process|args has similar semantics to POSIX execvp's argv.
arguments|arguments|a thousand arguments arrive|OCI-PROC-ARGS-MANY|SHOULD|spec|config.md#process|args has similar semantics to POSIX execvp's argv.
arguments|arguments|argv 0 is the module's path|OCI-PROC-ARGV0|MUST|spec|config.md#process|One or more args is required; the first is the file that is run.
environment|environment|a variable arrives|OCI-PROC-ENV|MUST|spec|config.md#process|env (array of strings, OPTIONAL) with the same semantics as IEEE Std 1003.1 environ.
environment|environment|an empty variable arrives|OCI-PROC-ENV-EMPTY|MUST|spec|config.md#process|env with the same semantics as environ.
environment|environment|nothing else is in the environment|OCI-PROC-ENV-ONLY|SHOULD|spec|config.md#process|env with the same semantics as environ.
environment|environment|a value may hold an equals sign|OCI-PROC-ENV-EQUALS|MUST|spec|config.md#process|env with the same semantics as environ.
environment|environment|the order of variables is kept|OCI-PROC-ENV-ORDER|MAY|project|config.md#process|Order is not defined; recorded for interest.
streams|streams|standard output arrives byte for byte|OCI-STDOUT-BYTES|MUST|parity|crun|What the guest writes is what the caller reads.
streams|streams|standard error is kept apart|OCI-STDERR-APART|MUST|parity|crun|Each stream is its own.
streams|streams|standard input is read to its end|OCI-STDIN-EOF|MUST|parity|crun|End of file on the caller's side is end of file in the guest.
streams|streams|a megabyte of output is complete|OCI-STDOUT-MIB|MUST|parity|crun|What the guest writes is what the caller reads.
streams|streams|NUL bytes pass through|OCI-STDOUT-NUL|MUST|parity|crun|What the guest writes is what the caller reads.
streams|streams|output before a trap is not lost|OCI-STDOUT-TRAP|SHOULD|parity|crun|What was written stays written.
streams|terminal|a terminal is a terminal to the guest|OCI-TERMINAL|MUST|spec|config.md#process|terminal (bool, OPTIONAL) specifies whether a terminal is attached to the process.
streams|terminal|the console size arrives|OCI-CONSOLE-SIZE|SHOULD|spec|config.md#process|consoleSize (object, OPTIONAL) specifies the console size in characters of the terminal.
filesystem|files|the root is what the image says|OCI-ROOT-PATH|MUST|spec|config.md#root|path specifies the path to the root filesystem for the container.
filesystem|files|a read-only root cannot be written|OCI-ROOT-RO|MUST|spec|config.md#root|If true then the root filesystem MUST be read-only inside the container.
filesystem|files|the working directory is the one asked for|OCI-PROC-CWD|MUST|spec|config.md#process|cwd (string, REQUIRED) is the working directory that will be set for the executable.
filesystem|files|a relative path starts at the working directory|OCI-PROC-CWD-REL|MUST|spec|config.md#process|cwd is the working directory that will be set for the executable.
filesystem|files|a bind mount is seen|OCI-MOUNT-BIND|MUST|spec|config.md#mounts|The runtime MUST mount entries in the listed order.
filesystem|files|a read-only bind mount cannot be written|OCI-MOUNT-RO|MUST|spec|config.md#mounts|ro: the mount is read-only.
filesystem|files|a file of another user is refused|OCI-FILE-DAC|MUST|parity|crun|The kernel's permission checks hold for the container's user.
filesystem|files|dot dot does not leave the root|WASI-SANDBOX-DOTDOT|MUST|spec|wasi|Paths that leave the preopened directory are refused.
filesystem|files|a symbolic link does not leave the root|WASI-SANDBOX-LINK|MUST|spec|wasi|Paths that leave the preopened directory are refused.
filesystem|files|large files seek past 4 GiB|WASI-SEEK-64|MUST|spec|wasi|Offsets are 64 bit.
user|identity|the user id is the one asked for|OCI-USER-UID|MUST|spec|config.md#user|uid (int, REQUIRED) specifies the user ID in the container namespace.
user|identity|the group id is the one asked for|OCI-USER-GID|MUST|spec|config.md#user|gid (int, REQUIRED) specifies the group ID in the container namespace.
user|identity|additional groups are set|OCI-USER-GROUPS|MUST|spec|config.md#user|additionalGids specifies additional group IDs to be added to the process.
user|identity|capabilities are dropped|OCI-CAPS|MUST|spec|config.md#linux-process|capabilities (object, OPTIONAL) specifies the set of capabilities.
user|identity|no new privileges is set|OCI-NNP|MUST|spec|config.md#linux-process|noNewPrivileges set to true prevents the process from gaining additional privileges.
lifecycle|lifecycle|create does not run the module|OCI-LIFE-CREATE|MUST|spec|runtime.md#create|Any changes to the bundle after this step will not affect the container; the user process is not run.
lifecycle|lifecycle|start runs the module|OCI-LIFE-START|MUST|spec|runtime.md#start|This operation MUST run the user-specified program as specified by process.
lifecycle|lifecycle|state is running while the guest runs|OCI-LIFE-STATE|MUST|spec|runtime.md#state|running: the container process has executed the user-specified program but has not exited.
lifecycle|lifecycle|state names the process|OCI-LIFE-PID|MUST|spec|runtime.md#state|pid (int, REQUIRED when status is created or running on Linux).
lifecycle|lifecycle|delete of a running container is refused|OCI-LIFE-DELETE|MUST|spec|runtime.md#delete|Attempting to delete a container that is not stopped MUST have no effect on the container.
lifecycle|lifecycle|delete removes the cgroup|OCI-LIFE-CGROUP|MUST|spec|runtime.md#delete|Deleting a container MUST delete the resources that were created during the create step.
lifecycle|lifecycle|poststop hooks run|OCI-HOOK-POSTSTOP|MUST|spec|config.md#posix-platform-hooks|The poststop hooks MUST be called after the container is deleted.
lifecycle|lifecycle|exec starts a second module|CRUN-EXEC|MAY|upstream-doc|crun|exec is not implemented for Wasm handlers.
lifecycle|lifecycle|pause stops the guest|CRUN-PAUSE|MAY|upstream-doc|crun|pause freezes the cgroup.
signals|signals|SIGTERM ends the guest|OCI-KILL-TERM|MUST|spec|runtime.md#kill|This operation MUST send the specified signal to the container process.
signals|signals|SIGKILL ends the guest|OCI-KILL-KILL|MUST|spec|runtime.md#kill|This operation MUST send the specified signal to the container process.
signals|signals|a guest that sleeps is ended within the grace period|OCI-KILL-SLEEP|SHOULD|parity|crun|Ends as fast as the native twin.
signals|signals|a guest that spins is ended within the grace period|OCI-KILL-SPIN|SHOULD|parity|crun|Ends as fast as the native twin.
signals|signals|the exit status after a signal is 128 plus its number|OCI-KILL-STATUS|SHOULD|parity|crun|As a shell reports it.
limits|limits|the memory limit holds|OCI-LIMIT-MEMORY|MUST|spec|config-linux.md#memory|limit (int64, OPTIONAL) sets limit of memory usage.
limits|limits|an OOM kill is counted|OCI-LIMIT-OOM|MUST|spec|config-linux.md#memory|limit sets limit of memory usage.
limits|limits|the pids limit holds|OCI-LIMIT-PIDS|MUST|spec|config-linux.md#pids|limit (int64, REQUIRED) specifies the maximum number of tasks in the cgroup.
limits|limits|the CPU quota holds|OCI-LIMIT-CPU|MUST|spec|config-linux.md#cpu|quota (int64, OPTIONAL) specifies the total amount of time in microseconds.
limits|limits|the cpuset holds|OCI-LIMIT-CPUSET|MUST|spec|config-linux.md#cpu|cpus (string, OPTIONAL) list of CPUs the container will run on.
annotations|selection|the annotation selects the engine|CRUN-HANDLER|MUST|upstream-doc|crun|run.oci.handler=wasm selects the handler.
annotations|selection|without annotation a module is not run by an engine|CRUN-NO-ANNOTATION|SHOULD|project|crun|Observation: what happens to a module without annotation.
annotations|selection|wasm-smart runs a native program natively|CRUN-SMART-NATIVE|MUST|upstream-doc|crun|module.wasm.image/variant=compat-smart skips containers that are not Wasm.
annotations|selection|an unknown handler is an error|CRUN-HANDLER-UNKNOWN|MUST|upstream-doc|crun|A handler that is not compiled in is an error.
network|network|a socket that was handed over can be used|WASI-SOCKETS|MAY|project|wasi|Preview 1 has sock_accept only.
"""

#: directory -> area, where they differ
_AREAS = {
    "arguments": "process",
    "environment": "process",
    "filesystem": "mounts",
    "user": "identity",
    "limits": "resources",
    "annotations": "detection",
    "network": "isolation",
}

HOSTILE = "</script><script>alert(1)</script> ]]> \x1b[31mred\x1b[0m \x00 \ufffe \ud800 & <b>\u202edlrow\u202c é 漢字"

PATHS: dict[str, Row] = {
    "crun-wasmedge": {
        "summary": "crun with its WasmEdge handler",
        "layers": ["crun", "wasmedge"],
        "launcher": "oci",
        "guest": "wasm",
        "engine": "wasmedge",
        "request": {"run.oci.handler": "wasm"},
        "below": None,
        "control": "crun-native",
    },
    "crun-native": {
        "summary": "crun with the native twin",
        "layers": ["crun"],
        "launcher": "oci",
        "guest": "native",
        "engine": None,
        "request": {},
        "below": None,
        "control": None,
    },
    "podman-crun-wasmedge": {
        "summary": "Podman, crun, WasmEdge",
        "layers": ["podman", "conmon", "crun", "wasmedge"],
        "launcher": "podman",
        "guest": "wasm",
        "engine": "wasmedge",
        "request": {"run.oci.handler": "wasm"},
        "below": "crun-wasmedge",
        "control": "podman-crun-native",
        "glue": ["OCI-PROC-ARGS"],
    },
    "podman-crun-native": {
        "summary": "Podman, crun, native twin",
        "layers": ["podman", "conmon", "crun"],
        "launcher": "podman",
        "guest": "native",
        "engine": None,
        "request": {},
        "below": "crun-native",
        "control": None,
    },
    "youki-wasmer": {
        "summary": "youki with Wasmer",
        "layers": ["youki", "wasmer"],
        "launcher": "oci",
        "guest": "wasm",
        "engine": "wasmer",
        "request": {"run.oci.handler": "wasm"},
        "below": None,
        "control": None,
    },
}

COMPONENTS = {
    "crun": {"crun": "1.21-1", "libwasmedge0": "0.14.1+dfsg-1"},
    "podman": {"podman": "5.4.2+ds1-2", "conmon": "2.1.12-4", "crun": "1.21-1", "libwasmedge0": "0.14.1+dfsg-1"},
    "youki": {"youki": "0.7.0", "wasmer": "4.0.0"},
}


def checks() -> list[Row]:
    """The catalogue: one row per check."""
    rows = []
    for line in _CHECKS.strip().splitlines():
        folder, file, sentence, requirement, level, basis, source, text = line.split("|")
        function = "test_" + re.sub(r"\W+", "_", sentence).strip("_").lower()
        url = {"crun": _CRUN, "wasi": _WASI}.get(source, _SPEC + source)
        rows.append(
            {
                "check": f"{folder}/test_{file}.py::{function}",
                "sentence": sentence,
                "requirement": requirement,
                "rule": {
                    "title": sentence,
                    "level": level,
                    "basis": basis,
                    "text": text,
                    "url": url,
                    "area": _AREAS.get(folder, folder),
                },
            }
        )
    return rows


def _digest(word: str) -> str:
    return hashlib.sha256(word.encode()).hexdigest()


def header() -> Row:
    """The first line of the journal."""
    return {
        "kind": "header",
        "version": 1,
        "run": {
            "id": "20261124T081500Z-ab12cd",
            "started": "2026-11-24T08:15:00Z",
            "harness": "0.1.0",
            "harness_commit": "abc1234",
            "argv": ["pytest", "suites/", "--runtime=crun-wasmedge,podman-crun-wasmedge,youki-wasmer"],
            "testbed": "sandbox",
            "strict": False,
            "workers": 1,
            "brought": {"crun": {"file": "./crun", "sha256": _digest("crun")}},
            "corpus": _digest("corpus"),
        },
        "paths": PATHS,
        "requirements": {row["requirement"]: row["rule"] for row in checks()},
    }


def path_row(path: str) -> Row:
    """Node and components of ``path``."""
    return {
        "kind": "path",
        "path": path,
        "worker": "master",
        "node": {
            "hostname": "conformance-node",
            "kernel": "6.1.0-41-amd64",
            "distribution": "Debian GNU/Linux 13 (trixie)",
            "architecture": "x86_64",
            "init": "python3",
            "cgroup_mode": "v1",
            "controllers": ["cpu", "cpuset", "memory", "pids"],
            "cpus": 2,
            "memory_mib": 24105,
            "cap_sys_resource": False,
            "apparmor": False,
        },
        "components": COMPONENTS[path.partition("-")[0]],
        "digests": {"/usr/bin/" + PATHS[path]["layers"][0]: _digest(path)},
        "canary": {"exit_42": 42, "trap": 0 if path.endswith("wasmedge") else 134},
        "seconds": 0.31,
    }


def expectation(entry: str, reason: str, *, issue: str = "", reproduction: str = "") -> Row:
    """An expectation as a record holds it."""
    return {
        "id": entry,
        "reason": reason,
        "issue": issue,
        "reproduction": reproduction,
        "affects": {"crun": "==1.21"},
        "observed": {"exit_code": 0},
    }


_TRAP = expectation(
    "crun-wasmedge.yaml:3",
    "crun's WasmEdge handler returns success after a trap",
    issue="https://github.com/containers/crun/issues/0000",
)
_CAPS = expectation(
    "crun-wasmedge.yaml:21",
    "the engine opens files with the runtime's capabilities",
    reproduction="conformance reproduce OCI-FILE-DAC --runtime crun-wasmedge",
)
_YOUKI = expectation(
    "youki-wasmer.yaml:1",
    "youki 0.7.0 with Wasmer panics on every module",
    issue="https://github.com/youki-dev/youki/issues/3672",
)


def record(path: str, check: Row, position: int) -> Row:
    """A check that passed; the scenarios below change some."""
    name = check["requirement"].lower()
    runtime = PATHS[path]["layers"][0]
    launch = f"{runtime} --root /run/conformance/state run" if PATHS[path]["launcher"] == "oci" else f"{runtime} run"
    return {
        "kind": "record",
        "id": f"{check['check']}[{path}]",
        "check": check["check"],
        "sentence": check["sentence"],
        "path": path,
        "requirement": check["requirement"],
        "raw": "passed",
        "judged": "passed",
        "reason": "",
        "skip_reason": None,
        "expectation": None,
        "message": "",
        "observations": {
            "exit_code": 0,
            "signal": None,
            "timed_out": False,
            "marker": "present",
            "engine": "libwasmedge.so.0.1.0" if PATHS[path]["guest"] == "wasm" else None,
        },
        "commands": [
            f"mkdir -p /run/conformance/{name}",
            f"{launch} --bundle /run/conformance/{name} {name}-{position}",
        ],
        "streams": {
            "stdout": _stream(f'@guest {{"target":"wasm32-wasip1","nonce":"{_digest(name)[:12]}"}}\nok {name}\n'),
            "stderr": _stream(""),
        },
        "times": {
            "first_output_seconds": 0.011 + position / 5000,
            "container_seconds": 0.021 + position / 4000,
            "check_seconds": 0.034 + position / 3000,
            "commands_seconds": 0.03,
            "harness_seconds": 0.002,
        },
        "memory_peak_bytes": 9_400_000 + position * 4096,
        "guest": {"name": name, "sha256": _digest(name), "bytes": 23456, "request": "annotation run.oci.handler=wasm"},
        "attempts": 1,
        "worker": "master",
        "started": "2026-11-24T08:15:01.123Z",
    }


def _stream(text: str) -> Row:
    return {"text": text, "bytes": len(text.encode("utf-8", "surrogatepass")), "truncated": False}


def _failed(message: str, **observed: Any) -> Row:
    return {
        "raw": "failed",
        "judged": "failed",
        "reason": "no expectation covers it",
        "message": message,
        "_observed": observed,
    }


def _expected(entry: Row, message: str, **observed: Any) -> Row:
    changed = _failed(message, **observed)
    return changed | {"judged": "expected-failure", "reason": f"as {entry['id']} says", "expectation": entry}


def _skip(code: str, reason: str) -> Row:
    return {
        "raw": "skipped",
        "judged": "skipped",
        "skip_reason": code,
        "reason": reason,
        "commands": [],
        "streams": {},
        "observations": {},
        "guest": None,
        "memory_peak_bytes": None,
        "attempts": 0,
        "times": {"first_output_seconds": None, "container_seconds": None, "check_seconds": 0.0},
    }


_TRAP_MESSAGE = "assert 0 != 0\n +  where 0 = container abc: exit 0 after 21 ms.exit_code"

#: path -> requirement -> what is different
SCENARIOS: dict[str, dict[str, Row]] = {
    "crun-wasmedge": {
        "OCI-PROC-EXIT-42": _failed("assert 0 == 42\n +  where 0 = result.exit_code", exit_code=0)
        | {"streams": {"stdout": _stream(HOSTILE), "stderr": _stream(HOSTILE * 3)}},
        "OCI-PROC-TRAP": _expected(_TRAP, _TRAP_MESSAGE, exit_code=0),
        "WASI-PANIC-RUST": _expected(_TRAP, _TRAP_MESSAGE, exit_code=0),
        "WASI-PANIC-GO": {"judged": "inconclusive", "reason": "rests on an exit code; this path does not deliver them"},
        "OCI-PROC-EXIT-256": {
            "raw": "failed",
            "judged": "noted",
            "reason": "a project observation",
            "message": "assert 0 == 1",
        },
        "OCI-FILE-DAC": _expected(_CAPS, "assert 'opened' == 'EACCES'"),
        "OCI-STDOUT-TRAP": {
            "judged": "fixed",
            "reason": "crun-wasmedge.yaml:40 expects a failure; ./crun passes",
            "expectation": expectation("crun-wasmedge.yaml:40", "buffered output is dropped"),
        },
        "OCI-STDIN-EOF": {
            "judged": "unexpected-pass",
            "reason": "crun-wasmedge.yaml:52 expects a failure",
            "expectation": expectation(
                "crun-wasmedge.yaml:52", "stdin is closed early", issue="https://github.com/containers/crun/issues/1111"
            ),
        },
        "OCI-TERMINAL": _failed("assert False\n +  where False = result.report['isatty']"),
        "OCI-CONSOLE-SIZE": _failed("assert [0, 0] == [24, 80]"),
        "OCI-LIMIT-CPUSET": _skip("unavailable", "the node has no cpuset controller"),
        "CRUN-PAUSE": _skip("unsupported", "this launcher does not pause"),
        "WASI-SOCKETS": _skip("disabled", "--no-network was given"),
        "OCI-LIMIT-CPU": {
            "raw": "error",
            "judged": "error",
            "reason": "node: connection closed (is the sandbox alive?)",
            "message": "InfrastructureError: connection closed",
            "attempts": 2,
        },
    },
    "crun-native": {
        "OCI-CONSOLE-SIZE": _failed("assert [0, 0] == [24, 80]"),
        "OCI-LIMIT-CPUSET": _skip("unavailable", "the node has no cpuset controller"),
        "CRUN-HANDLER": _skip("unsupported", "the guest is native"),
    },
    "podman-crun-wasmedge": {
        "OCI-PROC-EXIT-42": _failed("assert 0 == 42\n +  where 0 = result.exit_code", exit_code=0),
        "OCI-PROC-TRAP": _expected(_TRAP, _TRAP_MESSAGE, exit_code=0),
        "OCI-PROC-ENV-ONLY": _failed(
            "assert {'HOME', 'PATH', 'container'} == set()", added=["HOME", "PATH", "container"]
        ),
        "CRUN-PAUSE": _skip("unsupported", "this launcher does not pause"),
        "OCI-LIFE-CREATE": _skip("unsupported", "podman has no separate create and start"),
    },
    "podman-crun-native": {
        "OCI-PROC-ENV-ONLY": _failed(
            "assert {'HOME', 'PATH', 'container'} == set()", added=["HOME", "PATH", "container"]
        ),
    },
    "youki-wasmer": {},
}

#: checks without a record: the run was killed, or a worker died
MISSING = "network/test_network.py::test_a_socket_that_was_handed_over_can_be_used[podman-crun-wasmedge]"


def records() -> list[Row]:
    """All records, in the order of the plan."""
    rows = []
    for path, scenario in SCENARIOS.items():
        for position, check in enumerate(checks()):
            row = record(path, check, position)
            if path == "youki-wasmer":
                row |= _expected(_YOUKI, "assert not proven: no announcement", marker="absent", exit_code=101)
                row["streams"] = {"stdout": _stream(""), "stderr": _stream("thread 'main' panicked at wasmer.rs:41\n")}
            row |= scenario.get(check["requirement"], {})
            row["observations"] = row["observations"] | row.pop("_observed", {})
            rows.append(row)
    return rows


def end(status: int = 3) -> Row:
    """The last line."""
    return {"kind": "end", "finished": "2026-11-24T08:15:29Z", "exit_status": status, "interrupted": False}


def write(
    directory: Path,
    change: Callable[[Row], Row | None] = lambda row: row,
    *,
    status: int | None = 3,
) -> Path:
    """Write the run into ``directory``.

    Args:
        directory: made if it is not there.
        change: gets every record; returns it changed, or None for a record that is missing.
        status: exit status in the end line; None for a run that was killed.
    """
    directory.mkdir(parents=True, exist_ok=True)
    rows = records()
    planned = [{key: row[key] for key in ("id", "check", "path", "requirement")} for row in rows]
    plan = {"version": 1, "run": header()["run"]["id"], "planned": planned}
    (directory / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
    with Journal(directory) as journal:
        journal.write(header())
        for path in PATHS:
            journal.write(path_row(path))
        for row in rows:
            changed = change(row) if row["id"] != MISSING else None
            if changed is not None:
                journal.write(changed)
        if status is not None:
            journal.write(end(status))
    return directory
