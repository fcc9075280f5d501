"""What the wire's own source says about itself: the docstring under a field, the annotation as it is written.

Law: reads source text, runs nothing. At run time the names of types are gone (``Id`` is a text with a pattern) and so are
the words under a field; both are what a reader of ``PROTOCOL.md`` wants.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator
from types import ModuleType
from typing import NamedTuple

import msgspec

SAID_ONCE = {
    "accepted_ns": "When it was taken.",
    "assign": "To be handled in this order, and before `stop`.",
    "attempt": "Which attempt at it.",
    "attempts": "Waiting, running, or finished and not released.",
    "backoff_max_ns": "The longest wait before a retry.",
    "checkpoints": "Of attempts that run, or were asked for one.",
    "depends_on": "Services that it needs.",
    "devices": "Which devices, by resource.",
    "doc": "What it does, for people.",
    "ended_ns": "When it ended.",
    "epoch": "The reign of the leader that says this.",
    "error": "Why not.",
    "estimate_ns": "A guess of the run time.",
    "handler": "Which handler to call.",
    "handlers": "What it can do.",
    "incarnation": "Whose words these are, or for whom.",
    "items": "In any order.",
    "labels": "Words for people and for filters.",
    "name": "Its name.",
    "outcome": "How it ended.",
    "reason": "For people.",
    "service": "Which service.",
    "started_ns": "When it started.",
    "state": "How far it is.",
    "stop": "Attempts that are recalled.",
    "task": "Which task.",
    "tenant": "On whose behalf.",
    "type": "Which handler of which service runs it.",
    "value": "Done: msgpack of what the handler returned.",
    "version": "Of the service, for people.",
    "what": "What is said about it.",
}
"""Meanings of fields that are the same wherever they occur; a docstring goes before it."""


class Field(NamedTuple):
    """A field of a struct, or a constant or alias of a module, as written."""

    name: str
    annotation: ast.expr | None
    value: ast.expr | None
    meaning: str
    """One line of Markdown."""


def fields(kind: type[msgspec.Struct]) -> list[Field]:
    """The fields of a struct, in order. Raises ``ValueError`` for one without a meaning."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0]
    assert isinstance(tree, ast.ClassDef)
    found = [field._replace(meaning=field.meaning or SAID_ONCE.get(field.name, "")) for field in _assigned(tree.body)]
    for field in found:
        if not field.meaning:
            raise ValueError(f"{kind.__name__}.{field.name} needs a docstring that says what it means")
    return found


def constants(module: ModuleType) -> list[Field]:
    """The constants and aliases of a module that have a docstring, in order."""
    return [field for field in _assigned(ast.parse(inspect.getsource(module)).body) if field.meaning]


def prose(doc: str | None) -> str:
    """A docstring as one line of Markdown."""
    return " ".join((doc or "").replace("``", "`").split())


def _assigned(body: list[ast.stmt]) -> Iterator[Field]:
    for node, after in zip(body, [*body[1:], None], strict=True):
        text = after.value.value if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) else None
        meaning = prose(text if isinstance(text, str) else None)
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield Field(node.target.id, node.annotation, node.value, meaning)
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            yield Field(node.targets[0].id, None, node.value, meaning)
