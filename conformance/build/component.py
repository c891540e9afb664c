"""Runtimes and engines made from a recipe in ``vms/components``, in a throw-away builder.

A component is a tree that is laid over a node: everything of it lies in
``/opt/conformance/components/NAME``, where its programs find their libraries by a RUNPATH. What
it is made of comes from package registries through their own clients, checked against the
digest in the recipe, and is kept; the build itself has no network. Compilers share one cargo
home and one target directory, so that the second build of a kind is a short one.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import shlex
import shutil
import sys
import tarfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache as cache_of_calls
from pathlib import Path
from typing import Any, Literal

from conformance import documents
from conformance.build import builder, cache, command
from conformance.build.cache import Progress, silent
from conformance.build.image import Image, apt_options, host_settings, image, recipe_digest
from conformance.build.image import recipe as image_recipe
from conformance.errors import InfrastructureError, UsageError

RECIPES = Path(__file__).parents[2] / "vms" / "components"
#: Where a component lies on a node.
PLACE = "/opt/conformance/components"
BUILDER = "component-builder"
FETCH_TIMEOUT_SECONDS = 900
#: A build gets this many times what it took when measured, because machines differ; at least ten minutes.
PATIENCE = 8
#: Where finished components may be had instead of building them: directories or URLs, separated by spaces.
CACHE_FROM = "CONFORMANCE_CACHE_FROM"
URL_TIMEOUT_SECONDS = 20
UPSTREAM_TIMEOUT_SECONDS = 5
_NO_PART_OF_THE_KEY = ("builder", "directory", "file", "line", "like", "summary", "about_seconds", "disk_mib")
_CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"

# Each leaves its file in /mnt/out. apt verifies what it gets against the suite's signed index,
# cargo and pip against their registry's; the recipe's digest is looked at afterwards.
_APT = r"""
mkdir -p /tmp/apt/lists/partial /tmp/apt/cache/archives/partial
sed -n 's/^deb \(.*\) {builder_suite} main.*/{type} \1 {suite} main/p' /etc/apt/sources.list >/tmp/apt/sources.list
set -- {apt_options} -o Dir::State::lists=/tmp/apt/lists -o Dir::Cache=/tmp/apt/cache -o APT::Sandbox::User=root
set -- "$@" -o Dir::Etc::sourcelist=/tmp/apt/sources.list -o Dir::Etc::sourceparts=/tmp/apt/none -q
apt-get "$@" update
cd /mnt/out
"""
_FETCH = {
    "debian-package": _APT.replace("{type}", "deb")
    + """
apt-get "$@" download {name}={version}
""",
    "debian-source": _APT.replace("{type}", "deb-src")
    + """
apt-get "$@" source --tar-only --download-only {name}={version}
""",
    "crate": """
cargo info --quiet {name}@{version} >/dev/null
cp /srv/cargo/registry/cache/*/{name}-{version}.crate /mnt/out/
""",
    "go-module": """
cp "$(go mod download -json {name}@{version} | sed -n 's/.*"Zip": "\\(.*\\)".*/\\1/p')" /mnt/out/
""",
}
# What a crate's own Cargo.lock or a module's go.sum names, so that it builds without network.
_DEPENDENCIES = {
    "crate": """
mkdir /tmp/locked
tar -xf /mnt/sources/{file} -C /tmp/locked --strip-components=1
cd /tmp/locked
cargo fetch --locked --target "$(uname -m)-unknown-linux-gnu"
""",
    "directory": """
cp -r /mnt/sources/{file} /tmp/locked
cd /tmp/locked
cargo fetch --locked --target "$(uname -m)-unknown-linux-gnu"
""",
    "go-module": """
