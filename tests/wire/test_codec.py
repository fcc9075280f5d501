"""Bytes to messages: whatever comes, a message or ``Malformed`` is what it becomes."""

from __future__ import annotations

import hashlib
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import msgpack  # type: ignore[import-untyped]  # it ships no types
import msgspec
import pytest
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st

from orchestrator.vocabulary import Attempt
from orchestrator.wire import codec
from orchestrator.wire.codec import Malformed, decode, decode_entry, encode, encode_entry
from orchestrator.wire.examples import EXAMPLES
from orchestrator.wire.facts import Accepted, AnyFact, Entry
from orchestrator.wire.messages import (
    Answer,
    AnyMessage,
    Assignment,
    Control,
    Leave,
    Message,
    Orders,
    Report,
    Reports,
    Submit,
    Task,
)
from tests.stopwatch import cost
from tests.wire import anything
from tests.wire.hostile import CORPUS, Hostile

# --- what is said is heard --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", anything.messages(), ids=lambda kind: kind.__name__)
def test_every_message_comes_back(kind: type[Message]) -> None:
    """Whatever a peer may say within the limits, another peer hears the same."""

    @settings(max_examples=60, deadline=None)
    @given(
        anything.of(kind).filter(
            lambda said: not isinstance(said, Reports) or all(one.error or one.outcome == "done" for one in said.items)
        )
    )
    def law(said: AnyMessage) -> None:
        assert decode(encode(said)) == said

    law()


@settings(max_examples=60, deadline=None)
@given(anything.entries())
def test_every_entry_comes_back(entry: Entry) -> None:
    """What a leader writes is what every coordinator reads."""
    assert decode_entry(encode_entry(entry)) == entry


@pytest.mark.parametrize("kind", AnyFact.__args__)
def test_every_fact_is_tried(kind: type) -> None:
    """The strategy above makes facts of every kind (else the test would be weaker than it looks)."""
    enough = settings(max_examples=5_000, deadline=None, database=None, phases=[Phase.generate])
    find(anything.entries(), lambda entry: any(type(fact) is kind for fact in entry.facts), settings=enough)


def test_defaults_are_left_out() -> None:
    """A message is as short as what it says: fields at their defaults take no bytes, and neither does the version."""
    assert msgspec.msgpack.decode(encode(Submit([Task("t", "a.b")]))) == {"kind": "submit", "tasks": [{"id": "t", "type": "a.b"}]}


def test_a_version_may_be_said() -> None:
    """Peers that state version 1 are heard like those that do not."""
    assert decode(msgpack.packb({"v": 1, "kind": "leave", "incarnation": "a"})) == decode(
        msgpack.packb({"kind": "leave", "incarnation": "a"})
    )


def test_numbers_may_have_any_width() -> None:
    """Other encoders write the integer 1 in nine bytes and the amount 2 as an integer: they mean the same."""
    assert decode(b"\x84\xa4kind\xa4beat\xabincarnation\xa1a\xa3seq\xcf" + (1).to_bytes(8, "big") + b"\xa4load\x01") == decode(
        msgpack.packb({"kind": "beat", "incarnation": "a", "seq": 1, "load": 1.0})
    )


# --- whatever comes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CORPUS, ids=lambda case: case.name)
def test_hostile(case: Hostile) -> None:
    """A body of the corpus is refused for the right reason (or is harmless), at a bounded price."""
    tracemalloc.start()
    try:
        heard = decode(case.body)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    with cost() as took:
        decode(case.body)
    if case.reason is None:
        assert isinstance(heard, Message)
    else:
        assert isinstance(heard, Malformed)
        assert heard.reason == case.reason, heard.detail
        assert heard.detail.isprintable()
    assert peak < 32e6
    assert took.ms < 250, "50 ms are the aim; the rest is for a busy machine"


