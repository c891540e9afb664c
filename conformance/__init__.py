"""A conformance harness for WebAssembly workloads in OCI and CRI runtimes.

A suite needs only what is exported here::

    from conformance import Feature, needs, requirement
"""

from conformance.marks import critest, needs, needs_node, requirement, soak
from conformance.model import Feature, Limits, Mount

__version__ = "0.1.0"
__all__ = ["Feature", "Limits", "Mount", "critest", "needs", "needs_node", "requirement", "soak"]
