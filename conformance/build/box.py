"""A Vagrant box for libvirt: the boot image on a disk that also starts under plain QEMU.

The disk is made without loop devices: a partition table and GRUB's first stages are written
as bytes, ``mke2fs -d`` fills the file system behind them. A box is named by its content,
and carries that name in its version and in ``/etc/conformance-image``.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import struct
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path

from conformance.build import cache, command
from conformance.build.cache import Progress, silent
from conformance.build.image import Image, cached, image
from conformance.errors import InfrastructureError

SOURCES = Path(__file__).parents[2] / "vms" / "box"
BOX_NAME = "conformance/node"
IMAGE_NAME = "boot"
DISK_MIB = 10 * 1024
#: Where the file system starts; GRUB's core image lies between it and the partition table.
START_SECTOR = 2048
SECTOR = 512
BUILD_TIMEOUT_SECONDS = 600
NEEDS_MIB = 2500

# The image stays as it is: the box's own files go into a layer above it, in mount and PID
# namespaces that the kernel takes away however this ends. Stdin is a lifeline, see builder.py.
_LAY_OUT = """set -eu
image=$1 sources=$2 work=$3 identity=$4
mount -t tmpfs -o mode=755 tmpfs "$work/layer"
mkdir "$work/layer/upper" "$work/layer/work" "$work/layer/root"
root=$work/layer/root
mount -t overlay -o "lowerdir=$image,upperdir=$work/layer/upper,workdir=$work/layer/work" overlay "$root"
cp -R "$sources/files/." "$root"
cp "$sources/finish.sh" "$root/finish.sh"
printf '%s\\n' "$identity" > "$root/etc/conformance-image"
mount -t proc proc "$root/proc"
mount --bind /dev "$root/dev"
mount -t tmpfs tmpfs "$root/tmp"
env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/tmp LC_ALL=C.UTF-8 chroot "$root" /bin/sh -eu /finish.sh </dev/null
umount "$root/tmp" "$root/dev" "$root/proc"
cp "$root/boot/grub/boot.img" "$root/boot/grub/core.img" "$work"
rm "$root/finish.sh" "$root/boot/grub/boot.img" "$root/boot/grub/core.img"
truncate --size="$5M" "$work/disk.raw"
mke2fs -q -t ext4 -L conformance -d "$root" -O ^metadata_csum_seed,^orphan_file \\
    -E "offset=$6,assume_storage_prezeroed=1" "$work/disk.raw" "$7k"
chown "$(stat -c %u:%g "$work")" "$work"/disk.raw "$work"/boot.img "$work"/core.img
"""
_VAGRANTFILE = """Vagrant.configure("2") do |config|
  config.vm.provider :libvirt do |libvirt|
    libvirt.disk_bus = "virtio"
  end
end
"""


@dataclass(frozen=True)
class Box:
    """A box that is in the cache.

    Attributes:
        directory: holds ``conformance.box``, ``catalog.json`` (for ``vagrant box add``) and ``box.img``.
        digest: SHA-256 over everything it was made of.
        packages: version of every package in it.
    """

    directory: Path
    digest: str
    packages: dict[str, str]

    @property
    def version(self) -> str:
        """The version as Vagrant orders them; ends in the digest's first twelve digits."""
        return version_of(self.digest)

    @property
    def disk(self) -> Path:
        """The bootable qcow2 disk. Never written to: start machines on an overlay of it."""
        return self.directory / "box.img"


def version_of(digest: str) -> str:
    """``0.1.x<first twelve digits>``: RubyGems, whose rules Vagrant takes, allows letters.

    >>> version_of("0123456789abcdef")
    '0.1.x0123456789ab'
    """
    return f"0.1.x{digest[:12]}"


def box(progress: Progress = silent) -> Box:
    """The box of the recipes as they are now, built unless the cache has it.

    Raises:
        InfrastructureError: a tool is missing or the build failed.
    """
    made_of = image(IMAGE_NAME, progress)
    key = _key(made_of)

    def build(directory: Path) -> None:
        progress("building the Vagrant box (about 40 s)")
        _build(made_of, key, directory)

    place = cache.entry("boxes", key, build, needs_mib=NEEDS_MIB, progress=progress)
    return Box(place, key, dict(made_of.packages))


def current() -> Box | None:
    """The box of the recipes as they are now, if it is built; builds nothing."""
    made_of = cached(IMAGE_NAME)
    if made_of is None:
        return None
    key = _key(made_of)
    place = cache.root() / "boxes" / key[:16]
    return Box(place, key, dict(made_of.packages)) if place.is_dir() else None


def _key(made_of: Image) -> str:
    return cache.digest_of("box 1", made_of.digest, SOURCES, _LAY_OUT, _VAGRANTFILE)


