"""Running a script inside an image, as a throw-away that leaves the image as it was."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from conformance.build import cache, command
from conformance.build.image import Image

# Runs in mount, PID and network namespaces of its own: whatever way it ends, the kernel takes
# the mounts and every process with it. The image is bound read-only over itself. Stdin is a
# lifeline: it ends when the harness does, even by kill -9 or behind sudo, where no signal comes.
# Arguments: image, work, then FROM TO for each bind, --, and the environment.
_ENTER = """set -eu
root=$1 work=$2
shift 2
mount --bind "$root" "$root"
mount -o remount,bind,ro "$root"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mount -t tmpfs -o mode=755 tmpfs "$root/opt"
mount -t proc proc "$root/proc"
mount --bind /dev "$root/dev"
mount --bind "$work" "$root/mnt"
while [ "$1" != -- ]; do
    [ ! -d "$1" ] || mkdir -p "$root$2"
    mount --bind "$1" "$root$2"
    case $2 in /opt/*) mount -o remount,bind,ro "$root$2" ;; esac
    shift 2
done
shift
exec 3<&0
env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/tmp TMPDIR=/tmp LC_ALL=C.UTF-8 "$@" \\
    chroot "$root" /bin/sh -eu /mnt/script </dev/null 3<&- &
script=$!
{ cat >/dev/null; kill -KILL "$script"; } <&3 &
wait "$script"
"""


def run(
    image: Image, script: str, *, work: Path, log: Path, timeout_seconds: float,
    binds: Mapping[str, Path] = MappingProxyType({}), environment: Mapping[str, str] = MappingProxyType({}),
    network: bool = False, tell: Callable[[float], None] | None = None,
) -> int:  # fmt: skip
    """Run a shell script in ``image`` and give back its exit code.

    Inside, ``work`` is /mnt and lasts, /tmp and /opt are fresh memory, everything else is
    read-only, and there is no network.

    Args:
        image: the root file system; unchanged afterwards.
        script: for /bin/sh, written to ``work``/script.
        work: a directory of the caller's; what the script writes there may belong to root.
        log: gets all output.
        timeout_seconds: after this everything in there is killed.
        binds: path inside (one that exists, or a directory below /opt) to what is to be seen there;
            read-only below /opt.
        environment: variables beside the usual few.
        network: the script sees this machine's network.
        tell: called every minute with the seconds so far.

    Raises:
        InfrastructureError: it cannot be started, or did not end in time.
    """
    (work / "script").write_text(script)
    unshare = ["unshare", "--mount", "--pid", *([] if network else ["--net"]), "--fork", "--kill-child"]
    argv = [*cache.as_root(), *unshare, "sh", "-c", _ENTER, "enter", str(image.path), str(work)]
    argv += [word for inside, outside in binds.items() for word in (str(outside), inside)]
    argv += ["--", *(f"{name}={value}" for name, value in environment.items())]
    return command.run(argv, log=log, timeout_seconds=timeout_seconds, lifeline=True, tell=tell)
