#!/usr/bin/python3 -IS
"""crun with exactly one thing broken: a wrapper round the real one, once for each fault.

``run.py`` writes an executable file for each mutant: this program, the mutant's function
and its name as ``CHOSEN``. The harness installs it as ``--component crun=FILE``.
What a mutant does not touch is handed to the real crun by ``exec``, so that the proof of
the engine, pid files and cgroups stay as they are.

To add one, write a function with ``@mutant(...)`` that changes the call it gets: its
docstring says what is broken, ``kills`` which checks must turn red (globs of check ids;
``!`` takes some out again), ``fixes`` which known failures must be gone.

Standard library only, and little of it: it is started some 300 times in a run.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, NoReturn

CHOSEN = ""
REAL = "/usr/bin/crun"
HANDLER, VARIANT = "run.oci.handler", "module.wasm.image/variant"


# ---- one call of the runtime


class Call:
    """A command line, and the configuration that goes with it; a mutant changes either."""

    def __init__(self, argv: list[str]) -> None:
        self.name, self.global_options = argv[0], []
        rest = argv[1:]
        while rest and rest[0].startswith("-"):
            count = 2 if rest[0] == "--root" else 1
            self.global_options += rest[:count]
            rest = rest[count:]
        self.command = rest[0] if rest else ""
        self.arguments = rest[1:]
        self._config: dict[str, Any] = {}

    @property
    def root(self) -> str:
        """The directory of the containers' states."""
        return self.global_options[self.global_options.index("--root") + 1]

    @property
    def id(self) -> str:
        """The container; the last argument, but for ``exec`` and ``kill``."""
        if self.command in ("exec", "kill"):
            return next((a for a in self.arguments if not a.startswith("-")), "")
        return self.arguments[-1] if self.arguments else ""

    @id.setter
    def id(self, value: str) -> None:
        self.arguments[self.arguments.index(self.id)] = value

    def option(self, name: str) -> str:
        """The value of an option of the command; empty without it."""
        return self.arguments[self.arguments.index(name) + 1] if name in self.arguments else ""

    def drop_option(self, name: str) -> None:
        """Take an option and its value out."""
        if name in self.arguments:
            at = self.arguments.index(name)
            del self.arguments[at : at + 2]

    @property
    def config(self) -> dict[str, Any]:
        """The bundle's configuration. What is changed here goes into a copy: the bundle stays as it is."""
        if not self._config:
            self._config = read_json(f"{self.option('--bundle')}/config.json")
        return self._config

    @property
    def process(self) -> dict[str, Any]:
        """``process``; changes to a missing one have no effect."""
        found: dict[str, Any] = self.config.get("process", {})
        return found

    @property
    def module(self) -> str:
        """Name of the workload."""
        args: list[str] = self.process.get("args") or [""]
        return os.path.basename(args[0]).removesuffix(".wasm")

    @property
    def program(self) -> str:
        """The program's file on the node."""
        args = self.process.get("args") or [""]
        place = os.path.join(self.process.get("cwd", "/"), args[0])
        return os.path.normpath(f"{self.config['root']['path']}/{place}")

    @property
    def begins_with(self) -> bytes:
        """The program's first bytes; none where it is no file."""
        try:
            with open(self.program, "rb") as file:
                return file.read(8)
        except OSError:
            return b""

    @property
    def annotations(self) -> dict[str, str]:
        found: dict[str, str] = self.config["annotations"]
        return found

    @property
    def group(self) -> str:
        """The container's cgroup, below each hierarchy."""
        found: str = self.config["linux"]["cgroupsPath"]
        return found

    def argv(self) -> list[str]:
        """The command line for the real runtime."""
        config = []
        if self._config:
            import json

            copy = f"{self.option('--bundle')}/config.mutant.json"
            with open(copy, "w") as file:
                json.dump(self._config, file)
            config = ["--config", copy]
        command = [self.command] if self.command else []
        return [self.name, *self.global_options, *command, *config, *self.arguments]

    def exec(self) -> NoReturn:
        """Become the real runtime."""
        os.execv(REAL, self.argv())

    def wait(self) -> int:
        """Run the real runtime to its end; its wait status."""
        return os.waitpid(os.posix_spawn(REAL, self.argv(), os.environ), 0)[1]

    def captured(self) -> tuple[int, bytes, bytes]:
        """Run the real runtime to its end; wait status and both streams."""
        streams = {1: b"", 2: b""}

        def keep(number: int) -> Callable[[bytes, bool], bytes]:
            def kept(data: bytes, _: bool) -> bytes:
                streams[number] += data
                return b""

            return kept

        status = self.relayed(keep(1), keep(2))
        return status, streams[1], streams[2]

    def relayed(
        self, out: Callable[[bytes, bool], bytes], err: Callable[[bytes, bool], bytes], to: tuple[int, int] = (1, 2)
    ) -> int:
        """Run the real runtime, its streams through a filter each; its wait status.

        A filter gets the bytes as they come and whether they are the last, and gives what goes on.
        """
        import select

        (out_read, out_write), (err_read, err_write) = os.pipe(), os.pipe()
        actions = [(os.POSIX_SPAWN_DUP2, out_write, 1), (os.POSIX_SPAWN_DUP2, err_write, 2)]
        pid = os.posix_spawn(REAL, self.argv(), os.environ, file_actions=actions)
        os.close(out_write)
        os.close(err_write)
        open_ends = {out_read: (out, to[0]), err_read: (err, to[1])}
        while open_ends:
            for end in select.select(list(open_ends), [], [])[0]:
                change, sink = open_ends[end]
                data = os.read(end, 65536)
                write_all(sink, change(data, not data))
                if not data:
                    del open_ends[end]
        return os.waitpid(pid, 0)[1]

    # ---- what is remembered from one call to the next

    def mark(self, text: str = "") -> None:
        os.makedirs(f"{self.root}-mutant", exist_ok=True)
        with open(f"{self.root}-mutant/{self.id}", "w") as file:
            file.write(text)

    def unmark(self) -> None:
        if self.marked:
            os.unlink(f"{self.root}-mutant/{self.id}")

    @property
    def marked(self) -> bool:
        return os.path.exists(f"{self.root}-mutant/{self.id}")

    @property
    def there(self) -> bool:
        """The container has a state."""
        return "/" not in self.id and os.path.isdir(f"{self.root}/{self.id}")

    def state(self) -> dict[str, Any]:
        """What the real runtime says of the container; empty for an unknown one."""
        import json

        asking = Call([self.name, *self.global_options, "state", self.id])
        status, out, _ = asking.captured()
        found: dict[str, Any] = {} if status else json.loads(out)
        return found


def read_json(file: str) -> Any:
    import json

    with open(file) as text:
        return json.load(text)


def write_all(descriptor: int, data: bytes) -> None:
    while data:
        try:
            data = data[os.write(descriptor, data) :]
        except BrokenPipeError:
            return


def leave(status: int) -> NoReturn:
    """End as a process with this wait status has ended."""
    if os.WIFSIGNALED(status):
        end_by_signal(os.WTERMSIG(status))
    os._exit(os.WEXITSTATUS(status))


def end_by_signal(number: int) -> NoReturn:
    import signal

    if number in (signal.SIGSEGV, signal.SIGABRT):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if number != signal.SIGKILL:
        signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    os._exit(128 + number)


