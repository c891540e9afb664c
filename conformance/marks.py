"""What a check says about itself. Arguments are literals, so that the catalogue reads
them without importing the suite."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import pytest

from conformance.model import Feature

Test = TypeVar("Test", bound=Callable[..., Any])


def requirement(requirement_id: str) -> Callable[[Test], Test]:
    """Bind a check to its rule.

    Args:
        requirement_id: an id of ``suites/requirements/*.yaml``.
    """
    return pytest.mark.requirement(requirement_id)


def needs(*features: Feature) -> Callable[[Test], Test]:
    """Skip the check on a path without these features (reason code ``unsupported``)."""
    return pytest.mark.needs(*features)


def needs_node(*facts: str) -> Callable[[Test], Test]:
    """Skip the check on a node where one of these facts is not true (reason code ``unavailable``).

    Args:
        facts: names of node facts (``apparmor``), or ``cgroup:NAME`` for a controller.
    """
    return pytest.mark.needs_node(*facts)


def soak(test: Test) -> Test:
    """Run the check with ``-m soak`` only: it takes minutes."""
    marked: Test = pytest.mark.soak(test)
    return marked


def critest(group: str) -> Callable[[Test], Test]:
    """Run the check once for each of critest's specs in a group, with ``-m critest`` only: it takes minutes.

    Args:
        group: of ``specs.yaml`` beside the check; what critest said is the argument ``spec``.
    """
    return pytest.mark.critest(group)
