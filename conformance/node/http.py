"""HTTP requests that start on the node, in whichever network namespace is asked for."""

from __future__ import annotations

from conformance.model import Completed
from conformance.node import Node

# A guest needs a moment between its announcement and its first accept; a refused connection is asked again until then.
_GET = """
import sys, time, urllib.error, urllib.request
until = time.monotonic() + float(sys.argv[2])
while True:
    try:
        answer = urllib.request.urlopen(sys.argv[1], timeout=5)
        print(answer.status, answer.read().decode("utf-8", "replace"), end="")
        break
    except (urllib.error.URLError, OSError) as error:
        if "refused" not in str(error) or time.monotonic() > until:
            sys.exit(str(error))
        time.sleep(0.05)
"""


def get(node: Node, url: str, *, network_of: int = 0, wait_seconds: float = 5.0) -> Completed:
    """``GET url``; prints status and body, or the error.

    Args:
        node: where the request starts.
        url: whole.
        network_of: a process in whose network namespace to ask, its loopback interface brought up first; 0 is the
            node's own.
        wait_seconds: how long a refused connection is tried again.
    """
    ask = ["python3", "-c", _GET, url, str(wait_seconds * node.pace)]
    if network_of:
        up = 'ip link set lo up && exec "$@"'
        ask = ["nsenter", f"--net=/proc/{network_of}/ns/net", "sh", "-c", up, "sh", *ask]
    return node.run(ask, timeout_seconds=(wait_seconds + 10) * node.pace)
