"""A createRuntime hook where who starts the runtime knows no hooks: docker, and ctr's options.

The runtime that they are told of is a shell script. It adds one hook to the configuration that it
is handed, the one that shows what is mapped in the container's process, and becomes the real runtime.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from conformance import proof
from conformance.model import RuntimePath
from conformance.node import Node
from conformance.node import steps as s

_SCRIPT = """#!/bin/sh
for word; do
    case ${previous-} in --bundle) bundle=$word ;; esac
    case $word in create) create=yes ;; esac
    previous=$word
done
if [ "${create-}" ]; then
    ours='"createRuntime":[{"path":"@interpreter@","args":["@hook@"]}]'
    case $(cat "$bundle/config.json") in
        *'"args":["@hook@"]'*) ;; # it is there already
        *'"hooks":{"'*) sed -i "s|\\"hooks\\":{\\"|\\"hooks\\":{$ours,\\"|" "$bundle/config.json" ;;
        *'"hooks":{}'*) sed -i "s|\\"hooks\\":{}|\\"hooks\\":{$ours}|" "$bundle/config.json" ;;
        *) sed -i "1s|{|{\\"hooks\\":{$ours},|" "$bundle/config.json" ;;
    esac
fi
exec @program@ "$@"
"""


def script(path: RuntimePath, hook_file: str, program: Sequence[str]) -> str:
    """The script's text; arguments as for :func:`install`."""
    command = proof.hook_command(path, hook_file)
    known = {"interpreter": command[0], "hook": '","'.join(command), "program": " ".join(program)}
    text = _SCRIPT
    for name, value in known.items():
        text = text.replace(f"@{name}@", value)
    return text


def install(node: Node, path: RuntimePath, hook_file: str, program: Sequence[str]) -> str:
    """Put the script on a node; where it is.

    Its name is the runtime's own, because crun chooses a handler by it, and its directory is named by
    what it holds, so that paths which need the same one share it.

    Args:
        node: where.
        path: its runtime gives the name, and where the engine is in the image the hook is the tracer.
        hook_file: the hook, which finds in an annotation where to write.
        program: the real runtime's command.

    Raises:
        InfrastructureError: the node does not take the file.
    """
    text = script(path, hook_file, program).encode()
    file = f"{node.directory}/hooked-{hashlib.sha256(text).hexdigest()[:8]}/{path.runtime}"
    node.do(s.Write(file, text, 0o755))
    return file