def _build(made_of: Image, digest: str, directory: Path) -> None:
    for tool, package in (("qemu-img", "qemu-utils"), ("mke2fs", "e2fsprogs")):
        if not shutil.which(tool, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"):
            raise InfrastructureError(f"{tool} is not installed", hint=f"install it: apt-get install {package}")
    identity = json.dumps({"box": digest, "image": made_of.digest, "recipe": IMAGE_NAME})
    (directory / "layer").mkdir()
    start, size_kib = START_SECTOR * SECTOR, DISK_MIB * 1024 - START_SECTOR * SECTOR // 1024
    argv = [*cache.as_root(), "env", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "unshare", "--mount", "--pid", "--fork",
            "--kill-child", "sh", "-c", _LAY_OUT, "lay-out", str(made_of.path), str(SOURCES), str(directory), identity,
            str(DISK_MIB), str(start), str(size_kib)]  # fmt: skip
    _step(argv, "box-disk")
    raw = directory / "disk.raw"
    with raw.open("r+b") as disk:
        disk.write(first_sectors((directory / "boot.img").read_bytes(), (directory / "core.img").read_bytes()))
    convert = ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", "-c", "-o", "compression_type=zstd", "-m", "8", "-W"]
    _step([*convert, str(raw), str(directory / "box.img")], "box-convert")
    for name in ("disk.raw", "boot.img", "core.img"):
        (directory / name).unlink()
    (directory / "layer").rmdir()
    _pack(directory, digest)


def _step(argv: list[str], name: str) -> None:
    log = command.log_path(name)
    code = command.run(argv, log=log, timeout_seconds=BUILD_TIMEOUT_SECONDS, lifeline=True)
    if code != 0:
        raise InfrastructureError(
            f"building the box failed with exit code {code}:\n{command.last_lines(log)}\nfull log: {log}"
        )


def first_sectors(boot: bytes, core: bytes) -> bytes:
    """What lies before the file system: GRUB's boot sector, one active Linux partition, GRUB's core image.

    GRUB's boot sector reads its core image from sector 1 unless told otherwise, and the core
    image's own list of blocks, written by grub-mkimage, goes on from sector 2.

    Raises:
        InfrastructureError: the core image does not fit before the partition.
    """
    if len(core) > (START_SECTOR - 1) * SECTOR:
        raise InfrastructureError(f"GRUB's core image has {len(core)} bytes, too many to lie before the partition")
    end = (START_SECTOR, DISK_MIB * 2048 - START_SECTOR)
    partition = struct.pack("<B3sB3sII", 0x80, b"\xfe\xff\xff", 0x83, b"\xfe\xff\xff", *end)
    signature = hashlib.sha256(core).digest()[:4]
    return boot[:440] + signature + b"\0\0" + partition + bytes(48) + b"\x55\xaa" + core


def _pack(directory: Path, digest: str) -> None:
    metadata = {"provider": "libvirt", "format": "qcow2", "virtual_size": -(-DISK_MIB // 1024), "conformance": digest}
    (directory / "metadata.json").write_text(json.dumps(metadata) + "\n")
    (directory / "Vagrantfile").write_text(_VAGRANTFILE)
    with tarfile.open(directory / "conformance.box", "w") as archive:
        for name in ("metadata.json", "Vagrantfile", "box.img"):
            archive.add(directory / name, name)
    with (directory / "conformance.box").open("rb") as file:
        checksum = hashlib.file_digest(file, "sha256").hexdigest()
    finished = directory.with_name(directory.name.partition(".partial-")[0])
    provider = {
        "name": "libvirt", "url": f"file://{finished}/conformance.box",
        "checksum_type": "sha256", "checksum": checksum,
    }  # fmt: skip
    catalog = {"name": BOX_NAME, "versions": [{"version": version_of(digest), "providers": [provider]}]}
    (directory / "catalog.json").write_text(json.dumps(catalog, indent=1) + "\n")


def virtual_machine_argv(disk: Path, *, accelerator: str, memory_mib: int, cpus: int, ssh_port: int) -> list[str]:
    """Plain QEMU on an overlay of a box's disk: console on standard output, ssh on a port of this machine.

    Args:
        disk: written to.
        accelerator: ``kvm`` or ``tcg``.
        memory_mib: of the machine.
        cpus: of the machine.
        ssh_port: forwarded to its sshd.
    """
    model = "host" if accelerator == "kvm" else "max"
    return [
        "qemu-system-x86_64", "-nodefaults", "-accel", accelerator, "-cpu", model, "-m", str(memory_mib),
        "-smp", str(cpus), "-drive", f"file={disk},if=virtio,format=qcow2,cache=unsafe", "-vga", "none",
        "-display", "none", "-serial", "stdio", "-monitor", "none", "-device", "virtio-rng-pci",
        "-netdev", f"user,id=net0,hostfwd=tcp:127.0.0.1:{ssh_port}-:22", "-device", "virtio-net-pci,netdev=net0",
    ]  # fmt: skip


def overlay_of(box_: Box, path: Path) -> Path:
    """A fresh disk above a box's disk.

    Raises:
        InfrastructureError: qemu-img refuses.
    """
    argv = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", str(box_.disk), str(path)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode != 0:
        raise InfrastructureError(f"no disk above {box_.disk}: {done.stderr.strip()}")
    return path
