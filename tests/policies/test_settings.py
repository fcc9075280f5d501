"""Policies with their settings, as operators write them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.policies import BUILT_IN, DEFAULTS, KINDS, BadPolicy, Kind
from orchestrator.policies.settings import Number, Span, Weights, settings_of
from orchestrator.vocabulary import NS_PER_MS, NS_PER_S, span_ns, span_text

EVERY: list[tuple[Kind, str]] = [(kind, name) for kind in KINDS for name in BUILT_IN.policies[kind]]


@pytest.mark.parametrize(("kind", "name"), EVERY)
def test_every_policy_works_unset_and_explains_itself(kind: Kind, name: str) -> None:
    """Its name alone is a spec, it says what it does, and every setting has a default within its limits and a reason."""
    assert BUILT_IN.normal(kind, name) == name
    about = BUILT_IN.about()[kind][name]
    assert len(about["doc"]) > 5
    for one in settings_of(BUILT_IN.policies[kind][name]):
        assert one.why.endswith(".")
        if one.default:
            said = f"{name}:{one.name}={one.default}"
            assert BUILT_IN.normal(kind, said) == name
    assert DEFAULTS[kind] in BUILT_IN.policies[kind]


VALUES = {
    Span: st.integers(NS_PER_MS, 86_400 * NS_PER_S).map(span_text),
    Number: st.floats(0.01, 1).map(lambda x: f"{x:.6g}"),
    Weights: st.dictionaries(st.sampled_from(["gold", "silver", "a b"]), st.integers(1, 9)).map(
        lambda found: ";".join(f"{name}={weight}" for name, weight in found.items())
    ),
}


@pytest.mark.parametrize(("kind", "name"), EVERY)
@settings(max_examples=50, derandomize=True)
@given(data=st.data())
def test_a_spec_means_one_policy_and_comes_back(kind: Kind, name: str, data: st.DataObject) -> None:
    """Whatever is set: what is kept in the ledger builds the same policy again, and is its own normal form."""
    texts = {
        one.name: data.draw(VALUES[type(one.form)])
        for one in settings_of(BUILT_IN.policies[kind][name])
        if data.draw(st.booleans())
    }  # fmt: skip
    spec = name + ":" * bool(texts) + ",".join(f"{word}={text}" for word, text in texts.items())
    policy, kept = BUILT_IN.build(kind, spec), BUILT_IN.normal(kind, spec)
    assert BUILT_IN.build(kind, kept) == policy
    assert BUILT_IN.normal(kind, kept) == kept
    for word, text in texts.items():
        about = next(one for one in settings_of(policy) if one.name == word)
        assert getattr(policy, about.field) == about.form.read(text)


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("lifo", ["no ordering policy 'lifo'", "fifo", "sjf", "dps"]),
        ("fifo:ageing=1m", ["'fifo' has no setting 'ageing'", "it has none"]),
        ("sjf:aging=1m", ["no setting 'aging'", "it has: ageing"]),
        ("sjf:ageing=soon", ["ageing of policy 'sjf'", "auto, or off, or a length of time from 1ms to 366d", "'soon'"]),
        ("sjf:ageing=0s", ["from 1ms"]),
        ("dps:size=-1,share=nan,prio=2", ["size of policy", "share of policy", "no setting 'prio'"]),
        ("dps:weights=gold", ["weights by tenant, like gold=3"]),
        ("dps:weights=gold=0", ["each from 0.001"]),
        ("dps:weights=a=1;a=2", ["weights by tenant"]),
        ("sjf:", ["write NAME or NAME:SETTING=VALUE"]),
        ("sjf:ageing", ["write NAME"]),
        ("sjf:ageing=1m,ageing=2m", ["'ageing' twice"]),
        ("sjf:ageing=1m" + "0" * 9000, ["8000 characters"]),
    ],
)
def test_what_is_not_right_is_named_with_what_would_be(spec: str, says: list[str]) -> None:
    """All faults of one spec at once."""
    with pytest.raises(BadPolicy) as fault:
        BUILT_IN.build("ordering", spec)
    for word in says:
        assert word in str(fault.value)


def test_numbers_and_lengths_of_time_as_people_write_them() -> None:
    """A plain number of a length of time is seconds."""
    for text, value in (("2.5", 2.5 * NS_PER_S), ("1h30m", 5400 * NS_PER_S), ("250ms", 250 * NS_PER_MS)):
        assert BUILT_IN.build("ordering", f"sjf:ageing={text}").ageing_ns == value
    policy: Any = BUILT_IN.build("ordering", "dps: weights = silver=1.5;gold=3 , ageing = 2m")
    assert (policy.weights, policy.ageing_ns) == ((("gold", 3.0), ("silver", 1.5)), 120 * NS_PER_S)
    assert BUILT_IN.changed("ordering", "dps:size=2", {"guard": "5s"}) == "dps:size=2,guard=5s"
    assert BUILT_IN.changed("ordering", "dps:size=2", {"size": "1"}) == "dps"


@settings(max_examples=200, derandomize=True)
@given(st.integers(0, 10**19))
def test_a_length_of_time_comes_back_exactly(span: int) -> None:
    """To the nanosecond."""
    assert span_ns(span_text(span)) == span
