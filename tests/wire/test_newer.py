"""Which entries of the ledger that cannot be read are a newer coordinator's."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest

from orchestrator.wire.codec import Malformed, decode_entry, encode_entry, is_newer
from orchestrator.wire.facts import Claim, Entry

CLAIM = {"fact": "claim", "coordinator": "c", "nonce": "n"}
NEWER: list[dict[str, Any]] = [
    {"by": "n", "number": 1, "v": 2},
    {"by": "n", "number": 1, "v": 2, "facts": {"shaped": "otherwise"}},
    {"by": "n", "number": 1, "facts": [CLAIM, {"fact": "moved", "to": 7}]},
]
RUBBISH = [
    b"",
    b"hello",
    b"\x91" * 5000,
    msgpack.packb({"v": 2}),
    msgpack.packb({"kind": "submit", "v": 2, "tasks": []}),
    msgpack.packb({"by": 1, "number": 1, "v": 2}),
    msgpack.packb({"by": "n", "number": 1, "facts": [{"kind": "moved"}]}),
    msgpack.packb({"by": "n", "number": 1, "facts": [{"fact": "claim", "coordinator": 1}]}),
    encode_entry(Entry("n", 1, facts=[Claim("c", "n")]))[:-1],
]


@pytest.mark.parametrize("entry", NEWER)
def test_an_entry_of_a_later_version_or_with_a_fact_that_we_do_not_know_is_newer(entry: dict[str, Any]) -> None:
    """It cannot be read, and is told from what strangers write."""
    body = msgpack.packb(entry)
    assert isinstance(decode_entry(body), Malformed)
    assert is_newer(body)


@pytest.mark.parametrize("body", RUBBISH)
def test_rubbish_is_not(body: bytes) -> None:
    """It counts for nothing, and stops nobody."""
    assert isinstance(decode_entry(body), Malformed)
    assert not is_newer(body)
