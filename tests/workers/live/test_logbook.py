"""The catalogue and what is said agree."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import get_args

from workers.core.commands import Word
from workers.live.logbook import CATALOGUE, MESSAGE_MAX, WAY_MAX, shortened, way
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


def test_the_way_to_a_failure_is_one_line_and_bounded() -> None:
    """The innermost calls, however deep it was; nothing where there is no traceback."""
    calls = "".join(f'  File "/srv/shop/{"very/" * n}part.py", line {n}, in step{n}\n    step{n + 1}()\n' for n in range(40))
    told = way(f"Traceback (most recent call last):\n{calls}ValueError: no\n")
    assert told.endswith("part.py:39)")
    assert len(told) <= WAY_MAX
    assert way('Traceback (most recent call last):\n  File "a.py", line 3, in go\n    x\nE: y\n') == "go (a.py:3)"
    deep = "".join(f'  File "a.py", line {n}, in f\n' for n in range(9))
    assert way(deep) == "… → " + " → ".join(f"f (a.py:{n})" for n in range(4, 9))
    assert way("") == ""
    assert shortened("x" * 600) == "x" * MESSAGE_MAX + " … (600 characters)"
