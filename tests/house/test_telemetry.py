"""Every decision the core notes has a line in the catalogue, and every line is said somewhere."""

from __future__ import annotations

import ast
from pathlib import Path

from orchestrator.live.telemetry import CATALOGUE

ROOT = Path(__file__).parents[2]


def _words(folder: str, method: str) -> set[str]:
    words = set()
    for path in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == method and node.args:
                argument = node.args[0]
                options = [argument.body, argument.orelse] if isinstance(argument, ast.IfExp) else [argument]
                words |= {one.value for one in options if isinstance(one, ast.Constant) and isinstance(one.value, str)}
    return words


def test_the_catalogue_is_complete_and_has_nothing_to_spare() -> None:
    """What is said is in the catalogue; what is in the catalogue is said."""
    said = _words("orchestrator/core", "note") | _words("orchestrator/live", "say")
    assert said == set(CATALOGUE)
