"""The node agent: runs commands next to the container, so that deadlines, standard
streams, output caps and ``/proc`` are handled where they happen.

It is sent as text to ``python3`` on the node and needs only the standard library.
One request at a time on standard input, one answer on standard output; a frame is a
4-byte length, a JSON header and the binary blobs whose lengths the header lists.
In the sandbox it is PID 1. Elsewhere it is a child subreaper, so a container that
outlives its runtime becomes the agent's child, as it would a conmon's or a shim's.
When standard input ends, everything it started ends with it.
"""

import ctypes
import errno
import fcntl
import glob
import io
import json
import os
import pwd
import re
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tarfile
import termios
import time

PR_SET_CHILD_SUBREAPER = 36
MNT_DETACH = 2
DRAIN_SECONDS = 2.0
CAP_SYS_RESOURCE = 24
ORDINARY_USER = 1000
#: Where components of the machine's own are installed (conformance/build/staging.py).
PROGRAMS = "/opt/conformance/bin"
#: Not below /run, which many distributions mount noexec.
STATE = "/var/lib/conformance"
#: As in ``steps.PRINTED``.
PRINTED = "\0printed:"


class ClientGone(Exception):
    """Standard input has ended: the harness is no longer there."""


class Process:
    """A child whose streams are gathered; it may be followed by an orphan that keeps them open."""

    def __init__(self, popen, cap, hold_stdin):
        self.popen = popen
        self.pid = popen.pid if popen else 0
        self.cap = cap
        self.hold_stdin = hold_stdin
        self.streams = {}  # descriptor -> "stdout" | "stderr"
        self.output = {"stdout": bytearray(), "stderr": bytearray()}
        self.truncated = False
        self.started = time.monotonic()
        self.first_output = None
        self.pending = memoryview(b"")
        self.stdin = None
        self.listener = None

    def take(self, name, data):
        if self.first_output is None:
            self.first_output = time.monotonic() - self.started
        kept = self.output[name]
        room = self.cap - len(kept)
        kept += data[:room]
        if len(data) > room:
            self.truncated = True


