"""A root file system that holds an engine's command line program, the libraries it needs and the modules.

This is what a slim image for Wasm holds where the host knows nothing of it: the container is an
ordinary Linux container, and the engine is the program in it.
"""

from __future__ import annotations

import json
import shlex
import shutil
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from conformance.build import builder, cache, command
from conformance.build.cache import Progress, silent
from conformance.build.component import component
from conformance.build.guests import Corpus
from conformance.build.image import image
from conformance.errors import InfrastructureError
from conformance.model import Embedded

TIMEOUT_SECONDS = 120
#: The program and everything that its dynamic loader would load, each under the name it is asked by.
_COLLECT = """
tree=/mnt/wasm
mkdir -p "$tree/usr/bin" "$tree/usr/lib" "$tree/usr/lib64"
ln -s usr/lib "$tree/lib"
ln -s usr/lib64 "$tree/lib64"
cp -L {source} "$tree{program}"
ldd {source} | sed -n 's/.*=> \\(\\/[^ ]*\\) .*/\\1/p; s/^[[:space:]]*\\(\\/[^ ]*\\) (.*/\\1/p' | sort -u > /mnt/needed
while read -r library; do
    case $library in /usr/*) place=$tree$library ;; *) place=$tree/usr$library ;; esac
    mkdir -p "$(dirname "$place")"
    cp -L "$library" "$place"
done < /mnt/needed
"""


@dataclass(frozen=True)
class EngineTree:
    """A tree, ready.

    Attributes:
        tar: uncompressed, everything under ``wasm/``.
        digest: names its content.
        contains: the engine's version, where it is a component.
    """

    tar: Path
    digest: str
    contains: Mapping[str, str]


def engine_tree(embedded: Embedded, corpus: Corpus, progress: Progress = silent) -> EngineTree:
    """The corpus's modules with an engine beside them.

    Args:
        embedded: which program, from a component or from the node image's package.
        corpus: gives the modules.
        progress: told when it is built.

    Raises:
        InfrastructureError: the program is not there, or lacks a library.
    """
    node = image("node", progress)
    made = component(embedded.component, progress) if embedded.component else None
    source = f"/opt/engine/bin/{Path(embedded.program).name}" if made else embedded.program
    script = _COLLECT.format(source=shlex.quote(source), program=shlex.quote(embedded.program))
    key = cache.digest_of("engine tree 1", script, node.digest, made.digest if made else "", corpus.digest)

    def build(directory: Path) -> None:
        progress(f"collecting {embedded.program} and its libraries")
        work, log = directory / "work", command.log_path("engine-tree")
        work.mkdir()
        binds = {"/opt/engine": made.place} if made else {}
        code = builder.run(node, script, work=work, log=log, timeout_seconds=TIMEOUT_SECONDS, binds=binds)
        if code != 0:
            raise InfrastructureError(
                f"the engine's program {embedded.program} cannot be collected:\n{command.last_lines(log)}"
            )
        with tarfile.open(directory / "tree.tar", "w") as tar:
            tar.add(work / "wasm", "wasm", filter=_plain)
            with tarfile.open(corpus.tar) as modules:
                for member in modules:
                    if member.name.startswith("wasm/"):
                        tar.addfile(member, modules.extractfile(member) if member.isreg() else None)
        shutil.rmtree(work)
        contains = {made.name: made.version, **made.contains} if made else {}
        (directory / "contains.json").write_text(json.dumps(contains) + "\n")

    place = cache.entry("engine-trees", key, build, needs_mib=600, progress=progress)
    return EngineTree(place / "tree.tar", f"engine-{key[:32]}", json.loads((place / "contains.json").read_text()))


def _plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = "root"
    return member
