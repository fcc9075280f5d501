"""Which shard a task belongs to: the rule that coordinators, producers and agents share.

Law: pure data and one function. The rule is told in one place, the settings of the coordinators; they publish it as a
``Shards`` message, and everybody else takes it from there. So nobody has to be told twice, and nobody can disagree unnoticed.
Everything of one task (its id, its facts, its limits) is within one shard; a shard knows nothing of the others.

1. The first shard that says something (services, tenants) and is matched by all that it says.
2. What matches none is spread by service over ``default`` and the shards that say nothing, by rendezvous hashing: each
   shard's name is hashed with the service's, the highest hash wins. So a shard more moves only the services that it gains.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from hashlib import sha256
from typing import Final

from orchestrator.vocabulary import DEFAULT_SHARD, Service
from orchestrator.wire.codec import Malformed, decode
from orchestrator.wire.messages import Shard, Shards


class Rule:
    """Where tasks belong. ``names``: all shards, ``default`` first."""

    def __init__(self, shards: Sequence[Shard] = ()) -> None:
        """Raises ValueError for a name that is there twice."""
        self.shards = tuple(shards)
        self.names = (DEFAULT_SHARD, *(one.name for one in shards))
        if len(set(self.names)) < len(self.names):
            twice = sorted({name for name in self.names if self.names.count(name) > 1})
            raise ValueError(f"{', '.join(twice)}: each shard has a name of its own, and {DEFAULT_SHARD} is always there")
        self._choosy = [one for one in shards if one.services or one.tenants]
        self._rest = [DEFAULT_SHARD, *(one.name for one in shards if not (one.services or one.tenants))]
        self.of = lru_cache(maxsize=4096)(self._of)
        """``of(service, tenant="")``: the shard of a task."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Rule) and self.shards == other.shards

    @property
    def alone(self) -> bool:
        """Whether there is no shard but ``default``."""
        return not self.shards

    def _of(self, service: Service, tenant: str = "") -> str:
        for one in self._choosy:
            if (not one.services or any(_matches(service, names) for names in one.services)) and (
                not one.tenants or tenant in one.tenants
            ):
                return one.name
        if len(self._rest) == 1:
            return DEFAULT_SHARD
        return max(self._rest, key=lambda name: sha256(f"{name}/{service}".encode()).digest())

    def message(self) -> Shards:
        """As it is published."""
        return Shards(list(self.shards))


def _matches(service: Service, names: str) -> bool:
    return service.startswith(names[:-1]) if names.endswith("*") else service == names


ALONE: Final = Rule()
"""No shards."""


class UnreadableRule(ValueError):
    """What was published as the rule is none: nobody can tell where a task belongs."""


def read(body: bytes | None) -> Rule:
    """The rule that was published; ``ALONE`` if none was. Raises UnreadableRule."""
    if body is None:
        return ALONE
    message = decode(body)
    if not isinstance(message, Shards):
        what = str(message) if isinstance(message, Malformed) else f"a {type(message).__name__}"
        raise UnreadableRule(f"what was published as the rule of the shards cannot be read ({what}); restart a coordinator")
    try:
        return Rule(message.shards)
    except ValueError as fault:
        raise UnreadableRule(f"the rule of the shards that was published cannot be: {fault}; restart a coordinator") from None