def refuse(message: str, code: int = 1) -> NoReturn:
    """Say why and leave, as the real runtime does."""
    write_all(2, message.encode() + b"\n")
    os._exit(code)


def unchanged(data: bytes, _: bool) -> bytes:
    return data


def nothing(_: bytes, __: bool) -> bytes:
    return b""


def by_line(change: Callable[[bytes], bytes]) -> Callable[[bytes, bool], bytes]:
    """A filter out of a function of one line, its end included."""
    rest = b""

    def changed(data: bytes, last: bool) -> bytes:
        nonlocal rest
        whole, newline, rest = (rest + data).rpartition(b"\n")
        done = b"".join(change(line) for line in (whole + newline).splitlines(keepends=True)) if newline else b""
        return done + (change(rest) if last and rest else b"")

    return changed


def hierarchies() -> list[str]:
    """Mount points of every cgroup hierarchy."""
    with open("/proc/self/mounts") as file:
        rows = [line.split() for line in file]
    return [row[1] for row in rows if row[2] in ("cgroup", "cgroup2")]


# ---- the mutants


class Mutant:
    """One way of being broken.

    Attributes:
        commands: of the runtime that are not handed on unseen.
        kills: globs of the checks that must turn red.
        fixes: globs of the known failures that must be gone.
        only: files that are run, where the whole suite would wait for too many deadlines.
    """

    def __init__(
        self, change: Callable[[Call], None], commands: Iterable[str], kills: Iterable[str], fixes: Iterable[str],
        only: Iterable[str],
    ) -> None:  # fmt: skip
        self.name = change.__name__.replace("_", "-")
        self.change, self.about = change, (change.__doc__ or "").strip()
        self.commands, self.kills, self.fixes, self.only = tuple(commands), tuple(kills), tuple(fixes), tuple(only)


MUTANTS: dict[str, Mutant] = {}
CONTAINER = ("create", "run")


def mutant(
    *kills: str, on: Iterable[str] = CONTAINER, fixes: Iterable[str] = (), only: Iterable[str] = ()
) -> Callable[[Callable[[Call], None]], Callable[[Call], None]]:
    """Register a mutant; see :class:`Mutant`."""

    def register(change: Callable[[Call], None]) -> Callable[[Call], None]:
        one = Mutant(change, on, kills, fixes, only)
        MUTANTS[one.name] = one
        return change

    return register


# Nothing broken: a red check here would be the wrapper's doing, in every other mutant too.


@mutant(on=())
def unbroken(_: Call) -> None:
    """Nothing: each call goes straight to the real runtime."""


@mutant(on=(*CONTAINER, "state", "kill", "start", "delete"))
def unbroken_but_in_the_way(call: Call) -> None:
    """Nothing: but the configuration is a copy, and all streams pass through this program."""
    if call.command == "create":
        call.config["annotations"] = dict(call.annotations)
        leave(call.wait())
    if call.command == "run":
        call.config["annotations"] = dict(call.annotations)
    leave(call.relayed(by_line(lambda line: line), unchanged))


# Environment and arguments.


@mutant(
    "process/test_environment.py::*complete", "process/test_environment.py::*white_space*",
    "process/test_environment.py::*stays_outside", "process/test_languages.py::*rust*",
    "lifecycle/test_states.py::*config_json*",
    fixes=("isolation/test_isolation.py::*plug_in*",),
)  # fmt: skip
def drops_one_variable(call: Call) -> None:
    """The first variable of the environment is missing."""
    call.process["env"] = call.process.get("env", [])[1:]


@mutant("process/test_environment.py::*stays_outside")
def adds_a_variable_of_the_host(call: Call) -> None:
    """A variable of the runtime's own environment reaches the guest."""
    leaked = os.environ.get("CONFORMANCE_OUTSIDE")
    if leaked:
        call.process["env"].append(f"CONFORMANCE_OUTSIDE={leaked}")


@mutant("process/test_environment.py::*white_space*")
def trims_white_space_of_variables(call: Call) -> None:
    """White space round a variable's value is gone."""
    call.process["env"] = ["=".join(part.strip() for part in v.split("=")) for v in call.process.get("env", ())]


@mutant(
    "process/test_arguments.py::*whole*", "process/test_languages.py::*rust*", "mounts/test_files.py::*",
    "mounts/test_device_links.py::*", "identity/test_identity.py::*hostname*", "isolation/test_isolation.py::*network*",
    "isolation/test_isolation.py::*overwritten*",
)  # fmt: skip
def joins_arguments(call: Call) -> None:
    """All arguments after the program arrive as one."""
    args = call.process.get("args", [])
    call.process["args"] = [*args[:1], *([" ".join(args[1:])] if args[1:] else [])]


@mutant("process/test_arguments.py::*whole*")
def drops_empty_arguments(call: Call) -> None:
    """An empty argument is left out."""
    call.process["args"] = [a for a in call.process.get("args", ()) if a]


@mutant("process/test_arguments.py::*name")
def changes_the_program_s_name(call: Call) -> None:
    """``argv[0]`` is spelt in another way than it was given."""
    args = call.process.get("args", [])
    if args and args[0].startswith("/"):
        args[0] = "/." + args[0]


@mutant("process/test_working_directory.py::*relative_module*")
def ignores_cwd(call: Call) -> None:
    """The working directory is ``/``, whatever was asked for."""
    if "cwd" in call.process:
        call.process["cwd"] = "/"


@mutant(fixes=("process/test_working_directory.py::*relative_path*",))
def begins_at_cwd(call: Call) -> None:
    """A relative path of the guest starts at the working directory."""
    if call.module == "working-directory":
        place = call.config["root"]["path"] + call.process["cwd"]
        for name in os.listdir(place):
            source = f"{place}/{name}"
            mount = {"destination": f"/{name}", "type": "bind", "source": source, "options": ["bind"]}
            call.config["mounts"].append(mount)


# Exit codes.

NOT_ZERO = (
    "detection/*no_program", "detection/*refused_by_name", "detection/*refuses_the_annotation", "detection/*library*",
    "lifecycle/test_hooks.py::*fails*", "lifecycle/test_hook_places.py::*before_the_guest*",
    "lifecycle/test_signals.py::*run_tells*", "process/*a_trap_is_a_failure", "process/*rust_panic*",
    "rejection/test_modules.py::*", "resources/*137", "sidecar/*visibly", "sidecar/*cri_o*",
    "rejection/test_configuration.py::*", "!rejection/*unknown_properties*", "!rejection/*limit*",
    "rejection/*hook_with_a_relative*", "rejection/*one_id_mapping*", "rejection/*root_that*",
    "rejection/*errno_for*", "rejection/*idmap_without*",
)  # fmt: skip


@mutant(*NOT_ZERO, on=("run",))
def always_succeeds(call: Call) -> None:
    """``run`` ends with exit code 0, whatever happened."""
    call.wait()
    leave(0)


@mutant(
    "detection/*", "!detection/*no_program", "!detection/*refuses_the_annotation", "!detection/*library*",
    "!detection/*features*", "lifecycle/*run_tells*", "process/test_exit_codes.py::*", "!process/*a_trap*",
    "!process/*rust_panic*", "!process/*parent*", "process/test_languages.py::*rust*", "process/*module*",
    "rejection/*unknown_properties*", "rejection/*text_format*", "resources/*137", "resources/*ends_well",
    "resources/*32_mib*", "sidecar/*natively", "lifecycle/*changes_nothing", "identity/test_rootless.py::*",
    "process/*without_any_variable", "process/*console_size*", on=("run",),
)  # fmt: skip
def exit_code_plus_one(call: Call) -> None:
    """``run`` ends with an exit code that is one too high."""
    status = call.wait()
    leave(min(os.WEXITSTATUS(status) + 1, 255) << 8 if os.WIFEXITED(status) else status)


