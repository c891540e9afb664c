"""A node image entered with namespaces on this machine: native speed, nothing to boot."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from conformance.build.component import Component
from conformance.build.image import image
from conformance.node import Node
from conformance.testbeds import as_root, need_root

INSTALLS_COMPONENTS = True
#: Which image a kind of node is made of.
IMAGES = dict.fromkeys(("low-level", "containerd", "crio"), "node")
#: Bounds of the file systems that take writes; a full disk is testable and never the host's.
SIZES = {"upper": "2g", "state": "4g", "run": "256m", "tmp": "256m"}


def prepare(kinds: Sequence[str], progress: Callable[[str], None]) -> None:
    """Build the images of these kinds of node, unless they are cached."""
    need_root("the sandbox")
    for kind in kinds:
        image(IMAGES[kind], progress)


def open_node(kind: str, address: str, session: str, components: Sequence[Component] = ()) -> Node:
    """Enter a fresh sandbox; see :class:`conformance.testbeds.Testbed`.

    Raises:
        InfrastructureError: no root, no image, or a namespace the kernel refuses.
    """
    what = {
        "name": session,
        "hostname": f"conformance-{kind}",
        "image": str(image(IMAGES[kind]).path),
        "components": [str(one.tree) for one in components],
        "bootstrap": Node.bootstrap(session),
        "sizes": SIZES,
    }
    keeper = Path(__file__).parent / "enclosure.py"
    return Node(f"sandbox {session}", as_root([sys.executable, "-I", str(keeper), json.dumps(what)]), session)
