"""The protocol as an AsyncAPI 3 document, for tools: drawn from the types, written by ``document``.

Law: nothing is said here that the code does not say: schemas come from the structs, examples from ``examples``. The
application that is described is the coordinator: it *receives* what producers, agents and operators send.

A schema speaks of JSON, bodies are msgpack: what is ``bin`` there is shown as a text of base64 (``contentEncoding``).
"""

from __future__ import annotations

import base64
from typing import Any, Final, Literal, NamedTuple

import msgspec

from orchestrator.wire import messages, source
from orchestrator.wire.examples import EXAMPLES
from orchestrator.wire.messages import VERSION, Message

Json = dict[str, Any]


class Channel(NamedTuple):
    """Where messages of some kinds pass, and which way, as the coordinator sees it."""

    exchange: str
    exchange_type: Literal["direct", "fanout"]
    key: str
    action: Literal["send", "receive"]
    kinds: tuple[str, ...]
    what: str


CHANNELS: Final = {
    "tasks": Channel(
        "orchestrator.tasks",
        "direct",
        "{service}",
        "receive",
        ("submit",),
        "Submissions. The key is the service of the tasks. Persistent, mandatory, confirmed, with reply_to.",
    ),
    "reports": Channel(
        "orchestrator.agents",
        "direct",
        "reports",
        "receive",
        ("reports",),
        "How attempts ended. Persistent, mandatory, confirmed; kept by the agent until released.",
    ),
    "registry": Channel(
        "orchestrator.agents",
        "direct",
        "registry",
        "receive",
        ("announce", "beat", "held", "notes", "leave"),
        "Soft words of agents: transient, not mandatory; what is lost is said again.",
    ),
    "control": Channel(
        "orchestrator.control",
        "direct",
        "control",
        "receive",
        ("control",),
        "Questions and wills of operators, with reply_to.",
    ),
    "orders": Channel(
        "orchestrator.orders",
        "direct",
        "{queue}",
        "send",
        ("orders",),
        "To one incarnation of an agent; the key is the name of its queue.",
    ),
    "echo": Channel("orchestrator.echo", "fanout", "", "send", ("echo",), "To all agents: whose beats were heard."),
    "results": Channel(
        "orchestrator.results",
        "direct",
        "{queue}",
        "send",
        ("results", "answer"),
        "To producers and operators; the key is the queue that they named in reply_to.",
    ),
    "shards": Channel(
        "orchestrator.internal",
        "direct",
        "shards",
        "send",
        ("shards",),
        "Kept in the stream orchestrator.shards: whoever connects reads its last message. No such stream: there are no shards.",
    ),
}

PARAMETERS: Final = {
    "service": "The name of the service that the tasks are for.",
    "queue": "The name of the receiver's queue.",
}


def document() -> Json:
    """The whole document, as JSON data."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "orchestrator",
            "version": f"{VERSION}.0.0",
            "description": "How producers, agents and operators speak with the coordinator over RabbitMQ (AMQP 0-9-1). "
            "Bodies are msgpack maps with a `kind`. PROTOCOL.md beside this file says what may be said when.",
        },
        "defaultContentType": "application/msgpack",
        "servers": {
            "broker": {
                "host": "localhost:5672",
                "protocol": "amqp",
                "protocolVersion": "0.9.1",
                "description": "Any RabbitMQ from 3.10 on.",
            }
        },
        "channels": {name: _channel(channel) for name, channel in CHANNELS.items()},
        "operations": {
            f"{channel.action}_{name}": {
                "action": channel.action,
                "channel": {"$ref": f"#/channels/{name}"},
                "summary": channel.what,
            }
            for name, channel in CHANNELS.items()
        },
        "components": {"messages": _messages(), "schemas": _schemas()},
    }


def _channel(channel: Channel) -> Json:
    exchange = {
        "name": channel.exchange,
        "type": channel.exchange_type,
        "durable": True,
        "autoDelete": False,
        "vhost": "/",
    }
    drawn: Json = {
        "address": channel.key or channel.exchange,
        "description": channel.what,
        "messages": {kind: {"$ref": f"#/components/messages/{kind}"} for kind in channel.kinds},
        "bindings": {"amqp": {"is": "routingKey", "exchange": exchange, "bindingVersion": "0.3.0"}},
    }
    if channel.key.startswith("{"):
        name = channel.key.strip("{}")
        drawn["parameters"] = {name: {"description": PARAMETERS[name]}}
    return drawn


def _messages() -> Json:
    return {
        kind: {
            "name": kind,
            "contentType": "application/msgpack",
            "summary": source.prose(struct.__doc__),
            "payload": {"$ref": f"#/components/schemas/{struct.__name__}"},
            "examples": [
                {"name": one.name, "summary": one.says, "payload": _json(msgspec.to_builtins(one.message, builtin_types=(bytes,)))}
                for one in EXAMPLES
                if isinstance(one.message, struct)
            ],
        }
        for kind, struct in kinds().items()
    }


def kinds() -> dict[str, type[Message]]:
    """The structs of all messages, by tag."""
    return {str(struct.__struct_config__.tag): struct for struct in Message.__subclasses__()}


def _schemas() -> Json:
    _, schemas = msgspec.json.schema_components(list(kinds().values()), ref_template="#/components/schemas/{name}")
    out: Json = {name: _seventh(schema) for name, schema in sorted(schemas.items())}
    for name, schema in out.items():
        struct = getattr(messages, name, None)
        if struct is None or not issubclass(struct, msgspec.Struct):
            continue  # Attempt, a pair of numbers
        for field in source.fields(struct):
            schema["properties"][field.name] = _described(schema["properties"][field.name], field.meaning)
        if issubclass(struct, Message):  # no struct has a ``v``: the codec reads it before them
            schema["properties"]["v"] = {"const": VERSION, "default": VERSION, "description": "Version of the protocol."}
    return out


def _described(schema: Json, meaning: str) -> Json:
    """With a description. (Beside a ``$ref`` draft 7 would not see it.)"""
    return {"allOf": [schema], "description": meaning} if "$ref" in schema else schema | {"description": meaning}


def _seventh(node: Any) -> Any:
    """A schema of JSON Schema 2020-12 in the terms of draft 7, which is what AsyncAPI speaks."""
    if isinstance(node, list):
        return [_seventh(item) for item in node]
    if not isinstance(node, dict):
        return node
    out = {key: _seventh(value) for key, value in node.items()}
    if "prefixItems" in out:
        out["items"] = out.pop("prefixItems")
    if isinstance(out.get("pattern"), str):
        out["pattern"] = out["pattern"].replace(r"\Z", "$")  # in ECMAScript ``$`` is the very end
    if isinstance(out.get("description"), str):
        out["description"] = source.prose(out["description"])
    return out


def _json(value: Any) -> Any:
    """Msgpack data as JSON data."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, dict):
        return {key: _json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_json(item) for item in value]
    return value
