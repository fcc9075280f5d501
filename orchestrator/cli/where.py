"""Which broker is meant: ``--broker``, else ``ORCHESTRATOR_BROKER``, else the settings file, else the ``up`` that runs here.

A running ``orchestrator up`` leaves ``up.json`` (its broker's URL and its process id, for the owner's eyes only) in the data
directory; that is how a command in a second terminal finds it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from orchestrator.cli.faults import Fault

if TYPE_CHECKING:
    from orchestrator.live.settings import Settings

CONNECT_WITHIN_S = 2.5
"""How long a broker that is not there, or is restarting, is waited for; who typed a wrong address should not wonder."""

_START = "Start everything with `orchestrator up` in another terminal, or name a RabbitMQ of yours: --broker amqp://user:password@host:5672/"


class Found(NamedTuple):
    """A broker."""

    url: str
    """With its secret: never shown."""
    source: str
    """Who named it, for people."""


def find_broker(settings: Settings) -> Found:
    """The broker that is meant. Raises Fault if nobody names one, or if the ``up`` that named it is gone."""
    from orchestrator.live.note import UP_FILE, running_url

    if settings.broker is not None:
        return Found(settings.broker, "given by --broker, ORCHESTRATOR_BROKER or the settings file")
    note = settings.data_dir / UP_FILE
    url = running_url(settings.data_dir)
    if url is not None:
        return Found(url, f"given by the `orchestrator up` that runs here ({note})")
    if note.exists():
        raise Fault(
            f"The `orchestrator up` that ran with its data in {settings.data_dir} is gone, without having put its things away.",
            "Nothing was asked or changed; what it had accepted is on disk and goes on when it starts again.",
            _START,
        )
    raise Fault(
        f"No broker is known: none was named, and no `orchestrator up` runs with its data in {settings.data_dir}.",
        "Nothing was asked or changed.",
        _START,
    )


def without_secret(url: str) -> str:
    """The URL without its password, to be shown."""
    scheme, _, rest = url.partition("://")
    user, at, host = rest.rpartition("@")
    return f"{scheme}://{user.partition(':')[0]}{at}{host}"
