"""What a failed comparison of large values says.

pytest shows the whole difference of two values on a CI server and with ``-vv``. It takes minutes of quadratic work
for a stream of 64 KiB, during which a run in which something is red looks hung.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from _pytest.assertion import util

#: Characters of a value's representation from which on it is not compared line by line.
LARGE = 4000
#: What is shown around the first difference, in bytes or characters.
CONTEXT = 24


def of_large_values(operator: str, left: object, right: object) -> str | None:
    """Where two values begin to differ, where pytest's own explanation would be too long.

    Args:
        operator: of the comparison; only ``==`` has a difference to show.
        left, right: what was compared.

    Returns:
        Lines in the form of ``pytest_assertrepr_compare``, joined as pytest joins them, or None where pytest's own
        explanation is fine.
    """
    texts = [value if isinstance(value, (bytes, str)) else repr(value) for value in (left, right)]
    if max(map(len, texts)) < LARGE or type(texts[0]) is not type(texts[1]):
        return None
    a, b = texts
    sizes = f"{type(left).__name__} of {len(a)} {operator} {type(right).__name__} of {len(b)}"
    if operator != "==":
        return sizes
    at = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    around = slice(max(0, at - CONTEXT), at + CONTEXT)
    lines = [sizes, f"first difference at {at}:", f"  {a[around]!r}", f"  {b[around]!r}"]
    return "\n~".join(lines).replace("%", "%%")


@contextmanager
def bounded() -> Generator[None]:
    """Within it, a failed ``assert`` of large values is explained by :func:`of_large_values`.

    pytest asks every ``pytest_assertrepr_compare`` hook, its own too, before it takes the first answer; so the
    caller of these hooks is replaced instead. Where a pytest has no such caller, nothing changes.
    """
    previous = getattr(util, "_reprcompare", None)
    if previous is None:
        yield
        return
    util._reprcompare = lambda op, left, right: of_large_values(op, left, right) or previous(op, left, right)
    try:
        yield
    finally:
        util._reprcompare = previous
