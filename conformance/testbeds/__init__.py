"""Where nodes come from. One module per testbed, found by its name.

A testbed module offers ``open_node(kind, address, session) -> Node``; closing the node
gives back whatever opening it took. ``--testbed=NAME`` or ``--testbed=NAME://ADDRESS``.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, cast

from conformance.build.component import Component
from conformance.documents import nearest
from conformance.errors import InfrastructureError, UsageError
from conformance.node import Node


class Testbed(Protocol):
    """What a module in this package offers."""

    def prepare(self, kinds: Sequence[str], progress: Callable[[str], None]) -> None:
        """Build or find what nodes of these kinds are made of, once, before the first check.

        Args:
            kinds: see :meth:`open_node`.
            progress: told what is done and about how long it takes.

        Raises:
            InfrastructureError: it cannot be built; says what to do.
        """
        ...

    def open_node(self, kind: str, address: str, session: str, components: Sequence[Component] = ()) -> Node:
        """Start or reach a node of this kind.

        Args:
            kind: names the image or machine (``low-level``).
            address: what followed ``://`` in the option.
            session: unique; names directories and cgroups on the node.
            components: that have to be on it; a testbed that installs nothing leaves it to the
                preflight to say what is missing.

        Raises:
            InfrastructureError: the node cannot be had; says what to do.
        """
        ...


class Finishing(Protocol):
    """What a module in this package may offer besides: nodes that outlive the process that opens them."""

    def finish(self, keep: bool) -> list[str]:
        """After the last check: stop what :meth:`Testbed.prepare` started; returns what to tell the user."""
        ...

    def diagnostics(self, kind: str) -> dict[str, str]:
        """What the node's logs say now, by name, for the record of a check that met an error; bounded."""
        ...


def installs_components(option: str) -> bool:
    """Whether nodes of this testbed get the components that a run builds."""
    bed, _ = testbed(option)
    return bool(getattr(bed, "INSTALLS_COMPONENTS", False))


class Provisioning(Protocol):
    """What a module in this package may offer besides: machines that are the user's."""

    def provision(self, kind: str, address: str, progress: Callable[[str], None]) -> None:
        """Install what a node of this kind has."""
        ...


class Rebootable(Protocol):
    """What a module in this package may offer besides: nodes that a check may restart."""

    #: Only if the user says so.
    NEEDS_CONSENT: bool

    def turn_file(self, kind: str, address: str) -> Path:
        """One file for each node, the same for all workers."""
        ...


def finish(option: str, keep: bool) -> list[str]:
    """End a run on this testbed, in the process that prepared it."""
    bed, _ = testbed(option)
    return cast(Finishing, bed).finish(keep) if hasattr(bed, "finish") else []


def diagnostics(option: str, kind: str) -> dict[str, str]:
    """What a node's logs say, on a testbed that can tell."""
    bed, _ = testbed(option)
    return cast(Finishing, bed).diagnostics(kind) if hasattr(bed, "diagnostics") else {}


def provision(option: str, kinds: Sequence[str], progress: Callable[[str], None]) -> None:
    """Install on the user's own machine what nodes of these kinds have, where ``--provision`` asks for it.

    Raises:
        UsageError: a testbed without machines of the user's.
        InfrastructureError: it cannot be installed.
    """
    bed, address = testbed(option)
    if not hasattr(bed, "provision"):
        raise UsageError(f"--provision is for machines of yours, testbed '{option.partition('://')[0]}' has none")
    for kind in kinds:
        cast(Provisioning, bed).provision(kind, address, progress)


def may_reboot(option: str, *, allowed: bool) -> bool:
    """Whether a check may restart the nodes of this testbed.

    Args:
        option: as in ``--testbed``.
        allowed: the user allows it where the machine is theirs.

    Raises:
        UsageError: it is allowed, and they cannot be restarted.
    """
    bed, _ = testbed(option)
    if not hasattr(bed, "NEEDS_CONSENT"):
        if allowed:
            raise UsageError(f"--allow-reboot: nodes of testbed '{option.partition('://')[0]}' cannot be restarted")
        return False
    return allowed or not cast(Rebootable, bed).NEEDS_CONSENT


def turn_file(option: str, kind: str) -> Path:
    """The file by which workers share a node that may be restarted; see :mod:`conformance.node.turns`."""
    bed, address = testbed(option)
    return cast(Rebootable, bed).turn_file(kind, address)


def names() -> list[str]:
    """Every testbed there is."""
    return sorted(m.name for m in pkgutil.iter_modules(__path__) if m.name != "enclosure")


def testbed(option: str) -> tuple[Testbed, str]:
    """The testbed and address of a ``--testbed`` option.

    Raises:
        UsageError: no such testbed.
    """
    name, _, address = option.partition("://")
    if name not in names():
        close = nearest(name, names())
        guess = f"; did you mean '{close}'?" if close else ""
        raise UsageError(f"unknown testbed '{name}'{guess} (known: {', '.join(names())})")
    return cast(Testbed, importlib.import_module(f"{__name__}.{name}")), address


def need_root(what: str) -> None:
    """Make sure that :func:`as_root` can work here.

    Raises:
        InfrastructureError: neither root nor sudo without a password.
    """
    if os.geteuid() == 0:
        return
    try:
        done = subprocess.run(["sudo", "-n", "true"], capture_output=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        done = None
    if done is None or done.returncode != 0:
        raise InfrastructureError(f"{what} needs root", hint="run it as root, or allow sudo without a password")


def as_root(argv: list[str]) -> list[str]:
    """``argv``, through sudo where we are not root."""
    return argv if os.geteuid() == 0 else ["sudo", "-n", *argv]