@mutant("*::test_a_trap_is_a_failure", "*::test_a_rust_panic*", on=("run",))
def a_trap_is_a_success(call: Call) -> None:
    """A guest that traps ends with exit code 0."""
    if call.module in ("trap", "rust-panic"):
        call.wait()
        leave(0)


@mutant(fixes=("process/test_exit_codes.py::*42*", "process/test_exit_codes.py::*go*"))
def hands_on_exit_code_42(call: Call) -> None:
    """The guest's exit code reaches the caller of ``run``, and the parent of the container's process."""
    if call.module not in ("exit-42", "go-exit-42"):
        return
    if call.command == "run":
        leave(42 << 8 if call.wait() == 0 else 1)
    pid_file = call.option("--pid-file")
    status = call.wait()
    with open(pid_file) as file:
        pid = int(file.read())
    ready, done = os.pipe()
    if os.fork() == 0:
        stand_in = os.fork()
        if stand_in:
            os.write(done, str(stand_in).encode())
            os._exit(0)
        os.close(done)
        end = os.pidfd_open(pid)
        import select

        select.select([end], [], [])
        os._exit(42)
    with open(pid_file, "w") as file:
        file.write(os.read(ready, 20).decode())
    leave(status)


# Streams.


@mutant(
    "process/test_streams.py::*", "!process/*input*", "!process/*console_size*", "process/*rust_panic*", on=("run",)
)
def swaps_the_streams(call: Call) -> None:
    """Standard output and standard error are exchanged."""
    if call.module in ("streams", "rust-panic", "bytes"):
        leave(call.relayed(unchanged, unchanged, to=(2, 1)))


@mutant("process/test_streams.py::*stdout_and_stderr*", on=("run",))
def cuts_output_at_64_kib(call: Call) -> None:
    """What goes past 64 KiB of standard output is lost."""
    room = 65536

    def cut(data: bytes, _: bool) -> bytes:
        nonlocal room
        kept = data[:room]
        room -= len(kept)
        return kept

    leave(call.relayed(cut, unchanged))


@mutant("process/test_streams.py::*stdout_and_stderr*", "process/test_streams.py::*no_text*", on=("run",))
def adds_a_newline(call: Call) -> None:
    """Standard output gets a newline at its end."""
    leave(call.relayed(lambda data, last: data + b"\n" * last, unchanged))


@mutant("process/test_streams.py::*no_text*", on=("run",))
def replaces_invalid_utf_8(call: Call) -> None:
    """Bytes that are no UTF-8 arrive as U+FFFD."""
    leave(call.relayed(by_line(lambda line: line.decode("utf-8", "replace").encode()), unchanged))


@mutant(
    "process/test_streams.py::*stdout_and_stderr*", "process/*rust_panic*", "detection/*library*",
    "detection/*refuses_the_annotation", "identity/*does_not_exist_is_a_warning", on=("run",),
)  # fmt: skip
def says_nothing_on_stderr(call: Call) -> None:
    """Standard error is thrown away, the guest's and the runtime's own."""
    leave(call.relayed(unchanged, nothing))


@mutant("process/test_streams.py::*input*", "!process/*terminal*", "process/test_languages.py::*rust*", on=("run",))
def drops_standard_input(call: Call) -> None:
    """Standard input is empty; but for a guest that a check holds on it."""
    if call.module != "hold":
        os.dup2(os.open("/dev/null", os.O_RDONLY), 0)


@mutant("process/test_streams.py::*input*", "!process/*terminal*", on=("run",), only=("process/test_streams.py",))
def never_ends_standard_input(call: Call) -> None:
    """Standard input arrives, but not its end."""
    first = os.read(0, 65536)
    if not first:
        return
    read, write = os.pipe()
    if os.fork() == 0:
        for end in (read, 1, 2):
            os.close(end)
        while first:
            write_all(write, first)
            first = os.read(0, 65536)
        import signal

        signal.pause()
    os.close(write)
    os.dup2(read, 0)


@mutant("process/*a_terminal*", on=("create",))
def gives_no_terminal(call: Call) -> None:
    """``process.terminal`` is ignored."""
    if call.process.get("terminal"):
        call.process["terminal"] = False
        call.drop_option("--console-socket")


@mutant("process/*clocks*", on=("run",))
def the_clock_is_an_hour_slow(call: Call) -> None:
    """The guest's wall clock is an hour behind the node's."""
    import json

    def slow(line: bytes) -> bytes:
        if not line.startswith(b"@report "):
            return line
        said = json.loads(line[8:])
        said["realtime_seconds"] -= 3600
        return b"@report " + json.dumps(said).encode() + b"\n"

    if call.module == "clock-random":
        leave(call.relayed(by_line(slow), unchanged))


# The request for Wasm, and the proof that it was granted.

#: Checks of a guest that the engine must have run, and that do not fail anyway.
IN_THE_ENGINE = (
    "*", "!node/*", "!sidecar/*", "!rejection/*", "rejection/*unknown_properties*", "!*shared_object*",
    "!*plug_in*", "!*before_the_guest*", "!*createruntime_hook*", "!*within_a_second*",
)  # fmt: skip


#: Values that crun accepts although it should not: seen as soon as a guest does run.
ACCEPTED = (
    "rejection/*device_s_place*", "rejection/*timeout_of_zero*", "rejection/*relative_working*",
    "rejection/*without_a_system_call*", "rejection/*ociversion*",
)  # fmt: skip


@mutant(
    *IN_THE_ENGINE, "!detection/*compat*", "!detection/*smart*", "!detection/*no_program", "!detection/*by_name",
    "!detection/*needs_no_annotation", "rejection/*unknown_import*", "rejection/*native_program*",
    "rejection/*without_config_json*",
    fixes=("isolation/*shared_object*", "rejection/*limit*", "sidecar/*cri_o*", *ACCEPTED),
)  # fmt: skip
def ignores_the_handler_wasm(call: Call) -> None:
    """``run.oci.handler=wasm`` is ignored."""
    if call.annotations.get(HANDLER) == "wasm":
        del call.annotations[HANDLER]


@mutant("detection/*compat_runs*", "detection/*under_compat", "sidecar/*visibly")
def ignores_the_variant_compat(call: Call) -> None:
    """``module.wasm.image/variant=compat`` is ignored."""
    if call.annotations.get(VARIANT) == "compat":
        del call.annotations[VARIANT]


@mutant("sidecar/*smart*")
def takes_smart_for_compat(call: Call) -> None:
    """``wasm-smart`` and ``compat-smart`` hand native programs to the engine too."""
    for key in (HANDLER, VARIANT):
        if key in call.annotations:
            call.annotations[key] = call.annotations[key].removesuffix("-smart")


@mutant("detection/*no_program", "detection/*needs_no_annotation")
def takes_every_program_for_wasm(call: Call) -> None:
    """Without annotation the engine runs the program."""
    if not {HANDLER, VARIANT} & set(call.annotations):
        call.annotations[HANDLER] = "wasm"


