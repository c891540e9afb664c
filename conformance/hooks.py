"""Hooks that record that they ran, when, and with which state on standard input
(https://github.com/opencontainers/runtime-spec/blob/v1.2.1/config.md#posix-platform-hooks)."""

from __future__ import annotations

import json
from typing import Any

from conformance.model import Said
from conformance.node import Node
from conformance.node import steps as s

#: Seconds in which run ends with a guest that ends at once; youki may wait for it for ever (CLI-RUN-ENDS).
ENDS_SECONDS = 8.0
ORDER = ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"]
#: Resolved in the container, after its root has become the root: the shell is not there.
INSIDE = "startContainer"


def recording(log: str, *, slow_inside: bool = False) -> dict[str, Any]:
    """All six hooks, each adding its name to ``LOG/order`` and its input to ``LOG/NAME.json``.

    Args:
        log: directory on the node; the container has it at ``/log`` and the native twin
            of the workload ``files`` at ``/native-files``.
        slow_inside: let the ``startContainer`` hook take a second, so that what is meant to
            wait for it shows that it does; needs the native twin of ``sleep``.
    """
    program = 'cat > "$0/$1.json"; echo "$1" >> "$0/order"'
    hooks = {name: [{"path": "/bin/sh", "args": ["sh", "-c", program, log, name]}] for name in ORDER}
    hooks[INSIDE] = [{"path": "/native-files", "args": ["files", f"append:/log/order:{INSIDE}\n"]}]
    if slow_inside:
        hooks[INSIDE].insert(0, {"path": "/native-sleep", "args": ["sleep", "seconds=1"]})
    return hooks


#: Reads a state on standard input and returns half a second after that container's process has ended,
#: or after three: runc 1.1 runs such hooks before the process.
_UNTIL_ENDED = r"""
state=$(cat)
pid=${state#*\"pid\":}
pid=$((${pid%%[!0-9 ]*}))
tries=0
while grep -q '^State:.[^ZX]' "/proc/$pid/status" 2>/dev/null && [ "$((tries += 1))" -lt 30 ]; do sleep 0.1; done
sleep 0.5
"""


def outliving_the_guest(stage: str) -> dict[str, Any]:
    """One hook that ends after the guest, however long that takes to start on a slow node."""
    return {stage: [{"path": "/bin/sh", "args": ["sh", "-c", _UNTIL_ENDED]}]}


def states_in(node: Node, log: str) -> dict[str, Said]:
    """The states that the hooks received; an empty one where a hook did not run or got no JSON."""
    states: dict[str, Said] = {}
    for name in ORDER:
        if name == INSIDE:
            continue
        answer = node.batch([s.Read(f"{log}/{name}.json")])[0]
        try:
            states[name] = Said(json.loads(answer.blobs[0])) if answer.blobs else Said()
        except ValueError:
            states[name] = Said()
    return states
