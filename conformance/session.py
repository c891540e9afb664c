"""What a worker holds open during a run: nodes, and paths on them.

Opened once, used by many checks: a node is entered, a path looked at and tried with its canary; each check then
gets a :class:`~conformance.path_under_test.PathUnderTest` on it.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import IO, Any

from tenacity import Retrying, retry_if_exception_type, stop_after_attempt

from conformance import launchers
from conformance.brought import Brought
from conformance.build.component import Component, libraries_on_node, program_on_node, with_needs
from conformance.build.engine_tree import EngineTree, engine_tree
from conformance.build.guests import Corpus
from conformance.errors import InfrastructureError, NotRun, UnseenError
from conformance.model import Feature, RuntimePath
from conformance.node import Node, turns
from conformance.node import steps as s
from conformance.path_under_test import OpenPath, PathUnderTest
from conformance.testbeds import testbed, turn_file

#: A node that died is opened once more; after that its checks are not run.
NODE_OPENINGS = 2
#: How often a container is tried that nobody saw, or that meets a known race.
ATTEMPTS = 3


@dataclass(frozen=True)
class Settings:
    """What the command line asked for.

    Attributes:
        may_reboot: a check may restart the nodes.
    """

    testbed: str
    corpus: Corpus
    brought: Mapping[str, Brought]
    strict: bool = False
    keep: bool = False
    #: that the paths of this run need, as far as they could be built, and why the others could not
    components: Sequence[Component] = ()
    unbuilt: Mapping[str, str] = field(default_factory=dict)
    may_reboot: bool = False


def features_of(path: RuntimePath) -> frozenset[Feature]:
    """Features of a path, known without opening it."""
    native = {Feature.NATIVE, Feature.LISTENER}
    # an image's own engine and a shim for Wasm alone need no request
    handler = [] if path.embedded or path.shim else [Feature.HANDLER]
    kind = {Feature.WASM, *handler} if path.guest == "wasm" else native
    own = {Feature(f) for f in path.features} | kind
    return (launchers.launcher(path.launcher).features | own) - {Feature(f) for f in path.lacks}


class Session:
    """Nodes and paths of one worker; close it to give them back."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._nodes: dict[str, Node] = {}
        self._openings: dict[str, int] = {}
        self._paths: dict[str, OpenPath] = {}
        self._failed: dict[str, str] = {}
        self._restarts: dict[str, int] = {}
        self._turn: IO[str] | None = None

    @contextlib.contextmanager
    def turn(self, kind: str, *, alone: bool) -> Iterator[None]:
        """Use a node for one check; where another worker has restarted it, what was open there is opened anew.

        Args:
            kind: of the node.
            alone: the check restarts it, so no other worker's check may be on it.

        Raises:
            InfrastructureError: other workers do not give it free.
        """
        if not self.settings.may_reboot:
            yield
            return
        with turns.turn(turn_file(self.settings.testbed, kind), alone=alone) as file:
            count = turns.restarts(file)
            node = self._nodes.get(kind)
            if node is not None and not node.dead and self._restarts.get(kind) != count:
                node.dead = "restarted by a check of another worker"
                self._openings[kind] -= 1  # it has not died
            self._restarts[kind] = count
            self._turn = file
            try:
                yield
            finally:
                self._turn = None

    def reboot(self, opened: OpenPath) -> None:
        """Restart the node of a path, with all its containers.

        Raises:
            InfrastructureError: it does not come back.
        """
        if self._turn is None:
            raise InfrastructureError(f"{opened.node.name}: a check that restarts its node says @needs_node('reboot')")
        turns.note_restart(self._turn)
        self._restarts[opened.path.node] = turns.restarts(self._turn)
        node = opened.node
        node.reboot()
        node.facts["reboot"] = True
        # what else was open there had daemons, which are gone; it is opened anew
        node.services.clear()
        self._paths = {name: other for name, other in self._paths.items() if other is opened or other.node is not node}
        embedded = opened.path.embedded
        self._put_roots(node, engine_tree(embedded, self.settings.corpus) if embedded else None, opened.path.guest)

    def node(self, kind: str) -> Node:
        """The node of that kind, opened at first use, and once more if it died.

        Raises:
            InfrastructureError: it cannot be had.
            NotRun: that has been tried often enough.
        """
        node = self._nodes.get(kind)
        if node is not None and not node.dead:
            return node
        if node is not None:
            node.close()
        if self._openings.get(kind, 0) >= NODE_OPENINGS:
            raise NotRun(f"node '{kind}' has died {NODE_OPENINGS} times: {node.dead if node else 'it never started'}")
        self._openings[kind] = self._openings.get(kind, 0) + 1
        bed, address = testbed(self.settings.testbed)
        session = f"{os.getpid():x}-{secrets.token_hex(3)}"
        node = bed.open_node(kind, address, session, self.settings.components)
        self._nodes[kind] = node  # first, so that it is given back whatever happens next
        node.facts["reboot"] = self.settings.may_reboot
        for brought in self.settings.brought.values():
            node.do(s.Put(brought.place, brought.tar()))
        return node

    def open(self, path: RuntimePath) -> OpenPath:
        """A path, preflighted and with its canary run; the same one while its node lives.

        Raises:
            InfrastructureError: the first time that something is missing; names it.
            NotRun: every further time, so that one cause is one error.
        """
        opened = self._paths.get(path.name)
        if opened is not None and not opened.node.dead:
            return opened
        if path.name in self._failed:
            raise NotRun(f"{path.name} cannot be tried: {self._failed[path.name]}")
        started = time.monotonic()
        try:
            for name in with_needs(path.components):
                if name in self.settings.unbuilt:
                    raise InfrastructureError(f"{path.name} needs {name}: {self.settings.unbuilt[name]}")
            node = self.node(path.node)
            brought = [one for one in self.settings.brought.values() if one.concerns(path)]
            binary, runtime = (self._program(path, name) for name in (path.binary, path.runtime))
            launcher = launchers.launcher(path.launcher)(node, path, binary, runtime)
            launcher.keep_bundles = self.settings.keep
            launcher.library_path = tuple(f"{one.place}/lib" for one in brought if one.libraries)
            if brought:
                launcher.library_path += libraries_on_node(path.components)
            versions = launcher.preflight()
            tree = engine_tree(path.embedded, self.settings.corpus) if path.embedded else None
            root, corpus_root = self._put_roots(node, tree, path.guest)
            launcher.native_root = str(corpus_root / "native")
            versions = replace(versions, components={**versions.components, **(tree.contains if tree else {})})
        except NotRun:
            raise
        except InfrastructureError as error:
            self._failed[path.name] = str(error)
            raise
        opened = OpenPath(path, node, launcher, versions, root, corpus_root, bool(brought))
        opened.canary = self._canary(opened)
        opened.seconds = time.monotonic() - started
        self._paths[path.name] = opened
        return opened

    def _program(self, path: RuntimePath, name: str) -> str:
        """What to start for a program of a path: the user's, a component's, or whatever the node has."""
        brought = self.settings.brought.get(name)
        if brought and brought.program:
            return f"{brought.place}/bin/{name}"
        return program_on_node(path.components, name) or name

    def _put_roots(self, node: Node, tree: EngineTree | None, guest: str) -> tuple[PurePosixPath, PurePosixPath]:
        """The root file system of a path's containers, and the directory of the corpus's own two."""
        with self.settings.corpus.tar.open("rb") as tar:
            corpus_root = node.put(self.settings.corpus.digest, tar)
        if tree is None:
            return corpus_root / guest, corpus_root
        with tree.tar.open("rb") as content:
            return node.put(tree.digest, content) / guest, corpus_root

    def _canary(self, opened: OpenPath) -> dict[str, Any]:
        """Whether exit codes and traps reach the caller on this path."""
        probe = PathUnderTest(opened, self, "canary")
        trying = Retrying(retry=retry_if_exception_type(UnseenError), stop=stop_after_attempt(ATTEMPTS), reraise=True)
        code, trap = (trying(probe.run, workload) for workload in ("exit-42", "trap"))
        return {"exit_42": code.exit_code, "trap": trap.exit_code, "starts": bool(code.proven)}

    def close(self) -> list[str]:
        """Give every node back; with ``keep`` leave it running and tell how to reach and end it."""
        told = []
        for node in self._nodes.values():
            if self.settings.keep and not node.dead:
                told.append(node.leave_running())
            else:
                node.close()
        self._nodes.clear()
        return told