@mutant("detection/*library*", on=("run",))
def does_without_its_library(call: Call) -> None:
    """A missing engine library is no error."""
    with open("/proc/self/mounts") as file:
        hidden = "libwasmedge" in file.read()
    if hidden:
        call.captured()
        leave(0)


@mutant(
    *IN_THE_ENGINE, "!detection/*shadows*", "!detection/*under_compat", "!detection/*executable", "!*relative_module*",
    "!*without_process*", "rejection/*limit*", "rejection/*without_config_json*", *ACCEPTED,
)  # fmt: skip
def runs_the_native_twin(call: Call) -> None:
    """The guest's native twin runs in place of the module."""
    run_natively(call)


@mutant("process/test_arguments.py::*", on=("run",))
def runs_the_native_twin_and_lies(call: Call) -> None:
    """A native twin runs in place of a module, and says that it was compiled for Wasm."""
    if call.module != "arguments":
        return
    run_natively(call)
    leave(call.relayed(by_line(lambda line: line.replace(b"x86_64-linux", b"wasm32-wasip1")), unchanged))


def run_natively(call: Call) -> None:
    """Exchange module and native twin, where there is one."""
    args, root = call.process.get("args") or [""], call.config["root"]["path"]
    twin = args[0].removesuffix(".wasm")
    if twin != args[0] and os.path.exists(f"{os.path.dirname(root)}/native/{twin}"):
        args[0] = twin
        call.config["root"]["path"] = f"{os.path.dirname(root)}/native"
        call.annotations.pop(HANDLER, None)
        call.annotations.pop(VARIANT, None)


@mutant("process/*proc_exit_0*", "process/*256*", "process/*a_trap*")
def runs_another_module(call: Call) -> None:
    """A module that does nothing runs in place of some others."""
    if call.module in ("exit-explicit-0", "exit-256", "trap"):
        call.process["args"][0] = "/exit-return-0.wasm"


@mutant("process/test_environment.py::*", "!process/*without_any_variable", on=("run",))
def replays_an_old_output(call: Call) -> None:
    """What a guest prints is from an earlier run: its nonce is not this one's."""
    import re

    def older(line: bytes) -> bytes:
        return re.sub(rb'"nonce":"\w+"', b'"nonce":"0123456789abcdef"', line)

    if call.module == "environment":
        leave(call.relayed(by_line(older), unchanged))


@mutant(fixes=("detection/*refused_by_name", "sidecar/*cri_o*", "rejection/*limit*"))
def knows_handlers_and_marks(call: Call) -> None:
    """Unknown handlers are refused by name, so are doubled limits; CRI-O's pause containers run natively."""
    if call.annotations.get(HANDLER) == "no-such-handler":
        refuse("unknown handler `no-such-handler`")
    if "io.kubernetes.cri-o.ContainerType" in call.annotations:
        call.annotations["io.kubernetes.cri.container-type"] = call.annotations["io.kubernetes.cri-o.ContainerType"]
    kinds = [limit["type"] for limit in call.process.get("rlimits", ())]
    if len(kinds) != len(set(kinds)):
        refuse("duplicate rlimit")


@mutant("sidecar/*containerd*")
def runs_pause_containers_in_the_engine(call: Call) -> None:
    """containerd's mark of a pause container is ignored."""
    call.annotations.pop("io.kubernetes.cri.container-type", None)


# The node.


@mutant("node/*interpreter*", on=("run",))
def registers_an_interpreter_for_wasm(call: Call) -> None:
    """``binfmt_misc`` has an entry that hands modules to a program."""
    place = "/proc/sys/fs/binfmt_misc"
    if not os.path.exists(f"{place}/wasm"):
        os.waitpid(os.posix_spawn("/usr/bin/mount", ["mount", "-t", "tmpfs", "tmpfs", place], os.environ), 0)
        with open(f"{place}/wasm", "w") as file:
            file.write("enabled\nmagic 0061736d\n")


# What is no runnable module.

ALL_MALFORMED = ("rejection/test_modules.py::*", "!*missing_program*", "!*text_format*", "!*empty_args*")
MALFORMED = ("truncated", "elf", "empty", "directory", "component", "reactor", "unknown-import")


@mutant(*ALL_MALFORMED, on=("run",))
def malformed_modules_succeed(call: Call) -> None:
    """What is no runnable module ends with exit code 0 and without a word."""
    if call.module in MALFORMED:
        leave(0)


@mutant(*ALL_MALFORMED, on=("run",))
def crashes_on_malformed_modules(call: Call) -> None:
    """The runtime crashes over what is no runnable module."""
    if call.module in MALFORMED:
        end_by_signal(11)


@mutant("rejection/*reason", "rejection/*reactor*", "rejection/*import*", "rejection/*missing_program*", on=("run",))
def refuses_without_a_word(call: Call) -> None:
    """What cannot be run is refused, but nobody is told why."""
    if call.module in (*MALFORMED, "no-such-program"):
        leave(call.captured()[0])


@mutant("rejection/*native_program*", "sidecar/*visibly", fixes=("sidecar/*cri_o*",))
def runs_elf_files_natively(call: Call) -> None:
    """A native program runs natively, although Wasm was asked for."""
    if call.begins_with[:4] == b"\x7fELF" and call.module != "shared-object":
        call.annotations.pop(HANDLER, None)
        call.annotations.pop(VARIANT, None)


@mutant("rejection/*empty_args*")
def finds_something_for_empty_args(call: Call) -> None:
    """Without ``args`` some program of the root file system runs."""
    if call.process.get("args") == []:
        call.process["args"] = ["/exit-return-0.wasm"]


@mutant(on=("run",), fixes=("rejection/*text*",))
def compiles_the_text_format(call: Call) -> None:
    """A module in text format is compiled and run."""
    if call.process.get("args", [""])[0] == "/text.wat":
        call.process["args"] = ["/exit-return-0.wasm"]
        call.process["env"] = []
        leave(call.relayed(by_line(lambda line: line.replace(b'"exit-return-0"', b'"text"')), unchanged))


@mutant("rejection/*given_twice*", "!rejection/*limit*")
def takes_any_namespaces(call: Call) -> None:
    """Namespaces given twice or with a wrong path are put right without a word."""
    seen = {}
    for one in call.config["linux"]["namespaces"]:
        path = one.get("path", "")
        if path and not (path.startswith("/proc/") and path.endswith(f"ns/{one['type']}"[:6])):
            one = {"type": one["type"]}
        seen[one["type"]] = one
    call.config["linux"]["namespaces"] = list(seen.values())


# From create to delete.


@mutant("lifecycle/*does_not_run_the_guest", "lifecycle/*then_running*", on=("create", "start"))
def create_runs_the_guest(call: Call) -> None:
    """``create`` starts the guest; the first ``start`` does nothing."""
    if call.command == "start":
        if call.marked:
            call.unmark()
            leave(0)
        return
    status = call.wait()
    if status == 0:
        Call([call.name, *call.global_options, "start", call.id]).wait()
        call.mark()
    leave(status)


@mutant("lifecycle/*then_running*", "lifecycle/*stopped_container*", "lifecycle/*busy*", on=("state",))
def every_container_is_running(call: Call) -> None:
    """``state`` says ``running``, whatever the container does."""
    import json

    status, out, err = call.captured()
    if status == 0:
        out = json.dumps({**json.loads(out), "status": "running"}).encode()
    write_all(1, out)
    write_all(2, err)
    leave(status)


