"""From the names in a trace to task types: names that are alike are one type; a number in a name may say how much is to be done.

Law: the number of types is bounded, whatever the trace: estimates are learned per type, and one that is seen once teaches nothing.

* A trace with at most ``TYPES_MAX`` names: each name is a type (``BE/Running`` is ``trace.BE-Running``).
* With more: numbers are taken out of the names (``ctx374/gen44`` is ``trace.ctx-gen``), and the *last* number becomes the size hint
  (44), unless it begins with a zero: then it counts nothing, it is an identifier.
* With more even then: those that are most frequent are types, all others together are ``trace.other``.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from orchestrator.vocabulary import NAME_PATTERN

SERVICE = "trace"
"""The service of tasks whose trace names none."""
TYPES_MAX = 1000
OTHER = "other"
UNNAMED = "task"

_NUMBER = re.compile(r"\d+")
_FOREIGN = re.compile(r"[^A-Za-z0-9_]+")
_NAME_CHARS = 64
_TYPE = re.compile(NAME_PATTERN.removesuffix(r"\Z") + r"\." + NAME_PATTERN.removeprefix("^"))


class Kind(NamedTuple):
    """What a name says."""

    type: str
    size: float | None = None


def kinds(names: Iterable[str]) -> Mapping[str, Kind]:
    """What each of these names says; ``names`` as often as they occur."""
    counts = Counter(names)
    if len(counts) <= TYPES_MAX:
        return {name: Kind(_typed(word(name))) for name in counts}
    words = {name: word(_NUMBER.sub("", name)) for name in counts}
    often: Counter[str] = Counter()
    for name, count in counts.items():
        often[words[name]] += count
    kept = {one for one, _ in sorted(often.items(), key=lambda item: (-item[1], item[0]))[: TYPES_MAX - 1]}
    return {name: Kind(_typed(words[name] if words[name] in kept else OTHER), _size(name)) for name in counts}


def word(text: str) -> str:
    """``text`` as a name of ours: letters, digits, ``_`` and ``-``, at most 64 of them."""
    return _FOREIGN.sub("-", text).strip("-_")[:_NAME_CHARS] or UNNAMED


def is_type(text: str) -> bool:
    """Whether ``text`` may be a task type."""
    return _TYPE.match(text) is not None


def _typed(name: str) -> str:
    return f"{SERVICE}.{name}"


def _size(name: str) -> float | None:
    numbers = _NUMBER.findall(name)
    return float(numbers[-1]) if numbers and not numbers[-1].startswith("0") else None