@pytest.mark.parametrize(
    "body",
    [
        *(pytest.param(case.body, id=case.name) for case in CORPUS if case.reason is not None),
        pytest.param(bytes(codec.MAX_LONG_BODY_BYTES + 1), id="longer than anything"),
        pytest.param(encode(Leave("i", "x" * 2_000_000)), id="longer than its kind"),
        pytest.param(msgpack.packb({"kind": "\0" * 8_000_000}), id="a kind of eight megabytes"),
    ],
)
def test_of_what_comes_in_thousands_only_the_reason_is_told(body: bytes) -> None:
    """Asked to be brief the codec hashes nothing and puts nothing into words, whatever is wrong."""
    brief, whole = decode(body, brief=True), decode(body)
    assert isinstance(brief, Malformed)
    assert isinstance(whole, Malformed)
    assert brief == Malformed(whole.reason, "", "", b"", len(body), whole.tasks)
    assert len(whole.digest) == 64


def test_a_kind_of_eight_megabytes_is_not_put_into_words_whole() -> None:
    """It is read, being text, and that is all: what is said of it is short, and costs nothing."""
    body = msgpack.packb({"kind": "\0" * 8_000_000})
    tracemalloc.start()
    heard = decode(body)
    assert tracemalloc.get_traced_memory()[1] < len(body) + 100_000
    tracemalloc.stop()
    assert isinstance(heard, Malformed)
    assert heard.detail.startswith("kind ")
    assert heard.detail.endswith(" is unknown")


@settings(max_examples=400, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes(body: bytes) -> None:
    """Random bytes never raise."""
    assert isinstance(decode(body), Malformed | Message)
    assert isinstance(decode_entry(body), Malformed | Entry)


BODIES = [encode(example.message) for example in EXAMPLES]


@settings(max_examples=600, deadline=None)
@given(st.sampled_from(BODIES), st.data())
def test_damaged_messages(body: bytes, data: st.DataObject) -> None:
    """A message with bytes changed, cut out, doubled or added never raises."""
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(body)))
        after = data.draw(st.integers(place, min(len(body), place + 8)))
        body = body[:place] + data.draw(st.binary(max_size=4)) + body[data.draw(st.sampled_from([place, after])) :]
    assert isinstance(decode(body), Malformed | Message)
    assert isinstance(decode_entry(body), Malformed | Entry)


@settings(max_examples=300, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["kind", "v", "id", "tasks", "items", "incarnation", "seq", "args", "value", "ok", "epoch", "attempts"]),
        st.sampled_from(sorted(codec.KINDS)) | st.sampled_from([0, 1, -1, 2**64 - 1, float("nan"), None, True]) | anything.anything,
    )
)
def test_wrong_shapes(fields: dict[str, object]) -> None:
    """Well-formed msgpack of the wrong shape never raises."""
    assert isinstance(decode(msgpack.packb(fields)), Malformed | Message)
    assert isinstance(decode_entry(msgpack.packb(fields)), Malformed | Entry)


def test_deep_in_the_stack() -> None:
    """Even where the interpreter's stack is nearly used up, bytes do not raise."""

    def down(levels: int) -> AnyMessage | Malformed:
        return down(levels - 1) if levels else decode(b"\x82\xa4kind\xa4echo\xa3zzz" + b"\x91" * 500 + b"\xc0")

    assert isinstance(down(600), Malformed)


# --- what a refusal says --------------------------------------------------------------------------------------------------


def test_a_refusal_helps_to_find_its_sender() -> None:
    """It names the field and what was expected, and keeps the digest and the first KiB of the body, but shows none of it."""
    body = msgpack.packb({"kind": "leave", "incarnation": 7, "reason": "s3cr3t" + "x" * 2000})
    heard = decode(body)
    assert isinstance(heard, Malformed)
    assert heard == Malformed(
        "shape", "Expected `str`, got `int` - at `$.incarnation`", hashlib.sha256(body).hexdigest(), body[:1024], len(body)
    )
    assert str(heard) == "shape: Expected `str`, got `int` - at `$.incarnation`"
    assert "s3cr3t" not in str(heard)