@mutant(
    "lifecycle/*then_running*", "lifecycle/*stopped_container*", "lifecycle/*busy*", "lifecycle/*running_container*",
    "lifecycle/*pid_file*", "lifecycle/*its_schema*", "lifecycle/*term_is_not*", "lifecycle/*never_hangs",
    on=("state",),
)  # fmt: skip
def the_state_is_no_json(call: Call) -> None:
    """``state`` prints JSON with a comma too many."""
    leave(call.relayed(by_line(lambda line: line.replace(b"{", b"{,")), unchanged))


@mutant("lifecycle/*unknown_container*", "lifecycle/*test_delete_leaves_no*", on=("state",))
def an_unknown_container_is_stopped(call: Call) -> None:
    """``state`` of a container that does not exist says ``stopped``."""
    if call.id and not call.there:
        write_all(1, b'{"ociVersion": "1.0.2", "id": "%s", "status": "stopped"}' % call.id.encode())
        leave(0)


@mutant("lifecycle/*start_of_a_running*", on=("start",))
def start_twice_succeeds(call: Call) -> None:
    """``start`` of a running container reports success."""
    if call.there and call.state().get("status") == "running":
        leave(0)


@mutant("lifecycle/*id_in_use*", on=("create",))
def an_id_in_use_is_accepted(call: Call) -> None:
    """``create`` with an id in use reports success."""
    if call.id and call.there:
        leave(0)


@mutant("lifecycle/*leaves_its_directory*", on=(*CONTAINER, "start", "state", "kill", "delete"))
def accepts_any_id(call: Call) -> None:
    """An id with slashes is accepted, and changed to one that works."""
    if "/" in call.id:
        if call.command == "create":
            call.config["linux"]["cgroupsPath"] = call.group.replace("/../", "/")
        call.id = call.id.replace("../", "")


@mutant("lifecycle/*delete_of_a_running*", on=("delete",))
def delete_ends_a_running_container(call: Call) -> None:
    """``delete`` kills what runs."""
    if call.arguments:
        call.arguments = ["--force", call.id]


@mutant("lifecycle/*test_delete_leaves*", "!*only_used", on=("create", "delete"))
def delete_leaves_the_cgroup(call: Call) -> None:
    """``delete`` leaves the container's cgroup."""
    if call.command == "create":
        call.mark(call.group)
        return
    if not call.marked:
        return
    with open(f"{call.root}-mutant/{call.id}") as file:
        group = file.read()
    call.unmark()
    status = call.wait()
    for hierarchy in hierarchies():
        os.makedirs(hierarchy + group, exist_ok=True)
    leave(status)


@mutant("lifecycle/*test_delete_leaves*", "!*only_used", on=("delete",))
def delete_leaves_the_state(call: Call) -> None:
    """``delete`` leaves a directory of the container's state."""
    if not call.there:
        return
    status = call.wait()
    os.makedirs(f"{call.root}/{call.id}", exist_ok=True)
    leave(status)


@mutant("lifecycle/*test_run_leaves*", "lifecycle/*changes_nothing", on=("run",))
def run_leaves_the_state(call: Call) -> None:
    """``run`` leaves a directory of the container's state where all went well."""
    status = call.wait()
    if status == 0:
        os.makedirs(f"{call.root}/{call.id}", exist_ok=True)
    leave(status)


@mutant("lifecycle/*config_json*", on=("create", "start"))
def reads_the_configuration_again_at_start(call: Call) -> None:
    """``start`` makes the container anew where ``config.json`` has changed since ``create``."""
    if call.command == "create":
        with open(f"{call.option('--bundle')}/config.json") as file:
            call.mark(file.read())
        return
    bundle = call.state().get("bundle", "")
    with open(f"{bundle}/config.json") as now, open(f"{call.root}-mutant/{call.id}") as then:
        if now.read() == then.read():
            return
    pid = call.state()["pid"]
    streams = [os.open(f"/proc/{pid}/fd/{n}", os.O_RDONLY if n == 0 else os.O_WRONLY) for n in (0, 1, 2)]
    Call([call.name, *call.global_options, "delete", "--force", call.id]).wait()
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    Call([call.name, *call.global_options, "create", "--bundle", bundle, call.id]).wait()


@mutant("lifecycle/*without_process*", on=("create", "start"))
def does_not_miss_a_process(call: Call) -> None:
    """A container without ``process`` is made and started with success."""
    if call.command == "create" and not call.process:
        call.mark()
    if call.marked:
        leave(0)


@mutant("lifecycle/*pid_file*", "lifecycle/*then_running*", only=("lifecycle/test_states.py",), on=("create",))
def the_pid_file_names_the_runtime(call: Call) -> None:
    """The pid file holds the pid of the runtime's process that has made the container."""
    pid_file = call.option("--pid-file")
    call.drop_option("--pid-file")
    with open(pid_file, "w") as file:
        file.write(str(os.getpid()))


@mutant("lifecycle/*exec_runs*", "lifecycle/*never_hangs", on=("exec",), only=("lifecycle/test_states.py",))
def exec_hangs(_: Call) -> None:
    """``exec`` does not end."""
    import signal

    signal.pause()


@mutant(on=("exec",), fixes=("lifecycle/*exec_runs*",))
def exec_runs_another_guest(call: Call) -> None:
    """``exec`` runs a second guest; here in a container beside the first."""
    import json

    state = call.state()
    config = read_json(f"{state['bundle']}/config.json")
    config["process"]["args"] = call.arguments[1:]
    config["linux"]["cgroupsPath"] += "-exec"
    config.pop("hooks")
    bundle = f"{call.root}-mutant/{call.id}-bundle"
    os.makedirs(bundle)
    with open(f"{bundle}/config.json", "w") as file:
        json.dump(config, file)
    leave(Call([call.name, *call.global_options, "run", "--bundle", bundle, f"{call.id}-exec"]).wait())


@mutant("lifecycle/*busy*", on=("pause", "resume"))
def pause_does_nothing(_: Call) -> None:
    """``pause`` and ``resume`` report success and do nothing."""
    leave(0)


@mutant("lifecycle/*busy*", on=("pause", "resume", "state"))
def pause_does_nothing_but_say_so(call: Call) -> None:
    """``pause`` only makes ``state`` say ``paused``."""
    if call.command == "pause":
        call.mark()
        leave(0)
    if call.command == "resume":
        call.unmark()
        leave(0)
    if call.marked:
        leave(call.relayed(by_line(lambda line: line.replace(b'"running"', b'"paused"')), unchanged))


# Signals.


def send(call: Call, wanted: str, instead: str) -> None:
    """Exchange the signal of a ``kill``."""
    if call.arguments[-1:] == [wanted]:
        call.arguments[-1] = instead


@mutant("lifecycle/*term_is*", on=("kill",), fixes=("lifecycle/*within_a_second",))
def delivers_kill_for_term(call: Call) -> None:
    """``kill TERM`` delivers KILL."""
    send(call, "TERM", "KILL")


@mutant("lifecycle/*one_delivered", on=("kill",))
def delivers_kill_for_usr1(call: Call) -> None:
    """``kill USR1`` delivers KILL."""
    send(call, "USR1", "KILL")


ENDED_BY_KILL = ("lifecycle/test_signals.py::*", "!lifecycle/*stopped_container*", "!lifecycle/*term_*")


