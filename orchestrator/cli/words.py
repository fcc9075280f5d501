"""What is typed, and what it means: ``k=v``, ``30s``, ``gpu=1..4``, ``2026-01-31T08:00``.

Law: pure text in, plain data out. Whatever cannot be meant raises ``Unclear``, which names the word and shows a right one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from datetime import datetime
from typing import Any

_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_LONGEST_S = 366 * 86_400


class Unclear(ValueError):
    """A word on the command line that cannot be meant."""


def arguments(pairs: Iterable[str], text: str | None) -> dict[str, Any]:
    """Keyword arguments of a task from ``k=v`` words and the JSON object of ``--args``.

    A value that parses as JSON is that value (``n=3`` a number, ``deep=true`` a boolean, ``tags=["a"]`` a list, ``s='"3"'`` the
    text 3); everything else is text as it stands. Raises Unclear.
    """
    found: dict[str, Any] = {}
    if text is not None:
        try:
            found = json.loads(text)
        except ValueError as trouble:
            raise Unclear(
                f'--args is not JSON ({trouble}); write for example --args \'{{"path": "a.png", "width": 200}}\''
            ) from None
        if not isinstance(found, dict):
            raise Unclear(f"--args must be a JSON object of arguments by name, not {text!r}")
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise Unclear(f"{pair!r} is not an argument; write name=value")
        if name in found:
            raise Unclear(f"the argument {name!r} is given twice")
        found[name] = _value(value)
    return found


def _value(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_no_constant)
    except ValueError:
        return text


def _no_constant(name: str) -> Any:
    """``NaN`` and ``Infinity`` are no JSON, though Python reads them: they stay text."""
    raise ValueError(name)


def needs(words: Iterable[str]) -> dict[str, float | tuple[float, float]]:
    """Demands by resource: an amount (``cpu=1``), or the least that will do and the most that helps (``gpu=1..4``).

    Raises Unclear.
    """
    found: dict[str, float | tuple[float, float]] = {}
    for word in words:
        name, equals, amount = word.partition("=")
        low, dots, high = amount.partition("..")
        bounds = (low, high) if dots else (low,)
        if not equals or not _WORD.fullmatch(name) or not all(map(_NUMBER.fullmatch, bounds)):
            raise Unclear(f"{word!r} is not a demand; write resource=amount (cpu=1) or resource=least..most (gpu=1..4)")
        if name in found:
            raise Unclear(f"the demand for {name!r} is given twice")
        if dots and float(low) > float(high):
            raise Unclear(f"{word!r}: the least exceeds the most")
        found[name] = (float(low), float(high)) if dots else float(low)
    return found


def instant_ns(text: str, now_ns: int) -> int:
    """A moment in Unix nanoseconds: so long before ``now_ns`` (``24h``, ``7d``), or a date with or without a time of day and zone
    (``2026-01-31``, ``2026-01-31T08:00``, ``…+01:00``; no zone: this machine's). Raises Unclear, also for one that is to come.
    """
    try:
        at_ns = round(datetime.fromisoformat(text).timestamp() * 1e9)
    except (ValueError, OverflowError):
        try:
            at_ns = now_ns - round(duration_s(text) * 1e9)
        except Unclear:
            raise Unclear(f"{text!r} is no moment; write for example 24h, 7d, 2026-01-31 or 2026-01-31T08:00") from None
    if not 0 <= at_ns <= now_ns:
        raise Unclear(f"{text!r} is not in the past")
    return at_ns


def duration_s(text: str) -> float:
    """Seconds from ``30s``, ``250ms``, ``1h30m``, ``2d`` or plain seconds. Raises Unclear, also for more than 366 days."""
    from orchestrator.vocabulary import seconds, span_ns

    try:
        length_s = float(text) if _NUMBER.fullmatch(text) else seconds(span_ns(text))
    except ValueError:
        raise Unclear(f"{text!r} is not a length of time; write for example 30s, 250ms, 5m, 1h30m, 2d") from None
    if length_s > _LONGEST_S:
        raise Unclear(f"{text!r} is longer than 366 days")
    return length_s
