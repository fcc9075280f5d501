"""Lengths of time as people write them: ``"30s"``, ``"500ms"``, ``"1h30m"``, ``2.5`` (seconds), ``timedelta``."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import TypeAlias

from orchestrator.vocabulary import NS_PER_S, Nanos, ns, span_ns

Duration: TypeAlias = str | float | timedelta
"""Text with units (``ms``, ``s``, ``m``, ``h``, ``d``; several add up), a number of seconds, or a ``timedelta``."""

_MOST_S = 366 * 86400


def duration_ns(length: Duration, what: str = "duration") -> Nanos:
    """A length of time in nanoseconds. ``what`` names it in the message of an error.

    Raises ``ValueError`` for what is no length of time, is negative, or longer than 366 days.
    """
    if isinstance(length, timedelta):
        span = ns(length.total_seconds())
    elif isinstance(length, str):
        try:
            span = span_ns(length)
        except ValueError:
            raise ValueError(f'{what} is {length!r}: write a number of seconds, or a text like "30s", "500ms", "1h30m"') from None
    elif isinstance(length, bool) or not isinstance(length, int | float) or not math.isfinite(length):
        raise ValueError(f'{what} is {length!r}: write a number of seconds, or a text like "30s", "500ms", "1h30m"')
    else:
        span = ns(length)
    if not 0 <= span <= _MOST_S * NS_PER_S:
        raise ValueError(f"{what} is {length!r}: it must lie between 0 and 366 days")
    return span
