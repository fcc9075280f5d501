"""The rule of the shards as it is published: for everybody who connects. What it means: ``orchestrator.shards``."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from orchestrator.wire.roots import Message, Part
from orchestrator.wire.types import MOST_SHARDS, Name, Names, Text


class Shard(Part, frozen=True):
    """A share of the work with queues, a ledger and a leader of its own. It is meant for tasks that match all that is said here."""

    name: Name
    services: Annotated[list[Names], Meta(max_length=256)] = []
    """The task's service is one of these. Empty: any."""
    tenants: Annotated[list[Text], Meta(max_length=1024)] = []
    """The task's tenant is one of these. Empty: any."""


class Shards(Message, frozen=True, tag="shards"):
    """The rule by which everybody finds a task's shard."""

    shards: Annotated[list[Shard], Meta(max_length=MOST_SHARDS)] = []
    """Beside ``default``. The first that says anything and is matched has the task; what matches none is spread over ``default``
    and those that say nothing."""