unzip -q /mnt/sources/{file} -d /tmp/locked
cd /tmp/locked/{name}@{version}
go mod download
""",
}
#: What the compilers need to know beside this machine's own settings.
_ENVIRONMENT = {
    "CARGO_HOME": "/srv/cargo", "GOMODCACHE": "/srv/go/modules", "GOCACHE": "/srv/go/build", "GOTOOLCHAIN": "local",
    "GOFLAGS": "-modcacherw -buildvcs=false -trimpath",
    "PATH": "/usr/lib/go-1.26/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
}  # fmt: skip
_PROLOGUE = """
unpack() {{ mkdir -p "$2" && tar -xf /mnt/sources/$1 -C "$2" --strip-components=1; }}
export NAME={name} VERSION={version} RESULT=/mnt/tree{place}/{name} SOURCES=/mnt/sources PATCHES=/mnt/patches
export COMPONENTS={place} JOBS="$(nproc)"
mkdir /tmp/build
cd /tmp/build
"""


@dataclass(frozen=True)
class Source:
    """A file that a component is made of.

    Attributes:
        kind: whose client gets it: apt (a package, or the upstream tar of a source package), cargo, pip or go.
        name, version: as the registry spells them.
        sha256: of the file.
        suite: Debian's, for a package.
        upstream: URL of the same file where upstream publishes it; tried first.
        locked: also get what the crate's Cargo.lock or the module's go.sum names.
    """

    kind: Literal["debian-package", "debian-source", "crate", "wheel", "go-module"]
    name: str
    version: str
    sha256: str
    suite: str = "trixie"
    upstream: str = ""
    locked: bool = False


@dataclass(frozen=True)
class Recipe:
    """How a component is made. One YAML file in ``vms/components``; docs/components.md explains it.

    Attributes:
        name: as the file.
        version: of what it is mostly made of.
        summary: one line for people.
        sources: files it is made of.
        script: for /bin/sh; fills $RESULT.
        result: files below $RESULT that must be there afterwards.
        needs: components that it is built with and that go onto the node with it.
        patches: files in ``vms/components/patches``.
        like: another recipe, whose values hold for what this one does not say.
        builder: the image that has its compilers.
        contains: other versioned things inside (an engine that is linked in), name to version.
        about_seconds: what it took when measured, from an empty cache.
        disk_mib: space the build needs, in MiB, compilation cache included.
        directory: a crate of ours beside the recipe, with its Cargo.lock; lies in $SOURCES by that name.
    """

    name: str
    version: str
    summary: str
    sources: tuple[Source, ...]
    script: str
    result: tuple[str, ...]
    about_seconds: int
    disk_mib: int
    directory: str = ""
    needs: tuple[str, ...] = ()
    patches: tuple[str, ...] = ()
    contains: dict[str, str] = field(default_factory=dict)
    like: str = ""
    builder: str = BUILDER
    file: Path = Path()
    line: int = 0


@dataclass(frozen=True)
class Component:
    """A finished component.

    Attributes:
        name, version, contains, result: as in its recipe.
        tree: to be laid over a node's root.
        digest: SHA-256 over names and contents of its files.
        seconds: what building it took, in whatever state the compilation cache was.
        mib: size on disk, in MiB.
    """

    name: str
    version: str
    tree: Path
    digest: str
    seconds: float
    mib: float
    result: tuple[str, ...]
    contains: Mapping[str, str]

    @property
    def place(self) -> Path:
        """Its own directory in the tree."""
        return self.tree / f"{PLACE[1:]}/{self.name}"


def recipes(directory: Path | None = None) -> dict[str, Recipe]:
    """Every recipe by name.

    Raises:
        UsageError: a mistake in one, with file, line and key.
    """
    found = {}
    for path in sorted((directory or RECIPES).glob("*.yaml"), key=lambda file: file.stem):
        row = _row(path)
        one = documents.fill(Recipe, row, path)
        lines = row["__lines__"]
        if one.name != path.stem:
            raise UsageError(f"{path}:{lines['name']}: name '{one.name}' differs from the file's name")
        if one.directory and not (path.parent / one.directory / "Cargo.lock").is_file():
            raise UsageError(f"{path}:{lines['directory']}: there is no {path.parent / one.directory}/Cargo.lock")
        for patch in one.patches:
            if not (path.parent / "patches" / patch).is_file():
                raise UsageError(f"{path}:{lines['patches']}: there is no patch '{patch}' in {path.parent}/patches")
        for source in one.sources:
            if len(source.sha256) != 64 or set(source.sha256) - set("0123456789abcdef"):
                raise UsageError(f"{path}:{lines['sources']}: sha256 of {source.name} must be 64 hexadecimal digits")
        found[one.name] = one
    for one in found.values():
        for name in one.needs:
            if name not in found:
                raise UsageError(f"{one.file}:{one.line}: it needs '{name}', which is no component")
    return found


@cache_of_calls
def _load(path: Path, _changed: int) -> list[dict[str, Any]]:
    return documents.load(path)


def _row(path: Path) -> dict[str, Any]:
    # a run asks for the recipes a score of times
    rows = _load(path, path.stat().st_mtime_ns)
    if len(rows) != 1:
        raise UsageError(f"{path}:1: a component recipe is one mapping, found {len(rows)}")
    row = rows[0]
    if "like" not in row:
        return row
    other = path.with_name(f"{row['like']}.yaml")
    if not other.is_file():
        raise UsageError(f"{path}:{row['__lines__']['like']}: it is like '{row['like']}', which is no component")
    below = _row(other)
    return {**below, **row, "__lines__": {**dict.fromkeys(below["__lines__"], 1), **row["__lines__"]}}


def recipe(name: str) -> Recipe:
    """One recipe.

    Raises:
        UsageError: no such component, or a mistake in a recipe.
    """
    known = recipes()
    if name not in known:
        close = documents.nearest(name, known)
        raise UsageError(
            f"no component is called '{name}'"
            + (f"; did you mean '{close}'?" if close else "")
            + f" (known: {', '.join(known)})"
        )
    return known[name]


def with_needs(names: Iterable[str]) -> list[str]:
    """These components and those they need, each after what it needs; names that are no component are left out."""
    known, ordered = recipes(), dict[str, None]()

    def add(name: str) -> None:
        if name in known and name not in ordered:
            for needed in known[name].needs:
                add(needed)
            ordered[name] = None

    for name in names:
        add(name)
    return list(ordered)


def program_on_node(names: Iterable[str], binary: str) -> str:
    """Where on a node these components have a program of that name; empty where none has."""
    known = recipes()
    holding = [name for name in with_needs(names) if f"bin/{binary}" in known[name].result]
    return f"{PLACE}/{holding[0]}/bin/{binary}" if holding else ""


def libraries_on_node(names: Iterable[str]) -> tuple[str, ...]:
    """Directories on a node in which these components have libraries."""
    known = recipes()
    return tuple(
        f"{PLACE}/{name}/lib"
        for name in with_needs(names)
        if any(file.startswith("lib/") for file in known[name].result)
    )


def component(name: str, progress: Progress = silent) -> Component:
    """The component ``name``: from the cache, from where $CONFORMANCE_CACHE_FROM says, or built now.

    Args:
        name: a recipe in ``vms/components``.
        progress: told what is done, with the time to expect.

    Raises:
        UsageError: a mistake in the recipe, or a source that is not the one it names.
        InfrastructureError: the build failed; says how, where the log is, and how to repeat it.
    """
    wanted = recipe(name)
    key = _key(wanted)

    def make(directory: Path) -> None:
        for place in os.environ.get(CACHE_FROM, "").split():
            if _taken(place, key, directory, progress):
                return
        _make(wanted, directory, progress)

    seconds = PATIENCE * max(wanted.about_seconds, 600)
    entry = cache.entry("components", key, make, needs_mib=wanted.disk_mib, progress=progress, wait_seconds=seconds)
    return _read(entry)


def cached(name: str) -> Component | None:
    """The component ``name`` if the cache has it; builds nothing.

    Raises:
        UsageError: a mistake in the recipe.
    """
    entry = _entry(recipe(name))
    return _read(entry) if entry.is_dir() else None


def pack(name: str, directory: Path) -> Path:
    """Write a finished component as one file, to be read through ``--cache-from``.

    Raises:
        InfrastructureError: it is not built, or cannot be written.
    """
    entry = _entry(recipe(name))
    if not entry.is_dir():
        raise InfrastructureError(f"component {name} is not built", hint=f"build it: conformance build {name}")
    packed = directory / "components" / f"{entry.name}.tar"
    partial = packed.with_suffix(f".partial-{os.getpid()}")
    try:
        packed.parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(partial, "w") as tar:
            tar.add(entry, ".")
        partial.replace(packed)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise InfrastructureError(f"{packed} cannot be written: {error.strerror}") from error
    return packed


def _key(wanted: Recipe) -> str:
    """What the result depends on: a recipe, its sources' digests, what it needs and the builder's recipe."""
    own = {k: v for k, v in asdict(wanted).items() if k not in _NO_PART_OF_THE_KEY}
    patches = [wanted.file.parent / "patches" / patch for patch in wanted.patches]
    if wanted.directory:
        patches.append(wanted.file.parent / wanted.directory)
    needed = [_key(recipe(name)) for name in wanted.needs]
    builder_digest = recipe_digest(wanted.builder)
    return cache.digest_of("component 1", json.dumps(own, sort_keys=True), *patches, *needed, builder_digest)


def _entry(wanted: Recipe) -> Path:
    return cache.root() / "components" / _key(wanted)[:16]


def _read(entry: Path) -> Component:
    known = json.loads((entry / "component.json").read_text())
    return Component(
        known["name"], known["version"], entry / "tree", known["digest"], known["seconds"], known["mib"],
        tuple(known["result"]), known["contains"],
    )  # fmt: skip


def _taken(place: str, key: str, directory: Path, progress: Progress) -> bool:
    """Copy the finished component from another cache (a directory) or from where packed ones lie."""
    name = key[:16]
    try:
        if "://" in place:
            url = f"{place.rstrip('/')}/components/{name}.tar"
            with _opened(url, URL_TIMEOUT_SECONDS) as answer:
                _unpack(answer, directory)
        elif (Path(place) / "components" / name).is_dir():
            shutil.copytree(Path(place) / "components" / name, directory, symlinks=True, dirs_exist_ok=True)
        elif (Path(place) / "components" / f"{name}.tar").is_file():
            with (Path(place) / "components" / f"{name}.tar").open("rb") as file:
                _unpack(file, directory)
        else:
            return False
        found = _read(directory)
        if cache.digest_of(found.place) != found.digest:
            raise InfrastructureError(f"{found.name} from {place} is not what it says it is: its digest differs")
    except urllib.error.HTTPError as error:
        if error.code != 404:
            progress(f"{place} does not answer for {name}: HTTP {error.code}")
        return False
    except (OSError, tarfile.TarError, ValueError, KeyError) as error:
        progress(f"{place} cannot be read: {error}")
        for rest in directory.iterdir():
            cache.remove(rest)
        return False
    progress(f"{found.name} comes from {place}")
    return True


def _opened(url: str, timeout_seconds: float) -> Any:
    """What is at a URL that a person wrote: into a recipe, or into the command line."""
    return urllib.request.urlopen(url, timeout=timeout_seconds)  # noqa: S310


def _unpack(file: Any, directory: Path) -> None:
    with tarfile.open(fileobj=file, mode="r|") as tar:
        tar.extractall(directory, filter="data")


def _make(wanted: Recipe, directory: Path, progress: Progress) -> None:
    compilers = image(wanted.builder, progress)
    needed = [component(name, progress) for name in wanted.needs]
    files = [_source(source, wanted, compilers, progress) for source in wanted.sources]
    work = directory / "work"
    place = work / "tree" / PLACE[1:] / wanted.name
    for made in (place, work / "sources", work / "patches"):
        made.mkdir(parents=True)
    for file in files:
        shutil.copy(file, work / "sources")
    if wanted.directory:
        shutil.copytree(wanted.file.parent / wanted.directory, work / "sources" / wanted.directory)
    for patch in wanted.patches:
        shutil.copy(wanted.file.parent / "patches" / patch, work / "patches")
    _fetch_locked(wanted, files, compilers, work, progress)
    progress(f"building {wanted.name} {wanted.version} (about {duration(wanted.about_seconds)})")
    started = time.monotonic()
    _compile(wanted, compilers, needed, work, progress)
    known = {
        "name": wanted.name, "version": wanted.version, "digest": cache.digest_of(place),
        "seconds": round(time.monotonic() - started, 1),
        "mib": round(sum(f.lstat().st_size for f in place.rglob("*") if f.is_file()) / 2**20, 1),
        "result": wanted.result, "contains": wanted.contains, "builder": compilers.digest,
        "built": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }  # fmt: skip
    # once for the cache and once for the node, beside the component so that its digest is its own
    for where in (directory / "component.json", place.with_name(f"{wanted.name}.json")):
        where.write_text(json.dumps(known, indent=1) + "\n")
    (work / "tree").rename(directory / "tree")
    cache.remove(work)


def _compile(
    wanted: Recipe, compilers: Image, needed: Sequence[Component], work: Path, progress: Progress
) -> None:  # fmt: skip
    script = _PROLOGUE.format(name=wanted.name, version=wanted.version, place=PLACE) + wanted.script
    log = command.log_path(f"component-{wanted.name}")

    def tell(seconds: float) -> None:
        progress(f"building {wanted.name}: {duration(seconds)} of about {duration(wanted.about_seconds)}")

    code = builder.run(
        compilers, script, work=work, log=log, timeout_seconds=PATIENCE * max(wanted.about_seconds, 600),
        binds=_binds(needed), environment={**host_settings(), **_ENVIRONMENT}, tell=tell,
    )  # fmt: skip
    missing = [file for file in wanted.result if not (work / "tree" / PLACE[1:] / wanted.name / file).exists()]
    if code == 0 and not missing:
        return
    why = f"failed with exit code {code}" if code else f"made no {', '.join(missing)}"
    raise InfrastructureError(
        f"building {wanted.name} {why}:\n{command.last_lines(log)}\nfull log: {log}",
        hint=f"repeat it: conformance build {wanted.name}",
    )


def _binds(needed: Sequence[Component] = ()) -> dict[str, Path]:
    """What the builder sees of this machine: shared compilation caches and the components that are needed."""
    shared = cache.root() / "compile"
    shared.mkdir(parents=True, exist_ok=True)
    return {"/srv": shared, **{f"{PLACE}/{one.name}": one.place for one in needed}}


def _network_binds() -> dict[str, Path]:
    """The same, and what the network needs: names, and the certificates that this machine trusts."""
    _copy_cargo_settings(cache.root() / "compile" / "cargo")
    certificates = Path(os.environ.get("SSL_CERT_FILE", _CERTIFICATES))
    seen = {"/etc/resolv.conf": Path("/etc/resolv.conf"), _CERTIFICATES: certificates}
    return {**_binds(), **{inside: outside.resolve() for inside, outside in seen.items() if outside.is_file()}}


def _copy_cargo_settings(home: Path) -> None:
    """Whatever mirror this machine's own cargo uses, ours uses too; none where it has none."""
    own = Path(os.environ.get("CARGO_HOME") or Path.home() / ".cargo")
    home.mkdir(parents=True, exist_ok=True)
    (home / "config.toml").unlink(missing_ok=True)
    for name in ("config.toml", "config"):
        if (own / name).is_file():
            shutil.copy(own / name, home / "config.toml")
            return


