"""Doors open downwards only: which room may import which, and what no room may do."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted([*(ROOT / "orchestrator").rglob("*.py"), *(ROOT / "workers").rglob("*.py")])

MAY_IMPORT: dict[str, set[str]] = {
    # room: what of ours it may import, by prefix
    "orchestrator.vocabulary": set(),
    "orchestrator.wire": {"orchestrator.vocabulary", "orchestrator.wire"},
    "orchestrator.resources": {"orchestrator.vocabulary", "orchestrator.wire.messages"},
    "orchestrator.graphs": {"orchestrator.vocabulary", "orchestrator.wire.messages"},
    "orchestrator.spelling": set(),
    "orchestrator.throttle": set(),
    "orchestrator.paper": set(),
    "orchestrator.heap": set(),
    "orchestrator.shards": {"orchestrator.vocabulary", "orchestrator.wire"},
    "orchestrator.policies": {"orchestrator.vocabulary", "orchestrator.resources", "orchestrator.policies"},
    "orchestrator.core": {
        "orchestrator.vocabulary",
        "orchestrator.resources",
        "orchestrator.graphs",
        "orchestrator.policies",
        "orchestrator.wire.messages",
        "orchestrator.wire.facts",
        "orchestrator.core",
    },
    "orchestrator.amqp": {"orchestrator.vocabulary", "orchestrator.amqp"},
    "orchestrator.client": {
        "orchestrator.throttle",
        "orchestrator.spelling",
        "orchestrator.vocabulary",
        "orchestrator.shards",
        "orchestrator.graphs",
        "orchestrator.wire",
        "orchestrator.amqp",
        "orchestrator.client",
    },
    "orchestrator.planning": {"orchestrator.planning"},
    "orchestrator.traces": {"orchestrator.vocabulary", "orchestrator.traces"},
    "orchestrator.replay": {
        "orchestrator.vocabulary",
        "orchestrator.wire",
        "orchestrator.amqp",
        "orchestrator.client",
        "orchestrator.policies",
        "orchestrator.traces",
        "orchestrator.sim.whatif.figures",
        "orchestrator.replay",
        "workers",
    },
    "orchestrator.live": {
        "orchestrator.spelling",
        "orchestrator.throttle",
        "orchestrator.paper",
        "orchestrator.heap",
        "orchestrator.vocabulary",
        "orchestrator.shards",
        "orchestrator.wire",
        "orchestrator.amqp",
        "orchestrator.core",
        "orchestrator.policies",
        "orchestrator.live",
    },
    "orchestrator.sim": {
        "orchestrator.vocabulary",
        "orchestrator.resources",
        "orchestrator.policies",
        "orchestrator.wire.messages",
        "orchestrator.wire.facts",
        "orchestrator.core",
        "orchestrator.traces",
        "orchestrator.sim",
        "workers.core",
    },
    "workers.core": {"orchestrator.vocabulary", "orchestrator.wire.messages", "workers.core"},
    "workers": {
        "orchestrator.spelling",
        "orchestrator.throttle",
        "orchestrator.paper",
        "orchestrator.heap",
        "orchestrator.vocabulary",
        "orchestrator.shards",
        "orchestrator.wire",
        "orchestrator.amqp",
        "workers",
    },
}
"""The command line and the demo stand on top and may import everything; no room may import them."""

TOUCHES_THE_WORLD = {
    "asyncio",
    "time",
    "datetime",
    "random",
    "socket",
    "os",
    "threading",
    "logging",
    "structlog",
    "uuid",
    "secrets",
}
QUIET = (
    "orchestrator.core",
    "orchestrator.policies",
    "orchestrator.vocabulary",
    "orchestrator.resources",
    "orchestrator.graphs",
    "workers.core",
)
HANDED_IN = {"random"}
"""Of these a quiet room may use the *type* only (``from random import Random``): dice are handed in."""


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room_of(module: str) -> str | None:
    rooms = [room for room in MAY_IMPORT if module == room or module.startswith(room + ".")]
    return max(rooms, key=len, default=None)


def imports_of(path: Path) -> Iterator[tuple[int, str, list[str]]]:
    """Every import in the file, also those inside functions: line, module, names."""
    module = module_of(path)
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name, []
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parent = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parent, base]) if base else ".".join(parent)
            yield node.lineno, base, [alias.name for alias in node.names]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_doors_open_downwards(path: Path) -> None:
    """A room imports only the rooms below it."""
    room = room_of(module_of(path))
    if room is None:
        return
    for line, base, names in imports_of(path):
        if not base.startswith(("orchestrator", "workers")):
            continue
        targets = [base] if base not in ("orchestrator", "orchestrator.wire", "workers") else [f"{base}.{name}" for name in names]
        for target in targets:
            allowed = any(target == one or target.startswith(one + ".") for one in MAY_IMPORT[room])
            assert allowed, f"{path.relative_to(ROOT)}:{line}: {room} must not import {target}"


@pytest.mark.parametrize(
    "path", [p for p in SOURCES if module_of(p).startswith(QUIET)], ids=lambda path: str(path.relative_to(ROOT))
)
def test_the_quiet_rooms_touch_nothing_of_the_world(path: Path) -> None:
    """No clock, loop, log or dice in a machine: time, chance and events come from outside."""
    for line, base, names in imports_of(path):
        top = base.partition(".")[0]
        if top in TOUCHES_THE_WORLD:
            assert top in HANDED_IN, f"{path.relative_to(ROOT)}:{line}: a quiet room imports {base}"
            assert names == ["Random"], f"{path.relative_to(ROOT)}:{line}: dice are handed in, not made"
    assert "hash(" not in re.sub(r"__hash__|\w+_hash\(", "", path.read_text()), f"{path.name}: order must not come from hash()"


def test_only_the_amqp_room_knows_the_client_library() -> None:
    """aio-pika and aiormq appear in one room."""
    for path in SOURCES:
        if module_of(path).startswith("orchestrator.amqp"):
            continue
        for line, base, _ in imports_of(path):
            assert base.partition(".")[0] not in {"aio_pika", "aiormq", "pamqp"}, f"{path.relative_to(ROOT)}:{line}"


def test_every_source_file_opens_with_what_it_is_for() -> None:
    """A newcomer reads the first lines and knows why the file is there."""
    for path in SOURCES:
        tree = ast.parse(path.read_text())
        assert not tree.body or ast.get_docstring(tree), f"{path.relative_to(ROOT)} does not say what it is for"


def test_no_room_is_overfull() -> None:
    """No file over 450 lines, no class over 300: what grows beyond is split along its seams."""
    for path in SOURCES:
        text = path.read_text()
        assert text.count("\n") <= 450, f"{path.relative_to(ROOT)} has {text.count(chr(10))} lines"
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ClassDef):
                length = (node.end_lineno or 0) - node.lineno
                assert length <= 300, f"{path.relative_to(ROOT)}: class {node.name} has {length} lines"