def test_unknown_versions_and_kinds_are_named() -> None:
    """An operator sees at once that somebody speaks another version, or of things that do not exist."""
    version = decode(msgpack.packb({"v": 7, "kind": "beat"}))
    kind = decode(msgpack.packb({"kind": "be\nat"}))
    assert isinstance(version, Malformed)
    assert isinstance(kind, Malformed)
    assert "version 7" in version.detail
    assert r"'be\nat'" in kind.detail


def test_the_version_is_judged_first() -> None:
    """A message of a later version is refused for that, whatever else has become of its shape."""
    heard = decode(msgpack.packb({"v": 2, "tasks": 5}))
    assert isinstance(heard, Malformed)
    assert heard.reason == "version"


def test_the_ids_of_a_bad_submission_are_told() -> None:
    """One bad task condemns its message; whoever has the ids can tell the producer about all of them."""
    heard = decode(msgpack.packb({"kind": "submit", "tasks": [{"id": "a", "type": "x.y"}, {"id": "b", "type": "nonsense"}]}))
    assert isinstance(heard, Malformed)
    assert heard.tasks == ("a", "b")
    heard = decode(msgpack.packb({"kind": "submit", "tasks": [{"id": "a", "type": "x.y"}, {"id": "b\n", "type": "x.y"}]}))
    assert isinstance(heard, Malformed)
    assert heard.tasks == ()


# --- sizes ----------------------------------------------------------------------------------------------------------------


def test_the_largest_value_fits_its_message() -> None:
    """A task with the largest arguments is read; one byte more is refused."""
    assert isinstance(decode(encode(Submit([Task("t", "a.b", bytes(codec.MAX_VALUE_BYTES))]))), Submit)
    assert isinstance(decode(encode(Submit([Task("t", "a.b", bytes(codec.MAX_VALUE_BYTES + 1))]))), Malformed)


def test_size_is_judged_by_kind() -> None:
    """A leader may say more at once than a producer: arguments and a checkpoint in one assignment."""
    report = Report("t", Attempt(1, 1), "done", bytes(700_000))
    long = Reports("a", [report, report])
    heard = decode(encode(long))
    assert isinstance(heard, Malformed)
    assert heard.reason == "size"
    assert decode(encode(long), max_bytes=2_000_000) == long
    mib = codec.MAX_VALUE_BYTES
    orders = Orders("a", 1, 1, assign=[Assignment("t", 1, "h", bytes(mib), {}, checkpoint=bytes(mib))])
    assert decode(encode(orders)) == orders


def test_what_is_not_heard_there_is_not_built() -> None:
    """Of a message for somebody else nothing is made but its kind, whatever is in it: this answer is five megabytes of lists."""
    lists = next(case.body for case in CORPUS if case.name == "1 MiB of small lists in an open value")
    tracemalloc.start()
    heard = decode(lists, brief=True, hears={"reports"})
    assert tracemalloc.get_traced_memory()[1] < 20_000
    tracemalloc.stop()
    assert isinstance(heard, Malformed)
    assert heard.reason == "misplaced"
    for name in ("two kinds, the first of them open", "two kinds, the first of them longer"):
        body = next(case.body for case in CORPUS if case.name == name)
        tracemalloc.start()
        assert isinstance(decode(body, brief=True, hears={"held", "beat"}), Malformed)
        assert tracemalloc.get_traced_memory()[1] < 20_000, "the kind that was said first is not built either"
        tracemalloc.stop()
    whole = decode(encode(Leave("i")), hears={"reports", "submit"})
    assert isinstance(whole, Malformed)
    assert str(whole) == "misplaced: leave is not for this queue"
    assert decode(encode(Leave("i")), hears={"leave"}) == Leave("i")


def test_a_question_is_short() -> None:
    """Whoever may ask may not make us build what he likes."""
    assert isinstance(decode(encode(Control("q", "tasks", {"of": ["x"] * 8_000}))), Control)
    long = decode(encode(Control("q", "tasks", {"of": [[]] * 20_000})))
    assert isinstance(long, Malformed)
    assert long.reason == "size"


