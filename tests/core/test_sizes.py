"""What peers can make long stays within what the broker and every reader carry."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.core.config import Config
from orchestrator.core.custody.sizes import fact_bytes
from orchestrator.vocabulary import Attempt
from orchestrator.wire.codec import MAX_ENTRY_BYTES, encode_entry
from orchestrator.wire.facts import Accepted, AnyFact, Carried, Checkpointed, Ended, Entry, Failed, Failure, Hold, Tombstone
from orchestrator.wire.messages import Edge, Error, Range, Submit, Task
from tests.core.stage import Stage

ids = st.text("abc:.-", min_size=1, max_size=128).map(lambda text: "x" + text[:127])
names = st.text("abc", min_size=1, max_size=64)
words = st.text(max_size=200)
blobs = st.binary(max_size=500)
numbers = st.integers(0, 2**53)
attempts = st.builds(Attempt, numbers, numbers)
errors = st.builds(Error, words, words, words)
needs = st.dictionaries(names, st.floats(0, 1e12) | st.builds(Range, st.floats(0, 1e12), st.floats(0, 1e12)), max_size=4)
tasks = st.builds(
    Task, ids, st.just("thumbs.resize"), blobs, needs, st.integers(-1000, 1000), names, numbers, numbers, numbers,
    st.integers(0, 1000), numbers, st.just("never"), st.lists(st.builds(Edge, ids, st.just("continue"), names), max_size=3),
    st.dictionaries(names, words, max_size=4), workflow=ids | st.none(), key=words, cache_ns=numbers,
)  # fmt: skip
holds = st.builds(Hold, names, st.just("x" * 64 + "." + "y" * 64), words, st.binary(min_size=16, max_size=16), numbers)
failures = st.builds(Failure, attempts, st.just("timeout"), errors, numbers, names)
facts: st.SearchStrategy[AnyFact] = st.one_of(
    st.builds(Accepted, st.lists(tasks, min_size=1, max_size=3), numbers, names, names),
    st.builds(
        Ended, ids, st.just("cancelled"), numbers, attempts, blobs, errors, names, numbers, numbers, names, numbers, ids, holds,
    ),
    st.builds(Failed, ids, attempts, st.just("timeout"), errors, numbers, names, numbers, numbers),
    st.builds(Checkpointed, ids, attempts, blobs),
    st.builds(
        Carried, tasks, numbers, numbers, numbers, names, names, numbers, st.lists(failures, max_size=3), numbers, numbers,
        st.booleans(), blobs, attempts, keep_ns=numbers, first=ids,
    ),
    st.builds(Tombstone, ids, st.just("cancelled"), numbers, numbers, st.booleans(), blobs, errors, holds),
)  # fmt: skip


@settings(max_examples=60, deadline=None, derandomize=True)
@given(facts)
def test_the_estimate_is_from_above(fact: AnyFact) -> None:
    """No fact takes more bytes than are reckoned with."""
    assert len(encode_entry(Entry("me", 1, facts=[fact]))) <= fact_bytes(fact) + 100


def test_a_flood_is_written_in_several_entries() -> None:
    """Twenty submissions of a megabyte come in one step: no entry is longer than readers allow, and each is settled in turn."""
    stage = Stage()
    stage.coordinator("c1")
    stage.pump()
    stage.held.add(("c1", "append"))
    for n in range(21):
        stage.durable("intake", Submit([Task(f"t{n}", "thumbs.resize", bytes(1_000_000))]))
        stage.pump()
    stage.held.clear()
    stage.pump()
    assert len(stage.witness.accepted) == 21
    entries = [size for size, entry in stage.ledger if entry is not None and entry.facts]
    assert len(entries) == 1 + 1 + 5
    assert max(entries) < MAX_ENTRY_BYTES // 2
    assert not stage.nodes["c1"].unsettled


def test_intake_stops_before_the_living_fill_the_ledger() -> None:
    """Few tasks, but large ones: a quarter of the ledger is theirs, the rest is for what happens to them."""
    stage = Stage(Config(ledger_bytes_max=450_000, reserve_bytes=50_000))
    stage.coordinator("c1")
    for n in range(20):
        stage.durable("intake", Submit([Task(f"t{n}", "thumbs.resize", bytes(10_000))]))
        stage.pump()
    assert len(stage.witness.accepted) == 10
    assert len(stage.wire(("intake", "durable"))) == 10
