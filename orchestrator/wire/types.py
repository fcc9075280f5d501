"""The scalars that messages are made of, each with its unit and its limit.

Law: a limit stands here as a type or in a message as ``Meta``, nowhere else; so the codec refuses what does not fit before
any of it reaches a machine, and ``PROTOCOL.md`` shows what the codec does.
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

from msgspec import Meta

from orchestrator.vocabulary import ID_PATTERN, NAME_PATTERN

MOST_TASKS = 4096
"""Tasks in one ``submit``."""
MOST_LISTED = 500
"""Attempts named by one ``beat``; an agent that has more names none."""
MOST_HELD = 20_000
"""Attempts of one agent (it refuses new work long before)."""
MOST_BEFORE = 16
"""Former incarnations that an agent names."""
MOST_BARE = 65_536
"""Entries of a list or map of bare numbers: three bytes make one, so the size of the body would allow too many."""
MOST_RESOURCES = 32
"""Kinds of resources that a task asks for, or an instance has."""
MOST_DEVICES = 256
"""Devices of one resource that an instance has."""
MOST_LABELS = 32
MOST_SHARDS = 64
"""Shards beside `default`."""

NAMES_PATTERN = r"^(?:[A-Za-z0-9][A-Za-z0-9_-]{0,63}\*?|\*)\Z"
TYPE_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}\.[A-Za-z0-9][A-Za-z0-9_-]{0,63}\Z"

Id: TypeAlias = Annotated[str, Meta(pattern=ID_PATTERN)]
"""Who or what is meant: a task, an instance, an incarnation. Made by whoever makes the thing; a UUID will do."""

Name: TypeAlias = Annotated[str, Meta(pattern=NAME_PATTERN)]
"""One word: a service, a handler, a resource, a label."""

Names: TypeAlias = Annotated[str, Meta(pattern=NAMES_PATTERN)]
"""A name, or the beginning of names with ``*`` behind: ``thumbs``, ``render*``, ``*``."""

Type: TypeAlias = Annotated[str, Meta(pattern=TYPE_PATTERN)]
"""A task type: two names with a dot between, ``service.handler``."""

Text: TypeAlias = Annotated[str, Meta(max_length=4096)]
"""Words for people."""

Blob: TypeAlias = Annotated[bytes, Meta(max_length=1024 * 1024)]
"""A value of a user, packed: msgpack inside a ``bin``. Nobody between producer and handler opens it."""

Count: TypeAlias = Annotated[int, Meta(ge=0, le=2**53)]
"""A number of things, or a number in a sequence."""

LONGEST_NS = 366 * 24 * 3600 * 10**9
"""The longest time that can be said."""

Span: TypeAlias = Annotated[int, Meta(ge=0, le=LONGEST_NS)]
"""A length of time in nanoseconds, at most 366 days."""

Instant: TypeAlias = Annotated[int, Meta(ge=0, le=2**63 - 1)]
"""A point in time: nanoseconds since 1970-01-01 UTC, on the clock of whoever says it."""

Amount: TypeAlias = Annotated[float, Meta(ge=0, le=1e12)]
"""An amount of a resource, in its own unit (slots, cores, megabytes …), down to thousandths. May be sent as an integer."""

Priority: TypeAlias = Annotated[int, Meta(ge=-1000, le=1000)]
"""Higher goes first."""

Tries: TypeAlias = Annotated[int, Meta(ge=0, le=1000)]
"""How many further attempts follow failed ones."""

Labels: TypeAlias = Annotated[dict[Name, Text], Meta(max_length=MOST_LABELS)]
"""Words for people and for filters; the coordinator gives them no meaning."""