def test_size_is_judged_before_anything_else() -> None:
    """Not a byte of a body that is too long is looked at."""
    heard = decode(b"\xc1" * 100, max_bytes=99)
    assert isinstance(heard, Malformed)
    assert heard.reason == "size"
    assert heard.detail == "body of 100 bytes; 99 are the limit"


def test_a_long_list_for_people_is_read() -> None:
    """Ten thousand rows of a dozen columns are an answer like any other."""
    row = {f"column{i}": i for i in range(12)}
    answer = Answer("q", True, [row] * 10_000)
    assert decode(encode(answer)) == answer


@pytest.mark.parametrize(
    ("value", "fits"),
    [
        pytest.param(["x" * 4_000] * 2_000, True, id="8.0 MB"),
        pytest.param(["x" * 4_000] * 5_000, False, id="20 MB"),
        pytest.param([[]] * 65_534, True, id="as many lists as are read"),
        pytest.param([()] * 65_535, False, id="one more"),
        pytest.param([{"": {"": {}}}] * 21_844, True, id="as many maps as are read"),
        pytest.param([{"": {"": {}}}] * 21_845, False, id="some more"),
        pytest.param([list(range(10))] * 20_000, True, id="as much on one level as is read"),
        pytest.param([list(range(11))] * 20_000, False, id="more on one level"),
    ],
)
def test_an_answer_that_nobody_could_read_is_a_no(value: Any, fits: bool) -> None:
    """What is too long by anything that ``decode`` judges becomes an answer that says so; all else is sent as it is."""
    answer = Answer("q", True, value)
    assert (decode(encode(answer)) == answer) is fits, "the two must agree"
    said = decode(codec.encode_answer(answer))
    if fits:
        assert said == answer
    else:
        assert isinstance(said, Answer)
        assert said.error is not None
        assert (said.id, said.ok, said.error.kind) == ("q", False, "too_long")
        assert "--limit" in said.error.message


def test_an_entry_that_no_broker_takes_is_not_written() -> None:
    """A leader that would write more than RabbitMQ takes has a bug, and hears so before anything is written."""
    task = Task("t", "a.b", bytes(codec.MAX_VALUE_BYTES))
    with pytest.raises(ValueError, match="several entries"):
        encode_entry(Entry("me", 1, facts=[Accepted([task] * 16, 0)]))


def test_an_entry_of_a_later_version() -> None:
    """A coordinator that meets facts it does not know must not guess."""
    fact = decode_entry(msgpack.packb({"by": "a", "number": 1, "facts": [{"fact": "invented"}]}))
    version = decode_entry(msgpack.packb({"v": 2, "by": "a", "number": 1}))
    assert isinstance(fact, Malformed)
    assert isinstance(version, Malformed)
    assert (fact.reason, version.reason) == ("shape", "version")


# --- speed ------------------------------------------------------------------------------------------------------------------


def test_speed(capsys: pytest.CaptureFixture[str]) -> None:
    """Printed, and held against msgpack with a conversion: if that became faster, the codec should change its mind."""
    said = Submit([Task(f"t{i:06}", "thumbs.resize", b"\x81\xa1x\x01", {"cpu": 1.0}, 3) for i in range(100)])
    body = encode(said)

    def other(body: bytes) -> object:
        return msgspec.convert(msgpack.unpackb(body), AnyMessage, builtin_types=(bytes,))

    ours, theirs, writing = _best_us(decode, body), _best_us(other, body), _best_us(encode, said)
    with capsys.disabled():
        print(f"\n  a task: decode {ours / 100:.2f} µs (msgpack and convert: {theirs / 100:.2f}), encode {writing / 100:.2f} µs")
    assert ours < 2 * theirs


def _best_us(work: Callable[[Any], object], argument: Any) -> float:
    best = float("inf")
    for _ in range(7):
        started = time.perf_counter()
        for _ in range(50):
            work(argument)
        best = min(best, (time.perf_counter() - started) / 50)
    return best * 1e6
