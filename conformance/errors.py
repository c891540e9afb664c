"""The two ways in which the harness itself can fail.

A runtime that misbehaves is never an exception: it is a value in a
:class:`conformance.model.RunResult`, and an ``assert`` in a suite judges it.
"""

from __future__ import annotations


class InfrastructureError(Exception):
    """Our side or the node is at fault: connection, image, build, disk, missing engine.

    Args:
        message: what went wrong, one line.
        hint: what the reader can do about it, one line.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(f"{message} ({hint})" if hint else message)
        self.message = message
        self.hint = hint


class UnseenError(InfrastructureError):
    """A container ran and nobody saw it: no proof, and no verdict on the runtime; worth another try."""


class NotRun(InfrastructureError):
    """A check could not be tried because something before it had failed already."""


class UsageError(Exception):
    """The caller's words are off: an unknown path, a typo in a YAML file, a bad option.

    Always one line that names the file, line and key where there is one.
    """
