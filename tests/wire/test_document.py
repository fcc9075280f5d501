"""PROTOCOL.md and asyncapi.json say what the code does."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from orchestrator.core.answers.operators import OPERATIONS
from orchestrator.wire import document
from orchestrator.wire.asyncapi import CHANNELS
from orchestrator.wire.codec import KINDS
from orchestrator.wire.messages import Part

PROTOCOL = document.PROTOCOL.read_text("utf-8")
ASYNCAPI = json.loads(document.ASYNCAPI.read_text("utf-8"))


def test_the_drawn_parts_are_up_to_date() -> None:
    """Every table, limit and byte in the documents is what the code says now."""
    for path, text in document.drawn().items():
        assert path.read_text("utf-8") == text, f"{path.name}: run python -m orchestrator.wire.document"


def test_everything_is_drawn() -> None:
    """Every kind of message and every part of one has its table."""
    wanted = {f"message {kind}" for kind in KINDS} | {f"part {part.__name__}" for part in Part.__subclasses__()}
    assert set(document.names_drawn(PROTOCOL)) == wanted | {"types", "limits", "examples"}


def test_every_operation_is_told() -> None:
    """What operators may ask stands in the document, and nothing else."""
    section = PROTOCOL.split("## 7.")[1].split("## 8.")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)) - {"op"} == set(OPERATIONS)


def test_links_lead_somewhere() -> None:
    """Every link within the document has its heading."""
    headings = re.findall(r"^#+ (.+)$", PROTOCOL, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    assert set(re.findall(r"\]\(#([^)]+)\)", PROTOCOL)) <= anchors


# --- AsyncAPI -----------------------------------------------------------------------------------------------------------


def test_it_is_an_asyncapi_3_document() -> None:
    """It has what version 3.0.0 demands, and no key that it does not know."""
    assert ASYNCAPI["asyncapi"] == "3.0.0"
    assert {"title", "version"} <= set(ASYNCAPI["info"])
    assert set(ASYNCAPI) <= {"asyncapi", "id", "info", "servers", "defaultContentType", "channels", "operations", "components"}
    for server in ASYNCAPI["servers"].values():
        assert {"host", "protocol"} <= set(server)
    for channel in ASYNCAPI["channels"].values():
        assert set(channel) <= {"address", "messages", "title", "summary", "description", "parameters", "bindings"}
        assert channel["messages"]
        assert set(re.findall(r"{(\w+)}", channel["address"])) == set(channel.get("parameters", {}))
        assert channel["bindings"]["amqp"]["is"] == "routingKey"
    for operation in ASYNCAPI["operations"].values():
        assert operation["action"] in ("send", "receive")
        assert set(operation["channel"]) == {"$ref"}


def test_every_reference_leads_somewhere() -> None:
    """Whatever the document refers to is in it."""
    seen = 0
    for reference in _references(ASYNCAPI):
        place: Any = ASYNCAPI
        for step in reference.removeprefix("#/").split("/"):
            place = place[step]
        seen += 1
    assert seen > 40


def test_every_kind_passes_through_one_channel() -> None:
    """Each message has its channel, and what it carries is described."""
    passed = [kind for channel in CHANNELS.values() for kind in channel.kinds]
    assert sorted(passed) == sorted(KINDS) == sorted(ASYNCAPI["components"]["messages"])


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_examples_obey_their_schemas(kind: str) -> None:
    """The examples in the document are what its schemas allow, by field and type."""
    message = ASYNCAPI["components"]["messages"][kind]
    assert message["examples"]
    for example in message["examples"]:
        _obeys(example["payload"], message["payload"])


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for item in node.values():
            yield from _references(item)
    elif isinstance(node, list):
        for item in node:
            yield from _references(item)


_JSON_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}


def _obeys(value: Any, schema: dict[str, Any]) -> None:
    """The part of JSON Schema that our schemas use."""
    if "$ref" in schema:
        _obeys(value, ASYNCAPI["components"]["schemas"][schema["$ref"].rpartition("/")[2]])
        return
    for one in schema.get("allOf", ()):
        _obeys(value, one)
    if "anyOf" in schema:
        assert any(_allowed(value, one) for one in schema["anyOf"]), (value, schema)
    if "enum" in schema:
        assert value in schema["enum"]
    if "const" in schema:
        assert value == schema["const"]
    if "type" in schema:
        assert isinstance(value, _JSON_TYPES[schema["type"]]), (value, schema)
    if isinstance(value, str) and "pattern" in schema:
        assert re.search(schema["pattern"], value)
    if isinstance(value, dict):
        assert set(schema.get("required", ())) <= set(value)
        for key, item in value.items():
            inner = schema.get("properties", {}).get(key, schema.get("additionalProperties", True))
            assert inner is not True or not schema.get("properties"), f"{key} is not described"
            _obeys(item, inner if isinstance(inner, dict) else {})
    if isinstance(value, list) and "items" in schema:
        kinds = schema["items"]
        for item, inner in zip(value, kinds if isinstance(kinds, list) else [kinds] * len(value), strict=True):
            _obeys(item, inner)


def _allowed(value: Any, schema: dict[str, Any]) -> bool:
    try:
        _obeys(value, schema)
    except AssertionError:
        return False
    return True
