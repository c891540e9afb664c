"""A guest counts as run only when it says so itself and the engine is seen from outside."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from conformance.model import ContainerSpec, Engine, ProcessSnapshot, Proof, RuntimePath
from conformance.proof import listen, parse_hook, prove

ENGINE = Engine("wasmedge", "libwasmedge.so.0", "+WASM:wasmedge")
WASM = RuntimePath("crun-wasmedge", "", ("crun", "wasmedge"), "oci", "crun", "wasm", engine=ENGINE)
NATIVE = RuntimePath("crun-native", "", ("crun",), "oci", "crun", "native")
SPEC = ContainerSpec(id="c1", module="exit-42", rootfs="/r", args=("/exit-42.wasm",), nonce="0123456789abcdef")
SAID = {"guest": "exit-42", "target": "wasm32-wasip1", "nonce": SPEC.nonce}
LIBRARY = "/usr/lib/x86_64-linux-gnu/libwasmedge.so.0.1.0"
SEEN = ProcessSnapshot(pid=9, comm="crun", exe="/usr/bin/crun", mapped=("/usr/bin/crun", LIBRARY))


def line(**values: str) -> bytes:
    return b"@guest " + json.dumps(values).encode() + b"\n"


def proof(said: dict[str, str] = SAID, seen: ProcessSnapshot | None = SEEN, path: RuntimePath = WASM) -> Proof:
    return prove(path, SPEC, said, seen)


def test_nonce_target_and_engine_together_are_proof() -> None:
    found = proof()
    assert found
    assert found.engine == LIBRARY
    assert repr(found) == f"proven: wasm32-wasip1 in {LIBRARY}"


@pytest.mark.parametrize(
    ("said", "says"),
    [
        ({}, "the guest announced nothing"),
        (SAID | {"nonce": "fedcba9876543210"}, "has nonce 'fedcba9876543210', this container's is '0123456789abcdef'"),
        (SAID | {"target": "x86_64-linux"}, "the guest was compiled for x86_64-linux, asked for wasm32-wasip1"),
        (SAID | {"guest": "trap"}, "the guest is 'trap', asked for 'exit-42'"),
        ({"guest": "exit-42", "target": "wasm32-wasip1"}, "has nonce 'None'"),
    ],
)
def test_a_wrong_announcement_is_no_proof(said: dict[str, str], says: str) -> None:
    found = proof(said)
    assert not found
    assert says in repr(found)


def test_an_engine_that_is_not_mapped_is_no_proof() -> None:
    found = proof(seen=replace(SEEN, mapped=("/usr/bin/crun", "/usr/lib/libwasmtime.so.0")))
    assert found.missing == ("libwasmedge.so.0 is not mapped in the container's process (crun, /usr/bin/crun)",)


@pytest.mark.parametrize("said", [{}, SAID | {"target": "x86_64-linux"}])
def test_no_engine_is_told_of_what_was_no_module(said: dict[str, str]) -> None:
    assert proof(said).engine == ""


def test_without_a_look_from_outside_there_is_no_proof() -> None:
    assert proof(seen=None).missing == ("no snapshot of the container's process",)
    assert not prove(NATIVE, SPEC, SAID | {"target": "x86_64-linux"}, None)


def test_a_native_control_needs_a_native_guest_and_no_engine() -> None:
    assert proof(SAID | {"target": "x86_64-linux"}, replace(SEEN, mapped=()), NATIVE)
    assert not proof(SAID, replace(SEEN, mapped=()), NATIVE)


def test_everything_that_is_missing_is_told() -> None:
    found = proof(SAID | {"nonce": "0", "target": "x86_64-linux"}, replace(SEEN, mapped=()))
    assert len(found.missing) == 3


def test_swapped_streams_do_not_hide_the_announcement() -> None:
    announcement = line(**SAID)
    assert listen(announcement, b"") == listen(b"", announcement) == (SAID, ())


@pytest.mark.parametrize(
    "damaged",
    [
        b'@guest {"guest":"exit-42","target":"wasm32-wasip1","non',
        b'@guest ["exit-42"]\n',
        b"@guest \xff\xfe\x00\n",
        b"@guest\n",
        b' @guest {"guest":"exit-42"}\n',
        b"@guest " + b"[" * 100_000 + b"\n",
    ],
)
def test_a_damaged_line_is_no_announcement(damaged: bytes) -> None:
    assert listen(damaged, b"") == ({}, ())


def test_reports_come_in_order_and_damaged_ones_are_left_out() -> None:
    said = line(**SAID) + b'noise\n@report {"a":1}\n@report {"a":\n@report {"b":2}\r\n'
    assert listen(said, b'@report {"c":3}') == (SAID, ({"a": 1}, {"b": 2}, {"c": 3}))


def test_only_the_first_announcement_counts() -> None:
    assert listen(line(guest="first") + line(guest="second"), line(guest="third"))[0] == {"guest": "first"}


def test_what_the_hook_saw_is_read() -> None:
    maps = (
        b"00400000-00401000 r-xp 00000000 08:01 1 /usr/bin/crun\n"
        b"7f00-7f01 r--p 0 08:01 2 /lib/with space.so\n7f02-7f03 rw-p 0 00:00 0 \n"
        b"7f04-7f05 r--p 0 08:01 2 /lib/with space.so\n"
    )
    seen = parse_hook(b"42 /usr/bin/crun\ncrun\n" + maps)
    assert seen is not None
    assert (seen.pid, seen.exe, seen.comm) == (42, "/usr/bin/crun", "crun")
    assert seen.mapped == ("/usr/bin/crun", "/lib/with space.so")


@pytest.mark.parametrize("text", [b"", b"\n", b"0 \n"])
def test_a_hook_that_found_no_process_saw_nothing(text: bytes) -> None:
    assert parse_hook(text) is None


def test_an_engine_that_is_linked_in_is_in_the_runtime_s_own_program() -> None:
    linked = replace(WASM, engine=Engine("wasmtime", version_pattern="x"))
    found = proof(seen=ProcessSnapshot(pid=7, comm="youki:[2:INIT]", exe="/memfd:youki (deleted)"), path=linked)
    assert found
    assert found.engine == "/memfd:youki (deleted)"
