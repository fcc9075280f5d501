"""The room that knows the broker: sessions, queues, confirms. Bytes in, bytes out; it decodes no message and decides
nothing.

Where to begin: ``topology`` (what exists), ``link`` (a session), ``supervisor`` (one session after another),
``ledger`` (the stream). Beneath: ``tap`` and ``frames`` carry messages past the client library, ``channels`` keeps the
books.
"""

from orchestrator.amqp.consumer import Consumer
from orchestrator.amqp.delivery import Delivery, Published, Receipt
from orchestrator.amqp.link import Link

__all__ = ["Consumer", "Delivery", "Link", "Published", "Receipt"]
