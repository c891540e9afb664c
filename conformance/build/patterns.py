"""The bytes two guests write, made again here so that a check can compare.

Keep in step with ``suites/workloads/c/streams.c``, ``bytes.c`` and ``stdin-echo.c``;
``tests/endtoend/test_corpus.py`` compares them.
"""

from __future__ import annotations

import functools
from typing import Literal

STREAM_BYTES = 1 << 20
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

# What the guest `bytes` writes after its announcement.
HOSTILE = (
    b"invalid \xff\xfe\xc3\x28\n"
    b"nul \0 nul\n"
    b"\x1b[31mred\x1b[0m\n"
    b"\x1b]0;title\x07\n"
    b"carriage\rreturn\r\n"
    b"noncharacter \xef\xbf\xbe\n"
    b"surrogate \xed\xa0\x80\n"
    b"]]>\n"
    b"unterminated"
)


@functools.cache
def stream(name: Literal["out", "err"]) -> bytes:
    """What the guest `streams` writes to stdout ("out", after its announcement) or stderr ("err")."""
    return b"".join(f"{name} {number:06d} {_LETTERS}\n".encode() for number in range(STREAM_BYTES // 64))


@functools.cache
def fnv1a64(data: bytes) -> str:
    """The hash the guest `stdin-echo` reports, as 16 hexadecimal digits."""
    value = 0xCBF29CE484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return f"{value:016x}"
