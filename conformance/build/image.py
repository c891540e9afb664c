"""Root file systems made by mmdebstrap from a recipe in ``vms/images``.

An image is a directory. The versions its packages resolved to are its lock, kept beside it
in ``packages.json``; its digest covers recipe and lock. Take one anew by deleting its entry.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import shlex
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from conformance import documents
from conformance.build import cache, command
from conformance.build.cache import Progress, silent
from conformance.errors import InfrastructureError, UsageError

RECIPES = Path(__file__).parents[2] / "vms" / "images"
BUILD_TIMEOUT_SECONDS = 1800

# A service must not start because its package was unpacked, neither now nor when a node gets
# more packages; mmdebstrap's own policy would be gone when it ends, so it is skipped.
_POLICY = r"""printf '#!/bin/sh\nexit 101\n' > "$1/usr/sbin/policy-rc.d" && chmod 755 "$1/usr/sbin/policy-rc.d" """
# The options below are for this build; the image must not remember the host's proxy. The
# clean-up is for what no path-exclude sees: caches that packages write while they install.
_FORGET = (
    r"""rm -rf "$1"/etc/apt/apt.conf.d/99mmdebstrap "$1"/var/cache/debconf/*-old; find "$1/var/log" -type f -delete"""
)
# The mirror that mmdebstrap was given, or chose, has the backports as well.
_BACKPORTS = (
    r"""sed -n 's/^\(deb .*\) {suite} main$/\1 {suite}-backports main/p' "$1/etc/apt/sources.list" """
    r""">"$1/etc/apt/sources.list.d/backports.list" """
)
_UNWANTED = ("/usr/share/man/*", "/usr/share/doc/*", "/usr/share/info/*", "/usr/share/locale/*")
_PASSED_ON = ("http_proxy", "https_proxy", "no_proxy", "HTTPS_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR")
# CARGO_HOME, for instance, is about directories of this machine and stays here.
_REGISTRY_SETTINGS = ("CARGO_HTTP_", "CARGO_NET_", "CARGO_REGISTRIES_", "CARGO_SOURCE_", "GOPROXY", "GOSUMDB")
_APT_SETTINGS = ("Acquire::http::Proxy", "Acquire::https::Proxy", "Acquire::https::CaInfo")


#: In mount and PID namespaces of its own: whatever way a build ends, the kernel takes its mounts
#: of /proc, /sys and /dev and every process with it. Stdin is the lifeline, as in builder.py.
ENCLOSED = (
    "unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c",
    'exec 3<&0; "$@" </dev/null 3<&- & p=$!; { cat >/dev/null; kill -KILL "$p"; } <&3 & wait "$p"', "build",
)  # fmt: skip


@dataclass(frozen=True)
class Recipe:
    """What an image is made of.

    Attributes:
        suite: Debian suite, for instance "trixie".
        packages: installed beside the minimal system.
        files: small text files to write, by absolute path.
        about_seconds: what it took when measured, for the progress line.
        disk_mib: space the build needs in the cache, in MiB.
        base: another recipe of the same suite, whose packages and files this one has as well.
        backports: packages taken from the suite's backports.
    """

    suite: str
    packages: tuple[str, ...]
    files: dict[str, str] = field(default_factory=dict)
    about_seconds: int = 60
    disk_mib: int = 1000
    base: str = ""
    backports: tuple[str, ...] = ()


@dataclass(frozen=True)
class Image:
    """A root file system, ready and never written to again.

    Attributes:
        path: its directory.
        digest: SHA-256 over the recipe and the resolved versions.
        packages: version of every package in it, by name.
    """

    path: Path
    digest: str
    packages: Mapping[str, str]


def recipe(name: str, directory: Path = RECIPES) -> Recipe:
    """Read ``<directory>/<name>.yaml``.

    Raises:
        UsageError: no such recipe, or a mistake in it (with file, line and key).
    """
    path = directory / f"{name}.yaml"
    if not path.is_file():
        known = sorted(file.stem for file in directory.glob("*.yaml"))
        raise UsageError(f"no image is called '{name}'; known: {', '.join(known)}")
    rows = documents.load(path)
    if len(rows) != 1:
        raise UsageError(f"{path}:1: an image recipe is one mapping, found {len(rows)}")
    own = documents.fill(Recipe, rows[0], path)
    if not own.base:
        return own
    below = recipe(own.base, directory)
    if below.suite != own.suite:
        raise UsageError(f"{path}:1: its suite is {own.suite}, but that of its base '{own.base}' is {below.suite}")
    return dataclasses.replace(
        own,
        packages=tuple(dict.fromkeys((*below.packages, *own.packages))),
        files={**below.files, **own.files},
        backports=tuple(dict.fromkeys((*below.backports, *own.backports))),
    )


def image(name: str, progress: Progress = silent) -> Image:
    """The image ``name``, built now if the cache does not have it.

    Builds as root, or as an ordinary user through passwordless sudo.

    Args:
        name: a recipe in ``vms/images``.
        progress: told when a build starts, with the time to expect.

    Raises:
        UsageError: a mistake in the recipe.
        InfrastructureError: the build failed; says how, where the log is, and how to repeat it.
    """
    wanted = recipe(name)
    content, key = _content(wanted)

    def build(directory: Path) -> None:
        progress(f"building {name} image (about {wanted.about_seconds} s)")
        _bootstrap(name, wanted, directory / "rootfs")
        packages = _installed(directory / "rootfs")
        (directory / "packages.json").write_text(json.dumps(packages, indent=1, sort_keys=True) + "\n")
        (directory / "recipe.json").write_text(content + "\n")

    place = cache.entry("images", key, build, needs_mib=wanted.disk_mib, progress=progress)
    return _read(place, content)


def cached(name: str) -> Image | None:
    """The image ``name`` if the cache has it; builds nothing.

    Raises:
        UsageError: a mistake in the recipe.
    """
    content, key = _content(recipe(name))
    place = cache.root() / "images" / key[:16]
    return _read(place, content) if place.is_dir() else None


def recipe_digest(name: str) -> str:
    """SHA-256 of what the image ``name`` is asked to be; whatever versions that resolves to.

    Raises:
        UsageError: a mistake in the recipe.
    """
    return _content(recipe(name))[1]


def _content(wanted: Recipe) -> tuple[str, str]:
    """What the recipe says, and the key of the image it makes."""
    made_of: list[object] = [wanted.suite, sorted(wanted.packages), wanted.files]
    content = json.dumps(made_of + [sorted(wanted.backports)] * bool(wanted.backports), sort_keys=True)
    return content, cache.digest_of("image 2", content, _POLICY, _FORGET, *_UNWANTED)


def _read(place: Path, content: str) -> Image:
    lock = (place / "packages.json").read_text()
    return Image(place / "rootfs", cache.digest_of(content, lock), json.loads(lock))


def _bootstrap(name: str, wanted: Recipe, target: Path) -> None:
    if not shutil.which("mmdebstrap"):
        raise InfrastructureError("mmdebstrap is not installed", hint="install it: apt-get install mmdebstrap")
    argv = [*cache.as_root(), *_environment(), *ENCLOSED, "mmdebstrap", "--mode=root"]
    argv += ["--variant=minbase", "--format=directory"]
    argv += [f"--include={','.join(wanted.packages)}", '--aptopt=Acquire::Retries "3"']
    if wanted.backports:
        argv += [f"--setup-hook={_BACKPORTS.format(suite=wanted.suite)}"]
        argv += [f"--include={name}/{wanted.suite}-backports" for name in wanted.backports]
    argv += [f"--aptopt={option}" for option in apt_options()]
    argv += [f"--dpkgopt=path-exclude={pattern}" for pattern in _UNWANTED]
    argv += ["--skip=chroot/policy-rc.d", f"--essential-hook={_POLICY}"]
    for path, text in wanted.files.items():
        place = f'"$1"/{shlex.quote(path.lstrip("/"))}'
        argv.append(f'--customize-hook=mkdir -p "$(dirname {place})" && printf %s {shlex.quote(text)} > {place}')
    argv += [f"--customize-hook={_FORGET}", wanted.suite, str(target), *mirrors(wanted.suite)]
    log = command.log_path(f"image-{name}")
    code = command.run(argv, log=log, timeout_seconds=BUILD_TIMEOUT_SECONDS, lifeline=True)
    if code != 0:
        again = shlex.join(f"./{name}-again" if word == str(target) else word for word in argv)
        raise InfrastructureError(
            f"building the {name} image failed with exit code {code}:\n{command.last_lines(log)}\n"
            f"full log: {log}\nrepeat it: {again}",
            hint="a network or mirror that is away is the usual reason",
        )


def _environment() -> list[str]:
    """``env K=V ...`` for settings that sudo would drop."""
    return ["env", *(f"{name}={value}" for name, value in host_settings().items()), "LC_ALL=C.UTF-8"]


def host_settings() -> dict[str, str]:
    """This machine's own proxy, certificate and registry settings, from the environment."""
    passed = {name: value for name, value in os.environ.items() if name in _PASSED_ON and value}
    return passed | {name: value for name, value in os.environ.items() if name.startswith(_REGISTRY_SETTINGS)}


@functools.cache
def apt_options() -> tuple[str, ...]:
    """This machine's own proxy and certificate settings for apt, in apt's words."""
    dump = _output(["apt-config", "dump", *_APT_SETTINGS])
    lines = [line.strip().rstrip(";") for line in dump.splitlines()]
    # a proxy may be set per host (Acquire::http::Proxy::HOST), so prefixes count
    return tuple(line for line in lines if line.startswith(_APT_SETTINGS) and not line.endswith('""'))


@functools.cache
def mirrors(suite: str) -> tuple[str, ...]:
    """apt lines for the mirror the host itself uses; none (mmdebstrap's default) if it shows none."""
    shown = _output(["apt-get", "indextargets", "--format", "$(ORIGIN)|$(LABEL)|$(REPO_URI)", "Created-By: Packages"])
    rows = {tuple(line.split("|", 2)) for line in shown.splitlines()}
    usable = ("http:", "https:", "file:")
    main = sorted(row[2] for row in rows if row[:2] == ("Debian", "Debian") and row[2].startswith(usable))
    security = sorted(row[2] for row in rows if row[:2] == ("Debian", "Debian-Security") and row[2].startswith(usable))
    if not main:
        return ()
    lines = [f"deb {main[0]} {suite} main", f"deb {main[0]} {suite}-updates main"]
    if security:
        lines.append(f"deb {security[0]} {suite}-security main")
    return tuple(lines)


def _installed(rootfs: Path) -> dict[str, str]:
    argv = ["dpkg-query", f"--admindir={rootfs}/var/lib/dpkg", "--show", "--showformat=${Package} ${Version}\n"]
    shown = _output(argv)
    packages = dict(line.split(" ", 1) for line in shown.splitlines() if " " in line)
    if not packages:
        raise InfrastructureError(f"{rootfs} has no list of packages", hint=f"try: {shlex.join(argv)}")
    return packages


def _output(argv: list[str]) -> str:
    """What a quick question to the host's tools printed; nothing where the tool is missing."""
    try:
        return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""