def _source(source: Source, wanted: Recipe, compilers: Image, progress: Progress) -> Path:
    """The file, fetched once and then kept under its digest."""

    def fetch(directory: Path) -> None:
        progress(f"fetching {source.name} {source.version} ({source.kind})")
        got = _from_upstream(source, directory) or _from_registry(source, wanted, compilers, directory)
        with got.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != source.sha256:
            raise UsageError(
                f"{wanted.file}:{wanted.line}: {source.name} {source.version} has sha256 {digest},"
                f" the recipe says {source.sha256}"
            )

    entry = cache.entry("sources", source.sha256, fetch, needs_mib=64, progress=progress)
    return next(file for file in entry.iterdir() if file.is_file())


def _from_upstream(source: Source, directory: Path) -> Path | None:
    """The file as upstream publishes it; None where that cannot be reached."""
    if not source.upstream:
        return None
    target = directory / source.upstream.rpartition("/")[2]
    try:
        with _opened(source.upstream, UPSTREAM_TIMEOUT_SECONDS) as answer:
            target.write_bytes(answer.read())
    except OSError:
        target.unlink(missing_ok=True)
        return None
    return target


def _from_registry(source: Source, wanted: Recipe, compilers: Image, directory: Path) -> Path:
    log = command.log_path(f"fetch-{source.name.replace('/', '-')}")
    out = directory / "out"
    out.mkdir()
    if source.kind == "wheel":
        argv = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--dest", str(out)]
        code = command.run(
            [*argv, f"{source.name}=={source.version}"], log=log, timeout_seconds=FETCH_TIMEOUT_SECONDS
        )  # fmt: skip
    else:
        script = _FETCH[source.kind].format(
            name=source.name, version=source.version, suite=source.suite,
            builder_suite=image_recipe(wanted.builder).suite,
            apt_options=" ".join(f"-o {shlex.quote(option)}" for option in apt_options()),
        )  # fmt: skip
        code = _with_network(compilers, script, directory, log)
    found = [file for file in out.iterdir() if file.is_file()]
    if code != 0 or len(found) != 1:
        raise InfrastructureError(
            f"{wanted.name} needs {source.name} {source.version} ({source.kind}), which cannot be had:"
            f" {command.last_lines(log, 1) or 'no reason given'}",
            hint=f"full log: {log}; a network or mirror that is away is the usual reason",
        )
    target = directory / found[0].name
    shutil.copy(found[0], target)
    cache.remove(out)
    return target


