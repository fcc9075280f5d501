"""Draws what ``PROTOCOL.md`` says of fields, limits and bytes from the code, so that it cannot go stale.

    python -m orchestrator.wire.document          rewrite the drawn parts of PROTOCOL.md, and asyncapi.json
    python -m orchestrator.wire.document --check  say which of them are not up to date; exit 1 if any is not

A drawn part stands between ``<!-- drawn: NAME -->`` and ``<!-- end -->``. ``types``, ``limits``; ``message KIND`` and
``part NAME`` (a table of fields, see ``source``); ``examples`` (bytes, and what they say).
"""

from __future__ import annotations

import ast
import inspect
import json
import re
import sys
import textwrap
from pathlib import Path
from typing import Any, Final

import msgspec

from orchestrator.vocabulary import Attempt
from orchestrator.wire import asyncapi, codec, messages, source, tasks, types, values
from orchestrator.wire.examples import EXAMPLES, Example

HERE: Final = Path(__file__).parent
PROTOCOL: Final = HERE / "PROTOCOL.md"
ASYNCAPI: Final = HERE / "asyncapi.json"

_DRAWN: Final = re.compile(r"(<!-- drawn: ([^>]+?) -->\n).*?(<!-- end -->)", re.DOTALL)

_PLAIN: Final = {
    "str": "text",
    "int": "integer",
    "float": "number",
    "bool": "boolean",
    "bytes": "bin",
    "Any": "anything",
}


def main() -> int:
    """The command. Returns its exit code."""
    stale = [path for path, text in drawn().items() if not path.exists() or path.read_text("utf-8") != text]
    if "--check" in sys.argv[1:]:
        for path in stale:
            print(f"{path.name} is not up to date: run python -m orchestrator.wire.document")
        return 1 if stale else 0
    for path in stale:
        path.write_text(drawn()[path], "utf-8")
        print(f"{path.name} written")
    return 0


def drawn() -> dict[Path, str]:
    """What the files should be."""
    text = PROTOCOL.read_text("utf-8")
    return {
        PROTOCOL: _DRAWN.sub(lambda match: f"{match[1]}{_draw(match[2])}\n{match[3]}", text),
        ASYNCAPI: json.dumps(asyncapi.document(), indent=1, ensure_ascii=False) + "\n",
    }


def names_drawn(text: str) -> list[str]:
    """The names of the drawn parts of a document."""
    return [match[2] for match in _DRAWN.finditer(text)]


def _draw(name: str) -> str:
    what, _, which = name.partition(" ")
    match what:
        case "types":
            return _types()
        case "limits":
            return _limits()
        case "message":
            return _fields(next(kind for kind in messages.Message.__subclasses__() if _tag(kind) == which))
        case "part":
            part: type[msgspec.Struct] = getattr(messages, which)
            return _fields(part)
        case "examples":
            return "\n".join(f"\n### {example.name}\n\n{_example(example)}" for example in EXAMPLES)
    raise ValueError(f"PROTOCOL.md wants {name!r} drawn, and nobody knows how")


def _tag(kind: type[msgspec.Struct]) -> str:
    return str(kind.__struct_config__.tag)


# --- tables ---------------------------------------------------------------------------------------------------------------


def _fields(kind: type[msgspec.Struct]) -> str:
    """The table of a struct's fields."""
    lines = [source.prose(inspect.getdoc(kind)), "", "| Field | Type | Default | Meaning |", "|---|---|---|---|"]
    for field in source.fields(kind):
        assert field.annotation is not None
        lines.append(_row(f"`{field.name}`", _type(field.annotation), _default(field.value), field.meaning))
    return "\n".join(lines)


def _types() -> str:
    lines = ["| Type | On the wire | Limit | Meaning |", "|---|---|---|---|"]
    for field in source.constants(types):
        if isinstance(field.value, ast.Subscript):
            base, limits = _annotated(field.value)
            lines.append(_row(f"`{field.name}`", _type(base), "; ".join(limits), field.meaning))
    need = next(field for field in source.constants(tasks) if field.name == "Need")
    assert isinstance(need.value, ast.Subscript)
    base, limits = _annotated(need.value)
    lines.append(_row("`Need`", _type(base), "; ".join(limits), need.meaning))
    lines.append(_row("`Attempt`", "array of two integers", "0 … 2^53 each", source.prose(inspect.getdoc(Attempt))))
    return "\n".join(lines)


