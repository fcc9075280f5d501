"""A fuzz target for the codec: ``python -m tests.wire.fuzz --minutes 10``; a bounded form of it is among the tests.

Any bytes become a message or ``Malformed``, within the budgets; a message that was read says the same when it is written and read
again. Three sources: bytes as Hypothesis likes them, real messages of every kind bent at some place (``tests/hostile/corpus.py``),
and messages built from the types, bent too. Hypothesis and not a coverage-guided fuzzer, since what decodes is C: nothing would
guide it.
"""

from __future__ import annotations

import argparse
import sys
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st

from orchestrator.wire.codec import Malformed, decode, decode_entry, encode, encode_entry
from orchestrator.wire.facts import Entry
from orchestrator.wire.messages import Message
from tests.hostile.corpus import PLACES, Corpus
from tests.stopwatch import cost
from tests.wire import anything

BUDGET_MS_PER_KIB = 50 / 256
"""50 ms for 256 KiB …"""
LEAST_MS = 50.0
"""… and that for anything shorter: a busy machine may be elsewhere for a while."""
BUDGET_BYTES = 32 * 1024 * 1024
ROUND_EXAMPLES = 100


class Found(Exception):
    """A body that breaks a law, or at which the codec raises, which it must never."""


class Target:
    """What is tried, and what became of it."""

    def __init__(self) -> None:
        self.seen: Counter[str] = Counter()
        self.slowest_ms = 0.0
        self.largest_bytes = 0

    def __call__(self, body: bytes, *, weigh: bool = False) -> None:
        """One body. Raises Found if a law is broken, or the codec raises, which is never to raise."""
        try:
            self._try(body, weigh)
        except Exception as error:
            raise Found(f"{type(error).__name__}: {error}; {len(body):,} bytes: {body[:100]!r}") from error
        finally:
            tracemalloc.stop()

    def _try(self, body: bytes, weigh: bool) -> None:
        if weigh:
            tracemalloc.start()
        with cost() as took:
            heard, entry = decode(body), decode_entry(body)
        if weigh:
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            self.largest_bytes = max(self.largest_bytes, peak)
            assert peak <= BUDGET_BYTES, f"{peak:,} bytes"
        else:
            budget_ms = 2 * max(LEAST_MS, BUDGET_MS_PER_KIB * len(body) / 1024)  # for the two of them
            self.slowest_ms = max(self.slowest_ms, took.ms)
            assert took.ms <= budget_ms, f"{took.ms:.0f} ms"
        if isinstance(heard, Malformed):
            self.seen[heard.reason] += 1
            assert heard.size == len(body)
            assert len(heard.sample) <= 1024
            assert heard.detail.isprintable()
        else:
            assert isinstance(heard, Message)
            self.seen["message"] += 1
            assert decode(encode(heard)) == heard
        if isinstance(entry, Entry):
            assert decode_entry(encode_entry(entry)) == entry


def fuzz(seconds: float, seed: int, said: Callable[[Target], None] = lambda target: None) -> Target:
    """So long; the same seed tries the same first things.

    Raises Found at the first body that breaks a law, shrunk where that can be.
    """
    target = Target()
    ends = time.monotonic() + seconds
    rounds = 0
    while time.monotonic() < ends:
        corpus = Corpus(seed + rounds)
        for place in PLACES:
            for _ in range(ROUND_EXAMPLES):
                body = corpus.blow(place, large=rounds % 10 == 9).body
                target(body)
                target(body[1:])
            target(corpus.blow(place, large=False).body, weigh=True)
        _by_hypothesis(target, seed + rounds)
        rounds += 1
        said(target)
    return target


def _by_hypothesis(target: Target, seed: int) -> None:
    kinds = [anything.of(kind).map(encode) for kind in anything.messages()]

    @seeded(seed)
    @settings(
        max_examples=ROUND_EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink),
    )  # fmt: skip
    @given(st.one_of(st.binary(max_size=300), *kinds, anything.entries().map(encode_entry)), st.integers(0, 2**32 - 1))
    def law(body: bytes, bits: int) -> None:
        target(body)
        if body:
            at = bits % len(body)
            target(body[:at] + bytes([bits >> 24]) + body[at + 1 :])

    law()


def main(argv: list[str] | None = None) -> int:
    """From the command line."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--minutes", type=float, default=10.0)
    asked.add_argument("--seed", type=int, default=1)
    options = asked.parse_args(argv)

    def said(target: Target) -> None:
        print(f"\r{sum(target.seen.values()):,} bodies, slowest {target.slowest_ms:.1f} ms", end="", file=sys.stderr, flush=True)

    target = fuzz(60 * options.minutes, options.seed, said)
    print(f"\n{sum(target.seen.values()):,} bodies: {dict(target.seen)}; slowest {target.slowest_ms:.1f} ms, largest "
          f"{target.largest_bytes / 1e6:.1f} MB")  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
