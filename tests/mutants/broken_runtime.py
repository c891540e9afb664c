#!/usr/bin/python3 -IS
"""crun with exactly one thing broken: a wrapper round the real one, once for each fault.

``run.py`` writes an executable file for each mutant: this program, the mutant's function
and its name as ``CHOSEN``. The harness installs it as ``--runtime-binary crun=FILE``.
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
            return next(a for a in self.arguments if not a.startswith("-"))
        return self.arguments[-1]

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
        args = self.process.get("args") or [""]
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
        return os.path.isdir(f"{self.root}/{self.id}")

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


@mutant("process/test_environment.py::*complete")
def drops_empty_variables(call: Call) -> None:
    """A variable without a value is left out."""
    call.process["env"] = [v for v in call.process.get("env", ()) if not v.endswith("=")]


@mutant("process/test_environment.py::*complete")
def cuts_variables_at_the_second_equals_sign(call: Call) -> None:
    """``A=b=c`` becomes ``A=b``."""
    call.process["env"] = ["=".join(v.split("=")[:2]) for v in call.process.get("env", ())]


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


@mutant("process/test_environment.py::*home*")
def home_is_that_of_root(call: Call) -> None:
    """``HOME`` is ``/root``, whatever the user's home directory is."""
    call.process.get("env", []).append("HOME=/root")


@mutant("process/test_arguments.py::*whole*", "process/test_languages.py::*rust*", "mounts/*can_be_read_and_written")
def splits_arguments_at_blanks(call: Call) -> None:
    """An argument with a blank arrives as two, as after a shell."""
    args = call.process.get("args", [])
    call.process["args"] = [args[0], *" ".join(args[1:]).split(" ")] if args else args


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


# Exit codes.


@mutant("*::test_a_trap_is_a_failure", "*::test_a_rust_panic*", on=("run",))
def a_trap_is_a_success(call: Call) -> None:
    """A guest that traps ends with exit code 0."""
    if call.module in ("trap", "rust-panic"):
        call.wait()
        leave(0)


@mutant(on=("run",), fixes=("process/test_exit_codes.py::*42_reaches_the_caller", "process/test_exit_codes.py::*go*"))
def hands_on_exit_code_42(call: Call) -> None:
    """The guest's exit code reaches the caller of ``run``."""
    if call.module in ("exit-42", "go-exit-42"):
        leave(42 << 8 if call.wait() == 0 else 1)


# Streams.


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


# ---- the program


def main() -> NoReturn:
    call = Call(sys.argv)
    chosen = MUTANTS[CHOSEN]
    if call.command in chosen.commands:
        chosen.change(call)
    call.exec()


if __name__ == "__main__":
    main()