def _limits() -> str:
    found = [(module, field) for module in (types, values, codec) for field in source.constants(module)]
    rows = [
        _row(f"`{field.name}`", f"{getattr(module, field.name):,}", field.meaning)
        for module, field in found
        if field.name.startswith(("MOST_", "MAX_"))
    ]
    return "\n".join(["| Limit | Number | Meaning |", "|---|---|---|", *rows])


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _type(node: ast.expr) -> str:
    """An annotation in the words of the wire."""
    match node:
        case ast.Name(id=name):
            return _PLAIN.get(name, f"`{name}`")
        case ast.BinOp(left=left, right=ast.Constant(value=None)):
            return f"{_type(left)} or nil"
        case ast.BinOp(left=left, right=right):
            return f"{_type(left)} or {_type(right)}"
        case ast.Subscript(value=ast.Name(id="tuple"), slice=ast.Tuple(elts=[item, ast.Constant()])):
            return f"array of {_type(item)}"
        case ast.Subscript(value=ast.Name(id="list"), slice=item):
            return f"array of {_type(item)}"
        case ast.Subscript(value=ast.Name(id="dict"), slice=ast.Tuple(elts=[key, item])):
            return f"map of {_type(key)} to {_type(item)}"
        case ast.Subscript(value=ast.Name(id="Literal"), slice=ast.Tuple(elts=words)):
            return " or ".join(f'`"{ast.literal_eval(word)}"`' for word in words)
        case ast.Subscript(value=ast.Name(id="Annotated")):
            base, limits = _annotated(node)
            return f"{_type(base)} ({'; '.join(limits)})"
    raise ValueError(f"an annotation that nobody can draw: {ast.unparse(node)}")


def _annotated(node: ast.Subscript) -> tuple[ast.expr, list[str]]:
    """The type within ``Annotated``, and what its ``Meta`` demands, in words."""
    assert isinstance(node.slice, ast.Tuple)
    base, meta = node.slice.elts
    assert isinstance(meta, ast.Call)
    said = {word.arg: _number(word.value) for word in meta.keywords}
    unit = "entries" if not isinstance(base, ast.Name) else "bytes" if base.id == "bytes" else "characters"
    limits = []
    if "pattern" in said:
        limits.append("all of it matches `" + said["pattern"].removeprefix("^").removesuffix(r"\Z") + "`")
    if "min_length" in said:
        limits.append(f"at least {said['min_length']}")
    if "max_length" in said:
        limits.append(f"at most {said['max_length']:,} {unit}")
    if "ge" in said:
        limits.append(f"{_short(said['ge'])} … {_short(said['le'])}")
    return base, limits


def _number(node: ast.expr) -> Any:
    """What a limit amounts to: a constant, a product of constants, or a name."""
    match node:
        case ast.Constant(value=value):
            return value
        case ast.Name(id=name):
            return getattr(types, name)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_number(operand)
        case ast.BinOp(left=left, op=ast.Mult(), right=right):
            return _number(left) * _number(right)
        case ast.BinOp(left=left, op=ast.Pow(), right=right):
            return _number(left) ** _number(right)
        case ast.BinOp(left=left, op=ast.Sub(), right=right):
            return _number(left) - _number(right)
    raise ValueError(f"a limit that nobody can draw: {ast.unparse(node)}")


def _short(number: float) -> str:
    exact = {2**53: "2^53", 2**63 - 1: "2^63 - 1", 1e12: "10^12"}
    return exact.get(number, f"{number:,}")


def _default(node: ast.expr | None) -> str:
    if node is None:
        return "**required**"
    value = getattr(values, node.id) if isinstance(node, ast.Name) else ast.literal_eval(node)
    if isinstance(value, bytes):
        return f"bin `{value.hex(' ')}`"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return f"{value:,}"
    words = {"None": "nil", "[]": "empty", "()": "empty", "{}": "empty", "''": "empty"}
    return words.get(repr(value), f'`"{value}"`')


# --- examples ---------------------------------------------------------------------------------------------------------------


def _example(example: Example) -> str:
    body = codec.encode(example.message)
    hexes = textwrap.wrap(body.hex(" "), 32 * 3)
    shown = _shown(msgspec.msgpack.decode(body), "")
    return "\n".join([example.says, "", "```text", *hexes, "```", "", "```text", shown, "```"])


def _shown(value: Any, margin: str) -> str:
    """A value as people read it: short maps and arrays on one line, bins in hex."""
    flat = _flat(value)
    if len(margin) + len(flat) <= 108 or not isinstance(value, dict | list):
        return flat
    inner = margin + "  "
    if isinstance(value, dict):
        rows = [f"{inner}{_flat(key)}: {_shown(item, inner)}" for key, item in value.items()]
        return "{\n" + ",\n".join(rows) + f"\n{margin}}}"
    rows = [f"{inner}{_shown(item, inner)}" for item in value]
    return "[\n" + ",\n".join(rows) + f"\n{margin}]"


def _flat(value: Any) -> str:
    if isinstance(value, bytes):
        return f"bin({value.hex(' ')})"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_flat(key)}: {_flat(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | Attempt):
        return "[" + ", ".join(_flat(item) for item in value) + "]"
    return json.dumps(value, ensure_ascii=False)


if __name__ == "__main__":
    sys.exit(main())