@mutant(*ENDED_BY_KILL, on=("kill",), only=("lifecycle/test_signals.py",))
def kill_does_nothing(call: Call) -> None:
    """``kill`` reports success and sends nothing."""
    if call.there and call.state().get("status") != "stopped":
        leave(0)


@mutant("lifecycle/*stopped_container*", on=("kill",))
def kill_of_a_stopped_container_succeeds(call: Call) -> None:
    """``kill`` of a stopped container reports success."""
    if call.there and call.state().get("status") == "stopped":
        leave(0)


# Hooks.


def hooks(call: Call, *kinds: str) -> list[dict[str, Any]]:
    """Hooks of some kinds, or of all that run on the node, without the one that takes our snapshot."""
    kinds = kinds or ("prestart", "createRuntime", "createContainer", "poststart", "poststop")
    found = [one for kind in kinds for one in call.config.get("hooks", {}).get(kind, ())]
    return [one for one in found if not any("snapshot.sh" in a for a in one.get("args", ()))]


def through_a_shell(one: dict[str, Any], script: str) -> None:
    """Let a shell run a hook: ``"$@"`` in the script."""
    args = one.get("args") or [one["path"]]
    one["path"], one["args"] = "/bin/sh", ["sh", "-c", script, "sh", one["path"], *args[1:]]


@mutant(
    "lifecycle/test_hooks.py::*", "!*createruntime*", "lifecycle/*theirs", "lifecycle/*before_the_guest*",
    "lifecycle/*hooks_of_create*", "lifecycle/*features_names*",
)  # fmt: skip
def drops_createcontainer_hooks(call: Call) -> None:
    """One kind of hook of six does not run."""
    call.config["hooks"].pop("createContainer", None)


@mutant("lifecycle/*six_hooks*", "lifecycle/*theirs")
def exchanges_kinds_of_hooks(call: Call) -> None:
    """``prestart`` hooks run as ``createContainer`` hooks, and the other way round."""
    given = call.config["hooks"]
    one, other = given.pop("prestart", []), given.pop("createContainer", [])
    given.update({"prestart": other, "createContainer": one})


@mutant("lifecycle/*listed_order")
def reverses_the_hooks_of_a_kind(call: Call) -> None:
    """Hooks of one kind run in reverse order."""
    for kind in call.config["hooks"]:
        if kind != "startContainer":
            call.config["hooks"][kind].reverse()


@mutant("lifecycle/test_hooks.py::*container_s_state", "lifecycle/*poststart_waits*")
def hooks_get_no_state(call: Call) -> None:
    """Hooks find nothing on standard input."""
    for one in hooks(call):
        through_a_shell(one, 'exec "$@" </dev/null')


@mutant("lifecycle/test_hooks.py::*fails*", "lifecycle/*before_the_guest*", "rejection/*hook_with_a_relative*")
def ignores_hooks_that_fail(call: Call) -> None:
    """A hook that fails is as good as another."""
    for one in hooks(call):
        through_a_shell(one, '"$@"; exit 0')
    inside = call.config["hooks"].get("startContainer", [])
    call.config["hooks"]["startContainer"] = [one for one in inside if one["path"] != "/native-exit-42"]


@mutant(fixes=("lifecycle/*poststart_waits*",))
def poststart_hooks_wait(call: Call) -> None:
    """``poststart`` hooks run when the ``startContainer`` hooks have ended."""
    find_pid = r"state=$(cat); pid=${state#*\"pid\":}; pid=$((${pid%%[!0-9 ]*}))"
    wait = 'sleep 0.3; while [ -n "$(cat /proc/$pid/task/$pid/children)" ]; do sleep 0.1; done'
    for one in hooks(call, "poststart"):
        through_a_shell(one, f'{find_pid}; {wait}; printf %s "$state" | "$@"')


# Mounts and files.


@mutant("mounts/*read_only_bind*")
def mounts_read_write(call: Call) -> None:
    """Bind mounts are writable, read-only or not."""
    for mount in call.config["mounts"]:
        if mount.get("type") == "bind":
            mount["options"] = [o for o in mount["options"] if o != "ro"]


@mutant("mounts/*read_only_root*", on=("run",))
def the_root_is_writable(call: Call) -> None:
    """``root.readonly`` is ignored for a guest that would write; what it does to the root is undone."""
    if any(a.startswith("write:/data/") for a in call.process.get("args", ())):
        call.config["root"]["readonly"] = False
        data = call.config["root"]["path"] + "/data"
        with open(f"{data}/greeting.txt") as file:
            greeting = file.read()
        status = call.wait()
        with open(f"{data}/greeting.txt", "w") as file:
            file.write(greeting)
        os.unlink(f"{data}/new.txt")
        os.rmdir(f"{data}/new")
        leave(status)


@mutant(on=("run",), fixes=("process/test_languages.py::*go*",))
def reads_what_go_opens(call: Call) -> None:
    """A Go guest can read files of a read-only root."""
    if call.module == "go-behaviour":
        call.config["root"]["readonly"] = False


@mutant(
    "mounts/*bind_mount*", "mounts/*listed_order", "mounts/*readonly_paths*", "lifecycle/test_hooks.py::*six*",
    "lifecycle/*poststart*", "lifecycle/*container_s_state", "!lifecycle/*changes_nothing",
    "process/*relative_module*", "lifecycle/*limits_and_mounts*", fixes=("isolation/*plug_in*",),
)  # fmt: skip
def drops_bind_mounts(call: Call) -> None:
    """Bind mounts are not made."""
    call.config["mounts"] = [m for m in call.config["mounts"] if m.get("type") != "bind"]


@mutant("mounts/*listed_order")
def reverses_the_order_of_mounts(call: Call) -> None:
    """Bind mounts are made in reverse order."""
    usual, added = call.config["mounts"][:5], call.config["mounts"][5:]
    if all(m.get("type") == "bind" for m in added):
        call.config["mounts"] = [*usual, *reversed(added)]


@mutant("mounts/*masked*")
def drops_masked_paths(call: Call) -> None:
    """``linux.maskedPaths`` is ignored."""
    call.config["linux"].pop("maskedPaths", None)


@mutant("mounts/*readonly_paths*")
def drops_readonly_paths(call: Call) -> None:
    """``linux.readonlyPaths`` is ignored."""
    call.config["linux"].pop("readonlyPaths", None)


@mutant("mounts/*tmpfs*")
def a_tmpfs_is_larger_than_asked_for(call: Call) -> None:
    """The size of a tmpfs is multiplied by 32."""
    for mount in call.config["mounts"]:
        mount["options"] = ["size=32m" if o == "size=1m" else o for o in mount.get("options", ())]


#: An option, and the one that takes it back.
OPPOSITES = {
    "ro": "rw", "nosuid": "suid", "nodev": "dev", "noexec": "exec", "noatime": "atime", "nodiratime": "diratime",
    "relatime": "strictatime", "sync": "async", "lazytime": "nolazytime",
}  # fmt: skip


SILENT = ("iversion", "noiversion", "silent", "loud")


@mutant(fixes=("mounts/test_mount_options.py::*", "!*relative_destination*"))
def knows_mount_options(call: Call) -> None:
    """A mount option undoes the one before that says the opposite; those without effect and propagation are known."""
    for mount in call.config["mounts"]:
        options = mount.get("options", [])
        mount["options"] = [o for i, o in enumerate(options) if OPPOSITES.get(o) not in options[i:] and o not in SILENT]
    if any("rshared" in m["options"] for m in call.config["mounts"]):
        call.config["linux"]["rootfsPropagation"] = "shared"


