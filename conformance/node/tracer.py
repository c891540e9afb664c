"""A createRuntime hook that looks at the container's process when it ends.

Where the engine is the program that the container runs, it is mapped only after the runtime's
process has become it. So this hook attaches to that process as a tracer, lets the runtime go on,
and reads ``/proc/PID`` in the stop before the process's exit (ptrace(2), PTRACE_O_TRACEEXIT).

It is sent as text to ``python3`` on the node and needs only the standard library. Its argument is
the file to write, or a directory in which the container's id names it; the container's state arrives
on standard input.
"""

import ctypes
import json
import os
import signal
import sys

SEIZE, CONT, LISTEN = 0x4206, 7, 0x4208
TRACE_EXIT, EVENT_EXIT, EVENT_STOP = 0x40, 6, 128
WALL = 0x40000000
GROUP_STOPS = (signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU)


def ptrace(request, pid, data):
    call = ctypes.CDLL(None, use_errno=True).ptrace
    call.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]
    call.restype = ctypes.c_long
    if call(request, pid, None, data) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def look(state, file):
    """Write what ``proof.HOOK`` writes too: process and program, its name, its mappings, the container's id."""
    base = "/proc/%d/" % state["pid"]
    with open(base + "comm") as comm, open(base + "maps") as maps:
        text = "%d %s\n%s%sid %s\n" % (state["pid"], os.readlink(base + "exe"), comm.read(), maps.read(), state["id"])
    with open(file + ".partial", "w") as out:
        out.write(text)
    os.rename(file + ".partial", file)


def follow(state, file):
    """Let the process do what it does, signals and stops included, until it is about to end."""
    pid = state["pid"]
    while True:
        _, status = os.waitpid(pid, WALL)
        if not os.WIFSTOPPED(status):
            return
        event, number = status >> 16, os.WSTOPSIG(status)
        if event == EVENT_EXIT:
            look(state, file)
        if event == EVENT_STOP and number in GROUP_STOPS:
            ptrace(LISTEN, pid, 0)
        else:
            ptrace(CONT, pid, 0 if event else number)


def main():
    state = json.load(sys.stdin)
    file = sys.argv[1] if len(sys.argv) > 1 else state["annotations"]["org.conformance.snapshot"]
    if os.path.isdir(file):
        file = os.path.join(file, state["id"])
    look(state, file)  # where the process never ends by itself, this is what there is
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.setsid()
        nothing = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(nothing, descriptor)
        ptrace(SEIZE, state["pid"], TRACE_EXIT)
        os.close(reader)
        os.write(writer, b"1")
        os.close(writer)
        follow(state, file)
        os._exit(0)
    os.close(writer)
    sys.exit(0 if os.read(reader, 1) else "the container's process cannot be followed")


main()
