"""The rule of the shards: which one a task belongs to."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.shards import ALONE, Rule, UnreadableRule, read
from orchestrator.vocabulary import DEFAULT_SHARD, NAME_PATTERN
from orchestrator.wire.codec import encode
from orchestrator.wire.messages import Beat, Shard, Shards

NAMES = st.from_regex(NAME_PATTERN)


def test_the_first_that_says_something_and_is_matched_has_the_task() -> None:
    """By name, by the beginning of a name, by tenant; where both are said both must hold; what matches none is default's."""
    rule = Rule([
        Shard("gpu", services=["render*", "train"]),
        Shard("acme-mail", services=["mail"], tenants=["acme"]),
        Shard("acme", tenants=["acme", "acme-test"]),
    ])  # fmt: skip
    assert rule.names == (DEFAULT_SHARD, "gpu", "acme-mail", "acme")
    where = {
        ("render", ""): "gpu", ("render-hd", "acme"): "gpu", ("train", ""): "gpu", ("trainer", ""): DEFAULT_SHARD,
        ("mail", "acme"): "acme-mail", ("mail", "acme-test"): "acme", ("mail", ""): DEFAULT_SHARD, ("pay", "acme"): "acme",
    }  # fmt: skip
    assert {key: rule.of(*key) for key in where} == where


def test_what_no_shard_is_meant_for_is_spread_by_service() -> None:
    """Over default and those that say nothing, about evenly, whoever the tenant is; the hash is one that other languages have."""
    rule = Rule([Shard("gpu", services=["render"]), Shard("s1"), Shard("s2"), Shard("s3")])
    homes = Counter(rule.of(f"service-{number}") for number in range(4000))
    assert set(homes) == {DEFAULT_SHARD, "s1", "s2", "s3"}
    assert all(900 < count < 1100 for count in homes.values()), homes
    assert {rule.of("thumbs", tenant) for tenant in ("", "acme", "other")} == {rule.of("thumbs")}
    assert [rule.of(name) for name in ("thumbs", "mail", "pay", "render", "etl")] == ["s3", "s3", "s3", "gpu", DEFAULT_SHARD]


def test_one_shard_more_moves_only_what_it_gains() -> None:
    """Four shards become five: a fifth of the services moves, all of it to the new one."""
    few, many = Rule([Shard(f"s{n}") for n in range(1, 4)]), Rule([Shard(f"s{n}") for n in range(1, 5)])
    moved = [name for name in (f"service-{n}" for n in range(2000)) if few.of(name) != many.of(name)]
    assert {many.of(name) for name in moved} == {"s4"}
    assert 300 < len(moved) < 500


@given(st.lists(st.tuples(NAMES, st.lists(NAMES, max_size=3), st.lists(st.text(max_size=5), max_size=3)), max_size=6), NAMES, NAMES)
def test_everybody_who_reads_the_rule_finds_the_same_shard(
    said: list[tuple[str, list[str], list[str]]], service: str, tenant: str
) -> None:
    """Published, read, asked: the shard is one of the rule's, and the reader's is the writer's."""
    shards = [Shard(*one) for one in {one[0]: one for one in said if one[0] != DEFAULT_SHARD}.values()]
    rule = Rule(shards)
    again = read(encode(rule.message()))
    assert again == rule
    assert again.of(service, tenant) == rule.of(service, tenant)
    assert rule.of(service, tenant) in rule.names


def test_no_rule_is_one_shard() -> None:
    """Nothing published: everything is default's."""
    assert read(None) is ALONE
    assert ALONE.alone
    assert ALONE.of("thumbs", "acme") == DEFAULT_SHARD


@pytest.mark.parametrize(
    "body",
    [b"", b"\xc1", encode(Beat("i", 1, 1, 1)), encode(Shards([Shard("a"), Shard("a")])), encode(Shards([Shard(DEFAULT_SHARD)]))],
)
def test_what_is_no_rule_is_not_guessed_at(body: bytes) -> None:
    """Garbage, another message, a name twice: nobody may take it for "no shards"."""
    with pytest.raises(UnreadableRule):
        read(body)
