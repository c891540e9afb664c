"""The options of a mount, as the kernel shows them in mountinfo."""

from conformance import Feature, needs, requirement

#: Each of these shows under its own name.
SHOWN = ["ro", "nosuid", "nodev", "noexec", "noatime", "nodiratime", "relatime", "sync", "dirsync", "lazytime"]
#: Each of these takes back the option it is paired with.
TAKEN_BACK = {
    "rw": "ro", "suid": "nosuid", "dev": "nodev", "exec": "noexec", "atime": "noatime", "diratime": "nodiratime",
    "strictatime": "relatime", "async": "sync", "nolazytime": "lazytime",
}  # fmt: skip
#: These show nowhere; a tmpfs refuses each that reaches it as an option of its own.
SILENT = ["defaults", "iversion", "noiversion", "norelatime", "nostrictatime", "silent", "loud"]
#: Propagation to the word that mountinfo has for it, in a bind mount of something shared.
PROPAGATION = {"private": [], "shared": ["shared"], "slave": ["master"], "unbindable": ["unbindable"]}


def tmpfs(name, *options):
    return {"destination": f"/mnt/{name}", "type": "tmpfs", "source": "tmpfs", "options": ["size=64k", *options]}


def mounts_of(path, container):
    """Mount point to the words that mountinfo has for it, ``shared:7`` as ``shared``."""
    text = path.node.run(["cat", f"/proc/{container.pid}/mountinfo"]).stdout.decode()
    rows = [line.replace(",", " ").split() for line in text.splitlines()]
    return {row[4]: [word.partition(":")[0] for word in row[5:]] for row in rows}


@requirement("OCI-MOUNT-OPTIONS")
@needs(Feature.LIFECYCLE, Feature.OCI_CONFIG)
def test_mount_options_reach_the_kernel(path):
    wanted = [tmpfs(name, name) for name in SHOWN]
    undone = [tmpfs(name, first, name) for name, first in TAKEN_BACK.items()]
    again = [tmpfs("remount"), tmpfs("remount", "remount", "ro")]
    container = path.create("hold", hold_stdin=True, extra_mounts=[tmpfs(""), *wanted, *undone, *again])
    assert container.start().ok
    assert container.wait_until_output()

    seen = mounts_of(path, container)
    container.feed()

    missing = [name for name in SHOWN if name not in seen.get(f"/mnt/{name}", [])]
    kept = [name for name, first in TAKEN_BACK.items() if first in seen.get(f"/mnt/{name}", [first])]
    path.observe(missing=missing, kept=kept)
    assert path.finish(container).proven
    assert missing == []
    assert kept == []
    assert "ro" in seen["/mnt/remount"]


@requirement("OCI-MOUNT-OPTIONS-SILENT")
@needs(Feature.OCI_CONFIG)
def test_mount_options_that_show_nowhere_are_known(path):
    results = {name: path.run("exit-return-0", extra_mounts=[tmpfs("", name)]) for name in SILENT}

    path.observe(refused=[name for name, result in results.items() if not result.guest_started])
    assert [name for name, result in results.items() if not result.proven] == []
    assert [name for name, result in results.items() if result.exit_code != 0] == []


@requirement("OCI-MOUNT-PROPAGATION")
@needs(Feature.LIFECYCLE, Feature.OCI_CONFIG)
def test_mount_propagation_is_the_one_asked_for(path):
    place = path.directory()
    share = 'mount -t tmpfs -o size=64k shared "$0" && mount --make-shared "$0"'
    assert path.node.run(["sh", "-c", share, place]).ok
    wanted = {f"{recursive}{name}": words for name, words in PROPAGATION.items() for recursive in ("", "r")}
    binds = [
        {"destination": f"/mnt/{r}{name}", "source": place, "options": [f"{r}bind", f"{r}{name}"]}
        for name in PROPAGATION for r in ("", "r")
    ]  # fmt: skip
    container = path.create("hold", hold_stdin=True, extra_mounts=[tmpfs(""), *binds])
    container.start()
    container.wait_until_output()

    seen = mounts_of(path, container)
    container.feed()
    result = path.finish(container)
    path.node.run(["umount", place])

    known = {"shared", "master", "unbindable"}
    found = {name: sorted(known & set(seen.get(f"/mnt/{name}", ["not mounted"])[:3])) for name in wanted}
    path.observe(lost=[name for name in wanted if found[name] != wanted[name]])
    assert result.proven
    assert [name for name in wanted if f"/mnt/{name}" not in seen] == []
    assert found == wanted


@requirement("OCI-MOUNT-RELATIVE")
@needs(Feature.LIFECYCLE, Feature.OCI_CONFIG)
def test_a_relative_destination_starts_at_the_root(path):
    relative = {**tmpfs("x"), "destination": "mnt/x"}
    container = path.create("hold", hold_stdin=True, cwd="/tmp", extra_mounts=[tmpfs(""), relative])
    container.start()
    container.wait_until_output()

    seen = mounts_of(path, container)
    container.feed()

    assert path.finish(container).proven
    assert "/mnt/x" in seen