def _fetch_locked(wanted: Recipe, files: Sequence[Path], compilers: Image, work: Path, progress: Progress) -> None:
    """Get what the lock of each source so marked, and of a crate of ours, names; done once for each lock."""
    locked: list[tuple[str, str, str, str, str]] = [
        (source.kind, source.name, source.version, file.name, source.sha256)
        for source, file in zip(wanted.sources, files, strict=True)
        if source.locked
    ]
    if wanted.directory:
        lock = work / "sources" / wanted.directory / "Cargo.lock"
        locked.append(("directory", wanted.directory, wanted.version, wanted.directory, cache.digest_of(lock)))
    for kind, name, version, file_name, digest in locked:
        done = cache.root() / "compile" / "cargo" / f"locked-{digest[:16]}"
        if done.exists():
            continue
        progress(f"fetching what {name} {version} depends on")
        log = command.log_path(f"fetch-{name.replace('/', '-')}-locked")
        script = _DEPENDENCIES[kind].format(file=file_name, name=name, version=version)
        if _with_network(compilers, script, work, log) != 0:
            raise InfrastructureError(
                f"{wanted.name} needs what {name} {version} depends on, which cannot be had:"
                f" {command.last_lines(log, 1)}",
                hint=f"full log: {log}; a network or mirror that is away is the usual reason",
            )
        done.touch()


def _with_network(compilers: Image, script: str, work: Path, log: Path) -> int:
    return builder.run(
        compilers, script, work=work, log=log, timeout_seconds=FETCH_TIMEOUT_SECONDS, binds=_network_binds(),
        environment={**host_settings(), **_ENVIRONMENT}, network=True,
    )  # fmt: skip


def duration(seconds: float) -> str:
    """A length of time for people.

    >>> duration(80), duration(1080)
    ('80 s', '18 min')
    """
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
