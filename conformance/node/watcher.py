"""Looks at the first process of every container that gets a cgroup below a given one.

For runtimes whose container processes no hook can look at. A container's cgroup is made before its
first process can run, and inotify(7) tells of it; from then on the group's processes are looked at
until there is one in a PID namespace of its own: that process becomes the guest. The ones before it
are the runtime's helpers, and the oldest stands for a container that shares the node's PIDs.

It is sent as text to ``python3`` on the node and needs only the standard library. Its arguments are
the cgroup, as ``/proc/PID/cgroup`` spells it, how many levels below it the containers' groups are, and
the directory for what it sees: one file for each container, named as its group is, written as
``proof.HOOK`` writes it. ``ready`` there says that it watches.
"""

import ctypes
import errno
import os
import select
import struct
import sys
import time

CREATED, IS_DIRECTORY = 0x100, 0x40000000
EVENT = struct.Struct("iIII")
#: Between two looks at a group whose container is being made, which takes some ten milliseconds.
LOOK_SECONDS = 0.001
#: How long a group is looked at where no process in it gets a PID namespace of its own, and once there is one:
#: the first look may have met it while it was becoming another program.
SETTLES_SECONDS, SEEN_SECONDS = 5.0, 0.01
GONE = (errno.ENOENT, errno.ESRCH, errno.ENODEV)


def hierarchy():
    """Where containers' cgroups are: a tree of version 1 that every runtime fills, else version 2's only one."""
    with open("/proc/self/mounts") as mounts:
        rows = [line.split() for line in mounts]
    first = [row[1] for row in rows if row[2] == "cgroup" and "memory" in row[3].split(",")]
    return (first + [row[1] for row in rows if row[2] == "cgroup2"])[0]


def text_of(path):
    with open(path) as file:
        return file.read()


def look(group, file):
    """Write down the container's first process; true once it is the one that becomes the guest."""
    pids = text_of(group + "/cgroup.procs").split()
    for pid in pids:
        base = "/proc/" + pid + "/"
        try:
            namespaced = [line for line in text_of(base + "status").splitlines() if line.startswith("NSpid:")]
            comm, maps = text_of(base + "comm"), text_of(base + "maps")
            exe = os.readlink(base + "exe")  # not there if the process ended meanwhile, and its maps are half read
        except OSError as error:
            if error.errno not in GONE:
                raise
            continue  # it has ended since the group was read
        guest = len(namespaced[0].split()) > 2
        if not maps or not (guest or pid == pids[0]):
            continue
        with open(file + ".partial", "w") as out:
            out.write("%s %s\n%s%sid %s\n" % (pid, exe, comm, maps, os.path.basename(file)))
        os.rename(file + ".partial", file)
        if guest:
            return True
    return False


class Watch:
    """The groups below one, down to the level of the containers'."""

    def __init__(self, top, levels, out):
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.descriptor = self.libc.inotify_init1(os.O_CLOEXEC)
        self.top, self.levels, self.out = top, levels, out
        self.watched, self.unsettled = {}, {}

    def add(self, directory, level):
        """Watch a group that is above the containers', and take in what it holds already."""
        number = self.libc.inotify_add_watch(self.descriptor, directory.encode(), CREATED)
        if number < 0:
            return  # it has gone again
        self.watched[number] = directory, level
        with os.scandir(directory) as entries:
            for entry in [e for e in entries if e.is_dir()]:
                self.meet(entry.path, level + 1)

    def meet(self, directory, level):
        if level < self.levels:
            self.add(directory, level)
        else:
            self.unsettled[directory] = time.monotonic() + SETTLES_SECONDS

    def read(self):
        data = os.read(self.descriptor, 65536)
        while data:
            number, kinds, _, length = EVENT.unpack_from(data)
            name = data[EVENT.size : EVENT.size + length].rstrip(b"\0").decode()
            data = data[EVENT.size + length :]
            if kinds & CREATED and kinds & IS_DIRECTORY and number in self.watched:
                directory, level = self.watched[number]
                self.meet(directory + "/" + name, level + 1)
            elif not kinds & CREATED:
                self.watched.pop(number, None)  # IN_IGNORED: the group was removed

    def follow(self):
        self.add(self.top, 0)
        open(self.out + "/ready", "w").close()
        while True:
            if select.select([self.descriptor], [], [], LOOK_SECONDS if self.unsettled else None)[0]:
                self.read()
            for group, end in list(self.unsettled.items()):
                now = time.monotonic()
                try:
                    if look(group, self.out + "/" + os.path.basename(group)):
                        self.unsettled[group] = end = min(end, now + SEEN_SECONDS)
                except OSError as error:
                    if error.errno not in GONE:
                        raise
                    end = now  # the group has been removed
                if now >= end:
                    del self.unsettled[group]


try:
    # what it waits for lasts some ten milliseconds, whatever else the node does
    os.setpriority(os.PRIO_PROCESS, 0, -20)
except PermissionError:
    print("watcher: goes without priority: CAP_SYS_NICE is missing", file=sys.stderr)
Watch(hierarchy() + sys.argv[1], int(sys.argv[2]), sys.argv[3]).follow()
