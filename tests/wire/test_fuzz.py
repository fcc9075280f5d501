"""The fuzz target of the codec, for a few seconds: ``python -m tests.wire.fuzz`` goes on for as long as is wanted."""

from __future__ import annotations

import msgpack  # type: ignore[import-untyped]  # it ships no types
import msgspec
import pytest

from orchestrator.wire import codec
from tests.wire import fuzz

SECONDS = 6.0


def test_any_bytes_for_a_while() -> None:
    """Thousands of bodies, of every sort: none raises, none costs more than its budget, and what is read is what was said."""
    target = fuzz.fuzz(SECONDS, seed=20261126)
    assert sum(target.seen.values()) > 1_000
    assert target.seen.keys() >= {"message", "bytes", "shape", "kind", "version"}


@pytest.mark.parametrize(
    "filler", [b"\x90", b"\x80", b"\xc0", b"\x91\xc0", b"\xa0", b"\x00", b"\xcb\x00\x00\x00\x00\x00\x00\x00\x00"]
)
@pytest.mark.parametrize("kind", ["submit", "answer", "control", "results", "orders", "echo", "held"])
def test_a_quarter_of_a_megabyte_of_the_smallest_things(kind: str, filler: bytes) -> None:
    """256 KiB of them, as the value of every field there is in turn, take at most 50 ms and 32 MB to read, whatever they are."""
    known = {"submit": "tasks", "answer": "value", "control": "args", "results": "items", "orders": "release", "echo": "heard",
             "held": "attempts"}[kind]  # fmt: skip
    count = 256 * 1024 // len(filler)
    for field in (known, "nobody-knows"):
        bomb = b"\xdd" + count.to_bytes(4, "big") + filler * count
        head = msgpack.packb({"kind": kind})[1:] + msgpack.packb(field)
        target = fuzz.Target()
        target(b"\x82" + head + bomb, weigh=True)
        target(b"\x82" + head + bomb)


def test_the_target_finds_what_it_is_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A codec that raises at a body that ends too early is found at once: a fuzzer that finds nothing must be able to."""

    def raises(body: bytes, trouble: Exception, kind: str = "", *, brief: bool = False) -> None:
        raise trouble

    monkeypatch.setattr(codec, "_unreadable", raises)
    with pytest.raises(fuzz.Found) as found:
        fuzz.fuzz(5.0, seed=1)
    assert isinstance(found.value.__cause__, msgspec.DecodeError), "what the decoder said, and no mistake of this test's"
