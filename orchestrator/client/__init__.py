"""The producers' side: submit tasks, await their results, ask the coordinator.

    from orchestrator.client import Client, SyncClient

Where to begin: ``client`` (the door), ``core`` (what it promises and how it keeps it, as a pure machine), ``shell``
(the asyncio around it). Importing this package loads next to nothing; the door and what it needs come when they are
first named.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orchestrator.amqp.errors import CannotConnect
    from orchestrator.client.calls import Call
    from orchestrator.client.client import Client, Template
    from orchestrator.client.errors import (
        AskRefused,
        BacklogFull,
        ClientClosed,
        ClientMisused,
        NoCoordinator,
        OrchestratorError,
        ResultTimeout,
        ShardsDiffer,
        SubmitTimeout,
        TaskCancelled,
        TaskError,
        TaskExpired,
        TaskFailed,
        TaskRefused,
        TaskSkipped,
        ValueUnreadable,
    )
    from orchestrator.client.handle import Handle
    from orchestrator.client.lanes import Limits
    from orchestrator.client.sync import SyncClient
    from orchestrator.client.workflow import Node, Workflow
    from orchestrator.wire.messages import Edge, Range, Result
    from orchestrator.wire.values import CannotPack

_HOMES = {
    "orchestrator.amqp.errors": ("CannotConnect",),
    "orchestrator.client.calls": ("Call",),
    "orchestrator.client.client": ("Client", "Template"),
    "orchestrator.client.errors": (
        "AskRefused",
        "BacklogFull",
        "ClientClosed",
        "ClientMisused",
        "NoCoordinator",
        "OrchestratorError",
        "ResultTimeout",
        "ShardsDiffer",
        "SubmitTimeout",
        "TaskCancelled",
        "TaskError",
        "TaskExpired",
        "TaskFailed",
        "TaskRefused",
        "TaskSkipped",
        "ValueUnreadable",
    ),
    "orchestrator.client.handle": ("Handle",),
    "orchestrator.client.lanes": ("Limits",),
    "orchestrator.client.sync": ("SyncClient",),
    "orchestrator.client.workflow": ("Node", "Workflow"),
    "orchestrator.wire.messages": ("Edge", "Range", "Result"),
    "orchestrator.wire.values": ("CannotPack",),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "AskRefused",
    "BacklogFull",
    "Call",
    "CannotConnect",
    "CannotPack",
    "Client",
    "ClientClosed",
    "ClientMisused",
    "Edge",
    "Handle",
    "Limits",
    "NoCoordinator",
    "Node",
    "OrchestratorError",
    "Range",
    "Result",
    "ResultTimeout",
    "ShardsDiffer",
    "SubmitTimeout",
    "SyncClient",
    "TaskCancelled",
    "TaskError",
    "TaskExpired",
    "TaskFailed",
    "TaskRefused",
    "TaskSkipped",
    "Template",
    "ValueUnreadable",
    "Workflow",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value
