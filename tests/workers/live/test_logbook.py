"""The catalogue and what is said agree."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import get_args

from workers.core.commands import Word
from workers.live.logbook import CATALOGUE
from workers.live.shell import WORDS

LIVE = Path(__file__).parents[3] / "workers" / "live"


def said() -> set[str]:
    """Words that the shell's files say by name."""
    words: set[str] = set()
    for path in LIVE.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "say":
                words |= {one.value for one in ast.walk(node.args[0]) if isinstance(one, ast.Constant)}
    return words


def test_the_catalogue_is_complete_and_has_nothing_to_spare() -> None:
    """Every word of the core and of the shell has its line, and every line is said somewhere."""
    assert set(CATALOGUE) == set(get_args(Word)) | said() | set(WORDS.values())
