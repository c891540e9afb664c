"""The guests of ``suites/workloads``, compiled and laid out as two root file systems.

One tree holds the modules, one their native twins of the same sources; they differ in
nothing else. ``python -m conformance.build.guests`` builds them and prints what they are.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import shutil
import sys
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from conformance import documents
from conformance.build import builder, cache, command
from conformance.build.cache import Progress, silent
from conformance.build.image import Image, image
from conformance.errors import InfrastructureError, UsageError

WORKLOADS = Path(__file__).parents[2] / "suites" / "workloads"
COMPILE_TIMEOUT_SECONDS = 900
MTIME = 1_735_689_600  # 2025-01-01; fixed, so that the same sources give the same digest

# What the trees hold beside the guests.
_FILES = {
    "data/greeting.txt": "hello from the root file system\n",
    "work/here.txt": "here\n",
    "etc/passwd": "root:x:0:0:root:/:/none\nguest:x:1000:1000:guest:/:/none\nnobody:x:65534:65534:nobody:/:/none\n",
    "etc/group": "root:x:0:\nguest:x:1000:\nnogroup:x:65534:\n",
}
_DIRECTORIES = {"dev": 0o755, "proc": 0o755, "sys": 0o755, "tmp": 0o1777, "mnt": 0o755, "run": 0o755}

_C = ("clang", "-std=gnu17", "-Os", "-Wall", "-Wextra", "-Werror")
_RUST = ("rustc", "--edition=2021", "-Dwarnings", "-Copt-level=s", "-Cstrip=symbols", "-Ccodegen-units=1")
_GO = ("go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w -buildid=")
_FLAGS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "c": {
        "wasm": (*_C, "--target=wasm32-wasi", "-Wl,--strip-all"),
        "native": (*_C, "-static", "-s"),
    },
    "rust": {
        "wasm": (*_RUST, "--target=wasm32-wasip1", "-Clinker=wasm-ld"),
        "native": (*_RUST, "-Ctarget-feature=+crt-static", "-Clinker=clang"),
    },
    "go": {
        "wasm": ("env", "GOOS=wasip1", "GOARCH=wasm", *_GO),
        "native": ("env", "CGO_ENABLED=0", *_GO),
    },
}
_VERSION = {"c": "clang --version", "rust": "rustc --version", "go": "go version"}
_ORIGINS = ("source", "half_of", "copy_of", "native_of", "bytes", "directory")


@dataclass(frozen=True)
class Workload:
    """One entry of ``corpus.yaml``, which says what the keys mean."""

    name: str
    purpose: str
    kind: Literal["guest", "malformed"]
    language: Literal["c", "rust", "go", "wat", "none"]
    wasm: str
    native: str | None
    source: str | None = None
    half_of: str | None = None
    copy_of: str | None = None
    native_of: str | None = None
    bytes: str | None = None
    directory: bool = False
    flags: tuple[str, ...] = ()
    mode: str = "0755"
    file: Path = Path()
    line: int = 0


@dataclass(frozen=True)
class Guest:
    """One built workload.

    Attributes:
        name, purpose, kind, language: as in ``corpus.yaml``.
        source: path below ``suites/workloads``; empty for files made out of another.
        wasm, native: name at the top of the root file system; native is None without a twin.
        wasm_sha256, native_sha256: digests of those files; None for a directory.
        wasm_bytes, native_bytes: their sizes.
        compiler: name and version; empty where nothing was compiled.
        wasm_flags, native_flags: the commands, without source and output.
    """

    name: str
    purpose: str
    kind: Literal["guest", "malformed"]
    language: Literal["c", "rust", "go", "wat", "none"]
    source: str
    wasm: str
    native: str | None
    wasm_sha256: str | None
    native_sha256: str | None
    wasm_bytes: int | None
    native_bytes: int | None
    compiler: str
    wasm_flags: tuple[str, ...]
    native_flags: tuple[str, ...]


@dataclass(frozen=True)
class Corpus:
    """All guests, built.

    Attributes:
        path: directory with the trees ``wasm`` and ``native``.
        tar: both trees, uncompressed, under ``wasm/`` and ``native/``, owned by root.
        digest: SHA-256 of that tar.
        builder_digest: of the image that compiled it.
        guests: by name.
    """

    path: Path
    tar: Path
    digest: str
    builder_digest: str
    guests: Mapping[str, Guest]


def workloads(directory: Path = WORKLOADS) -> tuple[Workload, ...]:
    """Read ``corpus.yaml``.

    Args:
        directory: where it and the sources are.

    Raises:
        UsageError: a mistake in it, with file and line.
    """
    path = directory / "corpus.yaml"
    entries = tuple(documents.fill(Workload, row, path) for row in documents.load(path))
    names = [workload.name for workload in entries]
    for workload in entries:
        _check(workload, entries, names, directory)
    return entries


def corpus(progress: Progress = silent) -> Corpus:
    """All guests, compiled now as far as the cache does not have them.

    Args:
        progress: told what is being built, with the time to expect.

    Raises:
        UsageError: a mistake in ``corpus.yaml``.
        InfrastructureError: no builder image, or a guest does not compile (with the
            compiler's own words).
    """
    entries = workloads()
    compilers = image("builder", progress)
    key = cache.digest_of("corpus 1", Path(__file__), WORKLOADS, compilers.digest)

    def build(directory: Path) -> None:
        compiled = {language: _compiled(language, entries, compilers, progress) for language in _FLAGS}
        progress("laying out the root file systems")
        for side in ("wasm", "native"):
            _lay_out(directory / side)
        for workload in sorted(entries, key=lambda one: one.source is None):  # copies come after what they copy
            _place(workload, entries, directory, compiled)
        _write_tar(directory, directory / "rootfs.tar")
        manifest = {
            "builder": compilers.digest,
            "digest": _sha256(directory / "rootfs.tar"),
            "guests": {one.name: asdict(_describe(one, directory, compiled)) for one in entries},
        }
        (directory / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")

    path = cache.entry("corpus", key, build, needs_mib=120, progress=progress)
    manifest = json.loads((path / "manifest.json").read_text())
    guests = {name: _guest(row) for name, row in manifest["guests"].items()}
    return Corpus(path, path / "rootfs.tar", manifest["digest"], manifest["builder"], guests)


def _guest(row: dict[str, Any]) -> Guest:
    values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in row.items()}
    return Guest(**values)


def _check(workload: Workload, entries: Sequence[Workload], names: Sequence[str], directory: Path) -> None:
    where = f"{workload.file}:{workload.line}: '{workload.name}'"
    if names.count(workload.name) > 1:
        raise UsageError(f"{where} is there twice")
    origins = [key for key in _ORIGINS if getattr(workload, key) not in (None, False)]
    if len(origins) != 1:
        raise UsageError(f"{where} needs exactly one of {', '.join(_ORIGINS)}; found {', '.join(origins) or 'none'}")
    if workload.source and not (directory / workload.source).exists():
        raise UsageError(f"{where}: source {workload.source} does not exist")
    if bool(workload.source) != (workload.language != "none"):
        raise UsageError(f"{where}: language '{workload.language}' does not go with {origins[0]}")
    for key in ("half_of", "copy_of", "native_of"):
        other = getattr(workload, key)
        if other and not any(one.name == other and one.source for one in entries):
            known = documents.nearest(other, names)
            raise UsageError(f"{where}: {key} names '{other}', which is no compiled entry; did you mean '{known}'?")
    if workload.native and workload.language not in _FLAGS:
        raise UsageError(f"{where}: only what is compiled has a native twin; write 'native: null'")
    if not re.fullmatch(r"0?[0-7]{3,4}", workload.mode):
        raise UsageError(f"{where}: mode '{workload.mode}' is no octal mode such as \"0644\"")
    for file in (workload.wasm, workload.native):
        if file and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", file):
            raise UsageError(f"{where}: '{file}' is no plain file name")
    if workload.language == "go" and Path(workload.source or "").name != workload.name:
        raise UsageError(f"{where}: the folder of a Go guest has the guest's name")


# --- compiling: one cache entry per language, so that a changed C file rebuilds only C ---


@dataclass(frozen=True)
class _Compiled:
    path: Path
    compiler: str


def _compiled(language: str, entries: Sequence[Workload], compilers: Image, progress: Progress) -> _Compiled:
    chosen = [workload for workload in entries if workload.language == language]
    jobs = _jobs(language, chosen)
    makefile = _makefile(language, jobs)
    key = cache.digest_of("compiled 1", makefile, WORKLOADS / language, compilers.digest)

    def build(directory: Path) -> None:
        progress(f"compiling {len(chosen)} {language} guests (about {2 + len(chosen) // 4} s)")
        work = directory / "work"
        shutil.copytree(WORKLOADS / language, work / "src" / language)
        for side in ("wasm", "native"):
            (work / "out" / side).mkdir(parents=True)
        (work / "Makefile").write_text(makefile)
        log = command.log_path(f"compile-{language}")
        script = f"make --no-print-directory --keep-going --output-sync=target -j{os.cpu_count()} -f /mnt/Makefile\n"
        if builder.run(compilers, script, work=work, log=log, timeout_seconds=COMPILE_TIMEOUT_SECONDS) != 0:
            raise InfrastructureError(_compile_error(language, log))
        shutil.copytree(work / "out", directory / "out")  # a copy is ours, the original may be root's
        cache.remove(work)

    path = cache.entry(f"compiled-{language}", key, build, needs_mib=60, progress=progress) / "out"
    return _Compiled(path, (path / "version").read_text().strip())


def _jobs(language: str, chosen: Sequence[Workload]) -> list[tuple[str, tuple[str, ...]]]:
    """What to run, with the words that name it in an error."""
    jobs: list[tuple[str, tuple[str, ...]]] = []
    for side, flags in _FLAGS[language].items():
        sided = [workload for workload in chosen if side == "wasm" or workload.native]
        if language == "go" and sided:  # one command compiles the packages they share once
            folders = [f"./{workload.name}" for workload in sided]
            jobs.append((f"go ({side})", (*flags, "-o", f"/mnt/out/{side}/", *folders)))
            continue
        for workload in sided:
            own = workload.flags if side == "wasm" else ()
            output = ("-o", f"/mnt/out/{side}/{workload.name}")
            jobs.append((f"{workload.source} ({side})", (*flags, *own, str(workload.source), *output)))
    return jobs


def _makefile(language: str, jobs: Sequence[tuple[str, tuple[str, ...]]]) -> str:
    directory = "/mnt/src/go" if language == "go" else "/mnt/src"
    lines = [
        "export GOCACHE = /tmp/go",
        "export GOTOOLCHAIN = local",
        "export GOPROXY = off",
        f"all: version {' '.join(f'job-{number}' for number in range(len(jobs)))}",
        "version:",
        f"\t@{_VERSION[language]} | head -n 1 > /mnt/out/version",
    ]
    for number, (title, argv) in enumerate(jobs):
        shell = f"cd {directory} && {shlex.join(argv)} || {{ echo {shlex.quote(f'FAILED {title}')}; exit 1; }}"
        lines += [f"job-{number}:", "\t@" + shell.replace("$", "$$")]
    return "\n".join(lines) + "\n"


def _compile_error(language: str, log: Path) -> str:
    text = [line for line in command.last_lines(log, 2000).splitlines() if not line.startswith("make: ")]
    failed = [line.removeprefix("FAILED ") for line in text if line.startswith("FAILED ")]
    words = [line for line in text if not line.startswith("FAILED ")]
    shown = "\n".join(words[: command.LINES_SHOWN])
    return f"{', '.join(failed) or language + ' guests'}: does not compile:\n{shown}\nfull log: {log}"


# --- laying out ---


def _lay_out(tree: Path) -> None:
    tree.mkdir()
    for name, mode in _DIRECTORIES.items():
        (tree / name).mkdir()
        (tree / name).chmod(mode)
    for name, text in _FILES.items():
        path = tree / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(0o644)


def _place(workload: Workload, entries: Sequence[Workload], directory: Path, compiled: Mapping[str, _Compiled]) -> None:
    if workload.native:
        twin = directory / "native" / workload.native
        shutil.copyfile(compiled[workload.language].path / "native" / workload.name, twin)
        twin.chmod(0o755)
    module = directory / "wasm" / workload.wasm
    if workload.directory:
        module.mkdir(mode=0o755)
        return
    module.write_bytes(_module(workload, {one.name: one for one in entries}, directory, compiled))
    module.chmod(int(workload.mode, 8))


def _module(
    workload: Workload, entries: Mapping[str, Workload], directory: Path, compiled: Mapping[str, _Compiled]
) -> bytes:
    if workload.language in compiled:
        return (compiled[workload.language].path / "wasm" / workload.name).read_bytes()
    if workload.source:
        return (WORKLOADS / workload.source).read_bytes()
    if workload.bytes is not None:
        return bytes.fromhex(workload.bytes)
    if workload.native_of:
        return (directory / "native" / str(entries[workload.native_of].native)).read_bytes()
    other = (directory / "wasm" / entries[workload.half_of or workload.copy_of or ""].wasm).read_bytes()
    return other[: len(other) // 2] if workload.half_of else other


def _write_tar(directory: Path, place: Path) -> None:
    """Both trees, the same bytes for the same content: sorted, one date, owned by root."""

    def plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.uid = member.gid = 0
        member.uname = member.gname = "root"
        member.mtime = MTIME
        return member

    with tarfile.open(place, "w", format=tarfile.GNU_FORMAT) as archive:
        for side in ("native", "wasm"):
            tree = directory / side
            for path in [tree, *sorted(tree.rglob("*"))]:
                if path.is_dir() and path.name not in _DIRECTORIES:
                    path.chmod(0o755)
                archive.add(path, str(path.relative_to(directory)), recursive=False, filter=plain)
            for path in [*tree.rglob("*"), tree]:
                os.utime(path, (MTIME, MTIME))


def _sha256(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _describe(workload: Workload, directory: Path, compiled: Mapping[str, _Compiled]) -> Guest:
    module = directory / "wasm" / workload.wasm
    twin = directory / "native" / workload.native if workload.native else None
    flags = _FLAGS.get(workload.language, {})
    return Guest(
        name=workload.name,
        purpose=workload.purpose,
        kind=workload.kind,
        language=workload.language,
        source=workload.source or "",
        wasm=workload.wasm,
        native=workload.native,
        wasm_sha256=_sha256(module) if module.is_file() else None,
        native_sha256=_sha256(twin) if twin else None,
        wasm_bytes=module.stat().st_size if module.is_file() else None,
        native_bytes=twin.stat().st_size if twin else None,
        compiler=compiled[workload.language].compiler if flags else "",
        wasm_flags=(*flags["wasm"], *workload.flags) if flags else (),
        native_flags=flags["native"] if flags and twin else (),
    )


def table(built: Corpus) -> str:
    """The manifest for a person: one line per workload."""

    def size(amount: int | None) -> str:
        return "-" if amount is None else f"{amount / 1024:.1f}"

    rows = [("workload", "kind", "language", "wasm KiB", "native KiB", "sha256 of the module", "for")]
    for guest in built.guests.values():
        digest = (guest.wasm_sha256 or "-")[:16]
        sizes = (size(guest.wasm_bytes), size(guest.native_bytes))
        rows.append((guest.name, guest.kind, guest.language, *sizes, digest, guest.purpose))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [text.ljust(width) for text, width in zip(row, widths, strict=True)]
        cells[3], cells[4] = row[3].rjust(widths[3]), row[4].rjust(widths[4])
        lines.append("  ".join(cells).rstrip())
    compilers = sorted({guest.compiler for guest in built.guests.values() if guest.compiler})
    return "\n".join([*lines, "", *compilers, f"{built.tar}  sha256 {built.digest}"])


def _main() -> int:
    try:
        print(table(corpus(lambda message: print(message, file=sys.stderr, flush=True))))
    except UsageError as error:
        print(error, file=sys.stderr)
        return 4
    except InfrastructureError as error:
        print(error, file=sys.stderr)
        return 3
    except KeyboardInterrupt:
        print("interrupted; nothing half-built is kept", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(_main())
