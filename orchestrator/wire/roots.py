"""The roots of all messages, and of what messages are made of."""

from __future__ import annotations

from msgspec import Struct


class Message(Struct, frozen=True, omit_defaults=True, tag_field="kind", gc=False):
    """The root of all messages. Plain data in which nothing points back, so Python need not look for cycles (``gc=False``)."""


class Part(Struct, frozen=True, omit_defaults=True, gc=False):
    """The root of what messages are made of; ``gc`` as for messages."""