class Agent:
    def __init__(self, source, sink, session):
        self.source, self.sink = source, sink
        self.session = session
        self.directory = STATE + "/" + session
        self.processes = {}
        self.statuses = {}  # pid -> (wait status, peak resident KiB)
        self.next_handle = 1
        reader, writer = os.pipe()
        for end in (reader, writer):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self.wakeup = reader
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)

    # ---- frames

    def read_exactly(self, size):
        data = bytearray()
        while len(data) < size:
            piece = os.read(self.source, min(size - len(data), 1 << 20))
            if not piece:
                raise ClientGone
            data += piece
        return bytes(data)

    def receive(self):
        while True:
            ready, _, _ = select.select([self.source, self.wakeup] + self.readable(), [], [])
            self.pump_once(0)
            if self.source in ready:
                break
        (size,) = struct.unpack(">I", self.read_exactly(4))
        header = json.loads(self.read_exactly(size))
        blobs = [self.read_exactly(n) for n in header.get("blobs", [])]
        return header, blobs

    def send(self, header, blobs):
        header["blobs"] = [len(b) for b in blobs]
        text = json.dumps(header).encode()
        data = memoryview(b"".join([struct.pack(">I", len(text)), text, *blobs]))
        while data:
            data = data[os.write(self.sink, data) :]

    # ---- the event loop

    def readable(self):
        found = []
        for process in self.processes.values():
            found.extend(process.streams)
            if process.listener is not None:
                found.append(process.listener.fileno())
        return found

    def pump_once(self, timeout):
        """Move bytes for every process and reap children; wait at most ``timeout`` seconds."""
        readers = {fd: p for p in self.processes.values() for fd in p.streams}
        listeners = {p.listener.fileno(): p for p in self.processes.values() if p.listener is not None}
        writers = {p.stdin: p for p in self.processes.values() if p.stdin is not None and p.pending}
        wanted = dict.fromkeys([*readers, *listeners, self.wakeup], select.POLLIN)
        for fd in writers:
            wanted[fd] = wanted.get(fd, 0) | select.POLLOUT  # a terminal is read and written by one descriptor
        wanted[self.source] = select.POLLHUP | select.POLLRDHUP | select.POLLERR
        poll = select.poll()
        for fd, events in wanted.items():
            poll.register(fd, events)
        for fd, event in poll.poll(timeout * 1000):
            if fd == self.wakeup:
                os.read(self.wakeup, 4096)
            elif fd == self.source:
                if event & (select.POLLHUP | select.POLLRDHUP | select.POLLERR):
                    raise ClientGone
            elif fd in listeners:
                self.accept_console(listeners[fd])
            else:
                if fd in writers and event & (select.POLLOUT | select.POLLERR | select.POLLHUP):
                    self.write_stdin(writers[fd])
                if fd in readers and event & (select.POLLIN | select.POLLHUP | select.POLLERR):
                    self.read_stream(readers[fd], fd)
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            self.statuses[pid] = (status, usage.ru_maxrss)
            if len(self.statuses) > 8192:
                del self.statuses[next(iter(self.statuses))]

    def read_stream(self, process, fd):
        try:
            data = os.read(fd, 1 << 18)
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno != errno.EIO:  # a terminal's other side was closed
                raise
            data = b""
        if data:
            process.take(process.streams[fd], data)
        else:
            del process.streams[fd]
            if fd == process.stdin:
                process.stdin = None
            os.close(fd)

    def write_stdin(self, process):
        try:
            process.pending = process.pending[os.write(process.stdin, process.pending) :]
        except BlockingIOError:
            return
        except OSError:  # the reader has closed its end, or the terminal is gone
            process.pending = memoryview(b"")
        if not process.pending and not process.hold_stdin:
            self.close_stdin(process)

    def close_stdin(self, process):
        if process.stdin is not None and process.stdin not in process.streams:
            os.close(process.stdin)
            process.stdin = None

    def accept_console(self, process):
        """Receive the terminal's master that an OCI runtime sends to ``--console-socket``."""
        connection, _ = process.listener.accept()
        process.listener.close()
        process.listener = None
        with connection:
            _, ancillary, _, _ = connection.recvmsg(4096, socket.CMSG_SPACE(64))
        for level, kind, data in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                (master,) = struct.unpack("i", data[:4])
                settings = termios.tcgetattr(master)
                settings[3] &= ~termios.ECHO
                termios.tcsetattr(master, termios.TCSANOW, settings)
                process.streams[master] = "stdout"
                os.set_blocking(master, False)
                process.stdin = master

    def pump_until(self, done, deadline):
        while not done():
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            self.pump_once(min(left, 5.0))
        return True

    # ---- steps

    def step_run(self, step, blob):
        """Start a command; wait for its end, or with ``keep`` hold its streams under a handle."""
        wanted = step.get("repeat_until")
        if wanted is None:
            return self.run_once(step, blob)
        started = time.monotonic()
        deadline = started + step["timeout_seconds"]
        before, pause = None, 0.01
        while True:
            left = max(deadline - time.monotonic(), 1.0)
            answer, blobs = self.run_once(dict(step, timeout_seconds=left), blob)
            if before and answer.get("timed_out"):
                answer, blobs = before  # the last try was cut off by the deadline; the one before it was whole
            before = answer, blobs
            answer["seconds"] = time.monotonic() - started
            if wanted.encode() in blobs[0] or time.monotonic() > deadline or answer.get("start_error"):
                return answer, blobs
            self.pump_once(pause)
            pause = min(1.5 * pause, 0.25)  # the longer it lasts, the less of the node's time is spent on asking

    def run_once(self, step, blob):
        cap = step["max_output_bytes"]
        console = step.get("console_socket")
        process = Process(None, cap, step.get("hold_stdin", False))
        if console:
            process.listener = socket.socket(socket.AF_UNIX)
            process.listener.bind(console)
            process.listener.listen(1)
        try:
            popen = subprocess.Popen(
                step["argv"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=step.get("cwd") or "/",
                env=step.get("env"),
                start_new_session=True,
            )
        except OSError as error:
            name = errno.errorcode.get(error.errno, str(error.errno))
            return {"start_error": name, "seconds": 0.0}, [b"", b""]
        process.popen, process.pid = popen, popen.pid
        process.started = time.monotonic()
        for pipe, name in ((popen.stdout, "stdout"), (popen.stderr, "stderr")):
            fd = os.dup(pipe.fileno())
            pipe.close()
            os.set_blocking(fd, False)
            process.streams[fd] = name
        process.stdin = os.dup(popen.stdin.fileno())
        popen.stdin.close()
        os.set_blocking(process.stdin, False)
        process.pending = memoryview(blob)
        if console or (not blob and not process.hold_stdin):
            # input for a terminal waits until the runtime hands the terminal over
            self.close_stdin(process)
        handle = self.next_handle
        self.next_handle += 1
        self.processes[handle] = process
        deadline = process.started + step["timeout_seconds"]
        pid = process.pid
        ended = True
        until = step.get("until_output")
        if until is not None:
            # a guest that announces itself and then waits: come back as soon as it has spoken
            wanted = until.encode()
            spoken = lambda: wanted in process.output["stdout"] or wanted in process.output["stderr"]  # noqa: E731
            ended = self.pump_until(lambda: spoken() or pid in self.statuses, deadline)
        elif not step.get("background"):
            ended = self.pump_until(lambda: pid in self.statuses, deadline)
        seconds = time.monotonic() - process.started
        timed_out = not ended
        if timed_out and not step.get("keep"):
            self.kill_group(pid)
            self.pump_until(lambda: pid in self.statuses, time.monotonic() + DRAIN_SECONDS)
        if step.get("keep"):
            answer, blobs = self.described(process, seconds, timed_out, clear=False)
            answer["handle"] = handle
            return answer, blobs
        self.pump_until(lambda: not process.streams, time.monotonic() + DRAIN_SECONDS)
        return self.forget(handle, seconds, timed_out)

    def described(self, process, seconds, timed_out, clear=True):
        status = self.statuses.get(process.pid)
        answer = {
            "exit_code": None,
            "signal": None,
            "timed_out": timed_out,
            "truncated": process.truncated,
            "seconds": seconds,
            "first_output_seconds": process.first_output,
            "pid": process.pid,
            "streams_open": sorted(process.streams.values()),
        }
        if status is not None:
            code, answer["max_rss_kib"] = status
            if os.WIFSIGNALED(code):
                answer["signal"] = os.WTERMSIG(code)
            else:
                answer["exit_code"] = os.WEXITSTATUS(code)
        return answer, [bytes(process.output["stdout"]), bytes(process.output["stderr"])]

    def forget(self, handle, seconds, timed_out):
        process = self.processes.pop(handle)
        answer, blobs = self.described(process, seconds, timed_out)
        for fd in process.streams:
            os.close(fd)
        if process.stdin is not None and process.stdin not in process.streams:
            os.close(process.stdin)
        if process.listener is not None:
            process.listener.close()
        if process.popen is not None:
            process.popen.returncode = 0  # reaped by us; keeps Popen from waiting for a pid that is gone
        return answer, blobs

    def kill_group(self, pid):
        for kill in (os.killpg, os.kill):
            try:
                kill(pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                continue

    def step_wait(self, step, _blob):
        """Wait until a process (the handle's own or an adopted ``pid``) has ended and its streams too."""
        handle, timeout = step.get("handle"), step["timeout_seconds"]
        deadline = time.monotonic() + timeout
        process = self.processes.get(handle)
        pid = step.get("pid") or process.pid
        started = time.monotonic()
        ended = self.pump_until(lambda: pid in self.statuses, deadline)
        status = self.statuses.get(pid)
        if process is not None and ended:
            self.pump_until(lambda: not process.streams, time.monotonic() + DRAIN_SECONDS)
        seconds = time.monotonic() - started
        if process is not None:
            answer, blobs = self.described(process, seconds, not ended)
        else:
            answer, blobs = {"timed_out": not ended, "seconds": seconds}, [b"", b""]
        answer["exit_code"] = answer["signal"] = None
        if status is not None:
            if os.WIFSIGNALED(status[0]):
                answer["signal"] = os.WTERMSIG(status[0])
            else:
                answer["exit_code"] = os.WEXITSTATUS(status[0])
        return answer, blobs

    def step_output(self, step, _blob):
        """Wait until a kept process's output holds some text, or the deadline."""
        process = self.processes[step["handle"]]
        wanted = step["text"].encode()
        spoken = lambda: wanted in process.output["stdout"] or wanted in process.output["stderr"]  # noqa: E731
        started = time.monotonic()
        self.pump_until(lambda: spoken() or not process.streams, started + step["timeout_seconds"])
        return self.described(process, time.monotonic() - started, not spoken())

    def step_feed(self, step, blob):
        """Write to a held standard input; ``close`` ends it."""
        process = self.processes[step["handle"]]
        if process.stdin is not None:
            process.pending = memoryview(bytes(process.pending) + blob)
            process.hold_stdin = not step.get("close", False)
            if process.pending:
                self.pump_until(lambda: not process.pending, time.monotonic() + DRAIN_SECONDS)
            elif not process.hold_stdin:
                self.close_stdin(process)
        return {}, []

    def step_release(self, step, _blob):
        """Forget a handle; its process is killed if it still runs."""
        process = self.processes.get(step["handle"])
        if process is None:
            return {}, []
        if process.pid not in self.statuses:
            self.kill_group(process.pid)
            self.pump_until(lambda: process.pid in self.statuses, time.monotonic() + DRAIN_SECONDS)
        return self.forget(step["handle"], 0.0, False)

    def step_write(self, step, blob):
        path = step["path"]
        os.makedirs(os.path.dirname(path), exist_ok=True)
        partial = path + ".partial"
        try:
            with open(partial, "wb") as file:
                file.write(blob)
            os.chmod(partial, step.get("mode", 0o644))
            os.rename(partial, path)
        except OSError:
            if os.path.lexists(partial):
                os.unlink(partial)  # on a full disk it would keep the disk full
            raise
        return {}, []

    def step_read(self, step, _blob):
        with open(step["path"], "rb") as file:
            return {}, [file.read(step["max_bytes"])]

    def step_remove(self, step, _blob):
        path = step["path"]
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        elif os.path.lexists(path):
            os.unlink(path)
        return {}, []

    def step_mkdir(self, step, _blob):
        os.makedirs(step["path"], exist_ok=True)
        os.chmod(step["path"], step.get("mode", 0o755))  # whatever the umask says
        return {}, []

    def step_list(self, step, _blob):
        return {"entries": sorted(glob.glob(step["pattern"]))}, []

    def step_kill(self, step, _blob):
        try:
            os.kill(step["pid"], step["signal"])
        except ProcessLookupError:
            return {"gone": True}, []
        return {"gone": False}, []

    def step_put(self, step, blob):
        """Unpack a tar into a directory that appears only when it is complete."""
        target = step["path"]
        if not os.path.isdir(target):
            partial = "%s.partial-%d" % (target, os.getpid())
            os.makedirs(partial)
            try:
                with tarfile.open(fileobj=io.BytesIO(blob)) as archive:
                    archive.extractall(partial, filter="fully_trusted")
                os.rename(partial, target)
            except (OSError, tarfile.TarError):
                shutil.rmtree(partial)
                raise
        return {}, []

    def step_has(self, step, _blob):
        return {"there": os.path.lexists(step["path"])}, []

    def step_wait_gone(self, step, _blob):
        """Wait until a process that is nobody's child here (a shim's container) has gone."""
        started = time.monotonic()
        deadline = started + step["timeout_seconds"]
        place = "/proc/%d" % int(step["pid"])
        there = os.path.isdir(place)
        while there and time.monotonic() < deadline:
            self.pump_once(0.005)
            there = os.path.isdir(place)
        return {"timed_out": there, "seconds": time.monotonic() - started}, []

    def step_snapshot(self, step, _blob):
        return {"snapshot": snapshot(step["pid"])}, []

    def step_cgroup_make(self, step, _blob):
        """Make a parent cgroup for one container in every hierarchy; its peak outlives the container."""
        for root in cgroup_roots():
            os.makedirs(root + step["path"], exist_ok=True)
            if root.endswith("/cpuset"):
                continue  # cgroup.clone_children, set on the way in, copies cpus and mems
            if os.path.exists(root + "/cgroup.controllers"):
                enable_controllers(root, step["path"])
            for name, value in step.get("values", {}).items():
                if os.path.exists(root + step["path"] + "/" + name):
                    with open(root + step["path"] + "/" + name, "w") as file:
                        file.write(value)
        return {}, []

    def step_cgroup_read(self, step, _blob):
        """The first of ``names`` that exists below ``path`` in any hierarchy."""
        values = {}
        for name in step["names"]:
            for root in cgroup_roots():
                try:
                    with open(root + step["path"] + "/" + name) as file:
                        values[name] = file.read()
                    break
                except OSError:
                    continue
        return {"values": values}, []

    def step_cgroup_remove(self, step, _blob):
        """Remove a cgroup subtree; say what could not be removed and what lived in it."""
        left = []
        for root in cgroup_roots():
            top = root + step["path"]
            for directory in sorted((d for d, _, _ in os.walk(top)), key=len, reverse=True):
                if not remove_cgroup(directory, step.get("kill", False), self):
                    left.append(directory)
        return {"left": left}, []

    def step_cgroup_list(self, step, _blob):
        """Cgroup directories strictly below ``path``."""
        below = []
        for root in cgroup_roots():
            top = root + step["path"]
            below.extend(d for d, _, _ in os.walk(top) if d != top)
        return {"entries": below}, []

    def step_facts(self, _step, _blob):
        return {"facts": facts()}, []

    # ---- requests

    def serve(self):
        while True:
            header, blobs = self.receive()
            answers, out, outputs = [], [], []
            for step in header["steps"]:
                blob = blobs[step["blob"]] if step.get("blob") is not None else b""
                try:
                    filled = filled_in(step, outputs)
                    answer, produced = getattr(self, "step_" + step["do"])(filled, blob)
                    if filled != step and "argv" in filled:
                        answer["argv"] = filled["argv"]
                except OSError as error:
                    name = errno.errorcode.get(error.errno, str(error.errno))
                    where = str(error.filename or step.get("path") or step["do"])
                    answer, produced = {"os_error": name, "where": where}, []
                except (ValueError, KeyError, AttributeError, TypeError, tarfile.TarError) as error:
                    # a step that makes no sense (a NUL in an argument, an unknown handle) must not end the node
                    text = "%s: %s" % (type(error).__name__, error)
                    answer, produced = {"os_error": text, "where": step["do"]}, []
                answer["blob_count"] = len(produced)
                answers.append(answer)
                outputs.append(produced[0] if produced else b"")
                out.extend(produced)
            self.send({"answers": answers}, out)

    def end(self):
        """Nothing is left behind: neither process, nor cgroup, nor file of this session."""
        if os.getpid() == 1:
            return  # the kernel ends a PID namespace with its first process
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            children = children_of(os.getpid())
            if not children:
                break
            for pid in children:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            try:
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
            except ChildProcessError:
                break
            time.sleep(0.01)
        remove_session(self.session)

    def claim(self):
        """Hold this session's lock, and remove what sessions that were killed have left here."""
        own = self.directory + ".lock"
        os.makedirs(STATE, exist_ok=True)
        while True:
            self.lock = open(own, "w")  # noqa: SIM115 - held until the agent ends
            fcntl.flock(self.lock, fcntl.LOCK_EX)
            if is_file_at(self.lock, own):
                break
            self.lock.close()  # between open and flock another agent took it for a leftover
        os.makedirs(self.directory, exist_ok=True)
        for path in glob.glob(STATE + "/*.lock"):
            try:
                with open(path) as other:
                    fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    if is_file_at(other, path):
                        remove_session(os.path.basename(path)[: -len(".lock")])
            except (BlockingIOError, FileNotFoundError):
                continue  # its session goes on, or has ended by itself meanwhile


def filled_in(value, outputs):
    """``value`` with what earlier steps of the batch printed in place of the words that stand for it."""
    if isinstance(value, list):
        return [filled_in(v, outputs) for v in value]
    if isinstance(value, dict):
        return {k: filled_in(v, outputs) for k, v in value.items()}
    if not isinstance(value, str) or not value.startswith(PRINTED):
        return value
    number, pattern = value[len(PRINTED) :].split(":", 1)
    found = re.search(pattern, outputs[int(number)].decode("utf-8", "replace"))
    if not found:
        raise ValueError("step %s did not print %s" % (number, pattern))
    return found[1]


# ---- the machine


def read_text(path, default=""):
    try:
        with open(path, errors="backslashreplace") as file:
            return file.read()
    except OSError:
        return default


def link(path):
    try:
        return os.readlink(path)
    except OSError:
        return ""


def is_file_at(file, path):
    """Whether an open file is still the one that ``path`` names."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    except FileNotFoundError:
        return False


def children_of(pid):
    found = []
    for path in glob.glob("/proc/%d/task/*/children" % pid):
        found.extend(int(p) for p in read_text(path).split())
    return found


def snapshot(pid):
    """What ``/proc/PID`` tells of a container's process; empty when it has gone."""
    base = "/proc/%d/" % pid
    if not os.path.isdir(base):
        return None
    mapped = []
    for line in read_text(base + "maps").splitlines():
        columns = line.split(None, 5)
        if len(columns) == 6 and columns[5] not in mapped:
            mapped.append(columns[5])
    status = dict(line.split(":", 1) for line in read_text(base + "status").splitlines() if ":" in line)
    limits = {}
    for line in read_text(base + "limits").splitlines()[1:]:
        limits[line[:26].strip()] = line[26:].split()[:2]
    return {
        "pid": pid,
        "comm": read_text(base + "comm").strip(),
        "exe": link(base + "exe"),
        "mapped": mapped,
        "status": {k: v.strip() for k, v in status.items()},
        "namespaces": {n: link(base + "ns/" + n) for n in listdir(base + "ns")},
        "descriptors": {n: link(base + "fd/" + n) for n in listdir(base + "fd")},
        "limits": limits,
        "cgroups": read_text(base + "cgroup").splitlines(),
        "oom_score_adj": read_text(base + "oom_score_adj").strip(),
        "apparmor": read_text(base + "attr/current").strip("\0\n "),
    }


def listdir(path):
    try:
        return sorted(os.listdir(path))
    except OSError:
        return []


def cgroup_roots():
    """Mount points of every cgroup hierarchy."""
    roots = []
    for line in read_text("/proc/self/mounts").splitlines():
        device, where, kind = line.split()[:3]
        if kind in ("cgroup", "cgroup2"):
            roots.append(where)
    return roots


def enable_controllers(root, path):
    """cgroup v2: hand every controller down to the parents of ``path``."""
    where = root
    names = path.strip("/").split("/")
    for name in ["", *names]:
        where = where + "/" + name if name else where
        for controller in read_text(where + "/cgroup.controllers").split():
            try:
                with open(where + "/cgroup.subtree_control", "w") as file:
                    file.write("+" + controller)
            except OSError:
                continue  # this controller stays with an ancestor; the facts tell which are there


def remove_cgroup(directory, kill, agent):
    deadline = time.monotonic() + 3.0
    while True:
        try:
            os.rmdir(directory)
            return True
        except FileNotFoundError:
            return True
        except OSError:
            if time.monotonic() > deadline:
                return False
        if kill:
            for pid in read_text(directory + "/cgroup.procs").split():
                try:
                    os.kill(int(pid), signal.SIGKILL)
                except (ProcessLookupError, PermissionError):
                    continue
            if os.path.exists(directory + "/freezer.state"):
                try:
                    with open(directory + "/freezer.state", "w") as file:
                        file.write("THAWED")
                except OSError:
                    return False
        if agent is not None:
            agent.pump_once(0.001)
        else:
            time.sleep(0.001)


def remove_session(session):
    """Remove the cgroups and files of a session; the lock file last, so a failure is seen again."""
    for root in cgroup_roots():
        top = root + "/conformance/" + session
        for directory in sorted((d for d, _, _ in os.walk(top)), key=len, reverse=True):
            remove_cgroup(directory, True, None)
        try:
            os.rmdir(root + "/conformance")
        except OSError:
            continue  # another session lives there, or none ever did
    directory = STATE + "/" + session
    unmount_below(directory)
    if os.path.isdir(directory):
        shutil.rmtree(directory)
    os.unlink(directory + ".lock")


def unmount_below(directory):
    """Take away what container engines have mounted there, the innermost first."""
    places = [line.split()[4] for line in read_text("/proc/self/mountinfo").splitlines()]
    for place in sorted((p for p in places if p.startswith(directory + "/")), key=len, reverse=True):
        ctypes.CDLL(None, use_errno=True).umount2(place.encode(), MNT_DETACH)


def median_of(measure, times):
    return sorted(measure() for _ in range(times))[times // 2]


def spawn_seconds():
    started = time.monotonic()
    subprocess.run(["/bin/true"], check=False, stdin=subprocess.DEVNULL)
    return time.monotonic() - started


def binfmt_wasm():
    """Names of ``binfmt_misc`` entries that would run Wasm modules behind everybody's back."""
    names = []
    for path in glob.glob("/proc/sys/fs/binfmt_misc/*"):
        text = read_text(path)
        if "magic 0061736d" in text.lower() or "extension .wasm" in text.lower():
            names.append(os.path.basename(path))
    return names


def facts():
    release = dict(line.split("=", 1) for line in read_text("/etc/os-release").splitlines() if "=" in line)
    kinds = {line.split()[2] for line in read_text("/proc/self/mounts").splitlines() if "cgroup" in line.split()[2]}
    modes = {frozenset(["cgroup"]): "v1", frozenset(["cgroup2"]): "v2"}
    mode = modes.get(frozenset(kinds), "hybrid" if kinds else "none")
    if mode == "v2":
        controllers = read_text("/sys/fs/cgroup/cgroup.controllers").split()
    else:
        controllers = [os.path.basename(root) for root in cgroup_roots()]
    capabilities = [row for row in read_text("/proc/self/status").splitlines() if row.startswith("CapEff")]
    held = int(capabilities[0].split()[1], 16) if capabilities else 0
    memory = [row for row in read_text("/proc/meminfo").splitlines() if row.startswith("MemTotal")]
    return {
        "hostname": os.uname().nodename,
        "kernel": os.uname().release,
        "architecture": os.uname().machine,
        "distribution": release.get("PRETTY_NAME", "").strip('"'),
        "init": read_text("/proc/1/comm").strip(),
        "cgroup_mode": mode,
        "controllers": sorted(controllers),
        "cap_sys_resource": bool(held >> CAP_SYS_RESOURCE & 1),
        # enabled, and not only in the kernel: profiles can be loaded from here
        "apparmor": read_text("/sys/module/apparmor/parameters/enabled").strip() == "Y"
        and os.path.isdir("/sys/kernel/security/apparmor"),
        "systemd": os.path.isdir("/run/systemd/system"),
        "ordinary_user": ordinary_user(),
        "selinux": os.path.exists("/sys/fs/selinux/enforce"),
        "seccomp": os.path.exists("/proc/sys/kernel/seccomp"),
        "binfmt_wasm": binfmt_wasm(),
        "cpus": len(os.sched_getaffinity(0)),
        "memory_mib": int(memory[0].split()[1]) // 1024 if memory else 0,
        "python": "%d.%d.%d" % sys.version_info[:3],
        "user": os.geteuid(),
        "spawn_seconds": median_of(spawn_seconds, 5),
    }


def ordinary_user():
    """Name of the user 1000 if it can have containers with several users in them; else an empty string."""
    try:
        name = pwd.getpwuid(ORDINARY_USER).pw_name
    except KeyError:
        return ""
    ranges = read_text("/etc/subuid").splitlines()
    given = any(line.startswith((name + ":", "%d:" % ORDINARY_USER)) for line in ranges)
    return name if given and shutil.which("newuidmap") and os.path.isdir("/run/systemd/system") else ""


def settle_in_leaf():
    """cgroup v2: a group that hands controllers down may hold no process, so the agent moves to a leaf."""
    root = "/sys/fs/cgroup"
    if os.getpid() == 1 and os.path.exists(root + "/cgroup.procs"):
        os.makedirs(root + "/agent", exist_ok=True)
        with open(root + "/agent/cgroup.procs", "w") as file:
            file.write("1")
        enable_controllers(root, "")


def main(session):
    source, sink = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(2, 1)  # a stray print must not damage a frame
    for fd in (source, sink, nothing):
        fcntl.fcntl(fd, fcntl.F_SETFD, fcntl.FD_CLOEXEC)
    os.umask(0o022)
    if PROGRAMS not in os.environ.get("PATH", "").split(":"):
        os.environ["PATH"] = PROGRAMS + ":" + os.environ.get("PATH", os.defpath)
    agent = Agent(source, sink, session)
    settle_in_leaf()
    agent.claim()
    agent.send({"hello": facts(), "pid": os.getpid()}, [])
    try:
        agent.serve()
    except ClientGone:
        pass
    finally:
        agent.end()


if __name__ == "__main__":
    main(sys.argv[1])