@mutant("mounts/*default_devices*")
def dev_zero_is_a_file(call: Call) -> None:
    """``/dev/zero`` is a file."""
    source = "/etc/os-release"
    call.config["mounts"].append({"destination": "/dev/zero", "type": "bind", "source": source, "options": ["bind"]})


# Limits.


@mutant("resources/*outgrows*", "resources/*137")
def drops_the_memory_limit(call: Call) -> None:
    """``linux.resources.memory`` is ignored."""
    call.config["linux"].get("resources", {}).pop("memory", None)


@mutant("resources/*ends_well", "resources/*32_mib*")
def a_little_memory_is_enough(call: Call) -> None:
    """The memory limit is a fraction of what was asked for."""
    memory = call.config["linux"].get("resources", {}).get("memory")
    if memory:
        memory.update(limit=memory["limit"] // 64, swap=memory["swap"] // 64)


@mutant("resources/*pids*", "lifecycle/*limits_and_mounts*")
def drops_the_pids_limit(call: Call) -> None:
    """``linux.resources.pids`` is ignored."""
    call.config["linux"].get("resources", {}).pop("pids", None)


@mutant("resources/*cpu*")
def drops_the_cpu_quota(call: Call) -> None:
    """``linux.resources.cpu`` is ignored."""
    call.config["linux"].get("resources", {}).pop("cpu", None)


# Who and where the guest is.


def drop_namespace(call: Call, kind: str) -> None:
    """Share a namespace with the node; one that belongs to a user namespace cannot be."""
    given = call.config["linux"]["namespaces"]
    usual = given.count({"type": kind}) == 1 and not any("path" in one or one["type"] == "user" for one in given)
    if usual:
        given.remove({"type": kind})


@mutant("isolation/test_network.py::*")
def lets_nobody_listen(call: Call) -> None:
    """The guest's process may not listen on a socket."""
    profile = call.config["linux"].setdefault("seccomp", {"defaultAction": "SCMP_ACT_ALLOW"})
    profile.setdefault("syscalls", []).append({"names": ["listen"], "action": "SCMP_ACT_ERRNO"})


@mutant("isolation/*namespaces_of_its_own", "isolation/*network*", "!isolation/*answers_in_its_own*")
def shares_the_network(call: Call) -> None:
    """The container is in the node's network namespace."""
    drop_namespace(call, "network")


@mutant("isolation/*namespaces_of_its_own", "lifecycle/*one_delivered", fixes=("lifecycle/*within_a_second",))
def shares_the_pids(call: Call) -> None:
    """The container is in the node's PID namespace."""
    drop_namespace(call, "pid")


@mutant("isolation/*namespaces_of_its_own", "identity/*hostname*")
def shares_the_host_name(call: Call) -> None:
    """The container is in the node's UTS namespace."""
    if "hostname" in call.config:
        del call.config["hostname"]
        drop_namespace(call, "uts")


@mutant("identity/*hostname*")
def ignores_the_host_name(call: Call) -> None:
    """``hostname`` is ignored."""
    call.config.pop("hostname", None)


@mutant("isolation/*not_listed_is_kept")
def makes_namespaces_that_are_to_be_joined(call: Call) -> None:
    """A namespace with a path is a new one."""
    for one in call.config["linux"]["namespaces"]:
        if one.get("path", "").endswith("ns/net") and one["type"] == "network":
            del one["path"]


@mutant("isolation/*no_path_leads_out*")
def shows_a_directory_of_the_node(call: Call) -> None:
    """A directory of the node is in the container."""
    place = "/var/lib/conformance"
    call.config["mounts"].append({"destination": place, "type": "bind", "source": place, "options": ["rbind", "ro"]})


@mutant("isolation/*overwritten", on=("run",))
def lets_a_guest_write_to_the_runtime(call: Call) -> None:
    """A guest that writes to ``/proc/self/exe`` changes the runtime's program (CVE-2019-5736)."""
    status = call.wait()
    if any(a.startswith("write:/proc/self/exe") for a in call.process.get("args", ())):
        with open(call.name, "a") as file:
            file.write("# written by the guest\n")
    leave(status)


@mutant("isolation/*does_not_reach*", on=("run",))
def shows_the_guest_a_descriptor_of_the_caller(call: Call) -> None:
    """A descriptor that the runtime's caller had open is the guest's too."""
    if call.module == "descriptors":
        more = b'{"fd":7,"kind":"file"},'
        leave(call.relayed(by_line(lambda line: line.replace(b'"fds":[', b'"fds":[' + more)), unchanged))


@mutant("isolation/*holds_nothing*", on=("create",))
def keeps_a_descriptor_open(call: Call) -> None:
    """The guest's process holds a file of the node open."""
    held = os.open("/etc/passwd", os.O_RDONLY)
    if held != 3:
        os.dup2(held, 3)
    os.set_inheritable(3, True)
    call.arguments[:0] = ["--preserve-fds", "1"]


@mutant(fixes=("isolation/*shared_object*", "isolation/*plug_in*"))
def loads_no_native_code(call: Call) -> None:
    """A shared object under a ``.wasm`` name is refused, and the environment chooses no plug-in of the engine."""
    if call.module == "shared-object":
        refuse("not a WebAssembly module")
    call.process["env"] = [v for v in call.process.get("env", ()) if not v.startswith("WASMEDGE_")]


@mutant("identity/*uid_and_gid*")
def runs_as_root(call: Call) -> None:
    """The user is 0, whoever was asked for."""
    if "user" in call.process:
        call.process["user"].update(uid=0, gid=0)


@mutant("identity/*additional_groups*")
def ignores_additional_groups(call: Call) -> None:
    """``additionalGids`` is ignored."""
    if "user" in call.process:
        call.process["user"]["additionalGids"] = []


@mutant("identity/*exactly*", "identity/*holds_none")
def adds_a_capability(call: Call) -> None:
    """The guest's process has one capability more than it should."""
    sets = call.process.get("capabilities", {})
    for kind in ("bounding", "effective", "permitted"):
        sets[kind] = [*sets.get(kind, ()), "CAP_NET_RAW"]


@mutant("identity/*exactly*")
def capabilities_are_inheritable(call: Call) -> None:
    """The inheritable set is the permitted one (CVE-2022-24769)."""
    sets = call.process.get("capabilities", {})
    sets["inheritable"] = sets.get("permitted", [])


@mutant("identity/*no_new_privileges*")
def allows_new_privileges(call: Call) -> None:
    """``noNewPrivileges`` is ignored."""
    call.process.pop("noNewPrivileges", None)


@mutant("identity/*resource_limits*", "rejection/*limit*")
def drops_resource_limits(call: Call) -> None:
    """``process.rlimits`` is ignored."""
    call.process.pop("rlimits", None)


@mutant("identity/*oom*", "!identity/*stays")
def ignores_the_oom_score_adjustment(call: Call) -> None:
    """``oomScoreAdj`` is ignored."""
    call.process.pop("oomScoreAdj", None)


@mutant("identity/*seccomp*", "rejection/*errno_for*")
def drops_the_seccomp_profile(call: Call) -> None:
    """``linux.seccomp`` is ignored."""
    call.config["linux"].pop("seccomp", None)


# Values that the specification rules out, and small print.


def bind_mounts(call: Call) -> list[dict[str, Any]]:
    return [one for one in call.config["mounts"] if {"bind", "rbind"} & set(one.get("options", ()))]


@mutant("rejection/*root_that_does_not*")
def a_missing_root_is_no_error(call: Call) -> None:
    """A container without root ends at once, and well."""
    if not os.path.isdir(call.config["root"]["path"]):
        leave(0)


@mutant(fixes=("rejection/*relative_working*",))
def refuses_a_relative_directory(call: Call) -> None:
    """``cwd`` has to be absolute."""
    if not call.process.get("cwd", "/").startswith("/"):
        refuse("cwd is not absolute")


@mutant(fixes=("rejection/*ociversion*",))
def refuses_what_is_no_version(call: Call) -> None:
    """``ociVersion`` has to be a semantic version."""
    if call.config["ociVersion"].count(".") != 2:
        refuse("ociVersion is no semantic version")


@mutant("rejection/*relative_path*")
def drops_hooks_with_a_relative_path(call: Call) -> None:
    """A hook whose path is relative does not run, without a word."""
    for kind, given in call.config.get("hooks", {}).items():
        call.config["hooks"][kind] = [one for one in given if one["path"].startswith("/")]


@mutant(fixes=("rejection/*timeout_of_zero*",))
def refuses_a_timeout_of_zero(call: Call) -> None:
    """A hook's timeout has to be above zero."""
    if any(one.get("timeout") == 0 for one in hooks(call)):
        refuse("timeout of a hook is zero")


@mutant(fixes=("rejection/*without_a_system_call*",))
def refuses_a_rule_without_system_calls(call: Call) -> None:
    """A seccomp rule has to name a system call."""
    if any(not rule["names"] for rule in call.config["linux"].get("seccomp", {}).get("syscalls", ())):
        refuse("seccomp rule without names")


@mutant("rejection/*errno_for*")
def drops_errno_that_nobody_takes(call: Call) -> None:
    """An errno for a seccomp action that takes none is ignored."""
    profile = call.config["linux"].get("seccomp", {})
    for one, action, key in [
        *((rule, "action", "errnoRet") for rule in profile.get("syscalls", ())),
        (profile, "defaultAction", "defaultErrnoRet"),
    ]:
        if one.get(action) not in ("SCMP_ACT_ERRNO", "SCMP_ACT_TRACE"):
            one.pop(key, None)


@mutant(fixes=("rejection/*device_s_place*",))
def refuses_a_file_in_a_device_s_place(call: Call) -> None:
    """A device is not put over a file of another kind."""
    for device in call.config["linux"].get("devices", ()):
        for mount in bind_mounts(call):
            if os.path.isfile(device["path"].replace(mount["destination"], mount["source"], 1)):
                refuse("a file is in the device's place")


@mutant("rejection/*one_id_mapping*")
def drops_lone_id_mappings(call: Call) -> None:
    """One id mapping without the other is ignored."""
    for mount in call.config["mounts"]:
        if len({"uidMappings", "gidMappings"} & set(mount)) == 1:
            mount.pop("uidMappings", None)
            mount.pop("gidMappings", None)


@mutant("rejection/*idmap*")
def drops_idmap_without_mappings(call: Call) -> None:
    """``idmap`` without mappings is ignored."""
    for mount in bind_mounts(call):
        mount["options"] = [one for one in mount["options"] if one not in ("idmap", "ridmap")]


@mutant("rejection/*without_config_json*", on=("create",))
def a_missing_configuration_is_no_error(call: Call) -> None:
    """``create`` of an empty bundle does nothing, and well."""
    if call.option("--bundle") and not os.path.exists(f"{call.option('--bundle')}/config.json"):
        leave(0)


@mutant("mounts/*relative_destination*")
def destinations_start_at_cwd(call: Call) -> None:
    """A relative destination starts at the process's directory."""
    for mount in call.config["mounts"]:
        mount["destination"] = os.path.join(call.process.get("cwd", "/"), mount["destination"])


@mutant("process/*console_size*")
def refuses_a_size_without_console(call: Call) -> None:
    """``consoleSize`` without terminal is an error."""
    if "consoleSize" in call.process and not call.process.get("terminal"):
        refuse("consoleSize without terminal")


@mutant("identity/*does_not_exist*")
def drops_unknown_capabilities(call: Call) -> None:
    """An unknown capability is ignored without a warning."""
    for name, given in call.process.get("capabilities", {}).items():
        call.process["capabilities"][name] = [one for one in given if one != "CAP_NO_SUCH"]


@mutant("identity/*oom_score_stays")
def raises_the_oom_score(call: Call) -> None:
    """A container that asks for no score gets one."""
    call.process.setdefault("oomScoreAdj", 200)


@mutant("lifecycle/*limits_and_mounts*", on=("create", "start"))
def limits_come_with_start(call: Call) -> None:
    """``create`` makes a cgroup without the limit of processes; ``start`` sets it."""
    if call.command == "create" and call.config["linux"]["resources"].get("pids"):
        call.mark(f"{call.config['linux']['resources'].pop('pids')['limit']} {call.group}")
    elif call.command == "start" and call.marked:
        with open(f"{call.root}-mutant/{call.id}") as file:
            limit, group = file.read().split()
        for place in hierarchies():
            if os.path.exists(f"{place}{group}/pids.max"):
                with open(f"{place}{group}/pids.max", "w") as file:
                    file.write(limit)


@mutant("lifecycle/*only_used", on=("delete",))
def delete_empties_what_was_mounted(call: Call) -> None:
    """``delete`` removes the files of directories that the container had mounted."""
    state = f"{call.root}/{call.id}/config.json"
    for mount in read_json(state)["mounts"] if os.path.exists(state) else ():
        if "rbind" in mount.get("options", ()) and os.path.isdir(mount["source"]):
            for name in os.listdir(mount["source"]):
                os.unlink(f"{mount['source']}/{name}")


@mutant("mounts/*listed_device*")
def drops_devices(call: Call) -> None:
    """``linux.devices`` is ignored."""
    call.config["linux"].pop("devices", None)


@mutant("detection/*versions*", on=("features",))
def features_exchange_the_versions(call: Call) -> None:
    """``features`` names the greatest version as the least."""
    import json

    _, out, _ = call.captured()
    said = json.loads(out)
    said["ociVersionMin"], said["ociVersionMax"] = said["ociVersionMax"], said["ociVersionMin"]
    write_all(1, json.dumps(said).encode())
    leave(0)


@mutant("lifecycle/*features_names_run", on=("features",))
def features_name_a_hook_too_many(call: Call) -> None:
    """``features`` names a hook that does not exist."""
    import json

    _, out, _ = call.captured()
    said = json.loads(out)
    said["hooks"].append("afterwards")
    write_all(1, json.dumps(said).encode())
    leave(0)


@mutant("lifecycle/*fits_its_schema*", "lifecycle/*then_running*", on=("state",))
def the_pid_is_text(call: Call) -> None:
    """``state`` gives the process id as text."""
    import json

    said = call.state()
    if not said:
        return
    write_all(1, json.dumps({**said, "pid": str(said["pid"])}).encode())
    leave(0)


# ---- the program


def main() -> NoReturn:
    call = Call(sys.argv)
    chosen = MUTANTS[CHOSEN]
    if call.command in chosen.commands:
        chosen.change(call)
    call.exec()


if __name__ == "__main__":
    main()
