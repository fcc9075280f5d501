"""Tables and numbers, for people; the same data as plain JSON, for scripts.

Law: what peers said (ids, errors, progress) is text to be shown, never markup or terminal codes to be obeyed.
"""

from __future__ import annotations

import base64
import datetime
import json
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

PIPED_WIDTH = 160
"""Columns when nobody looks (a file, a pipe): wide enough not to break lines."""

_COLOURS = {
    "green": ("ready", "done", "ok"),
    "cyan": ("running", "assigned"),
    "yellow": ("waiting", "blocked", "deferred", "draining", "warn"),
    "magenta": ("doubtful", "cancelled", "skipped"),
    "red": ("failed", "fail", "refused", "expired", "deaf", "circular"),
}
STYLES = {word: colour for colour, words in _COLOURS.items() for word in words}
"""Colours of states and outcomes."""


def to_json(data: Any) -> str:
    """One line of JSON. What JSON does not have: bytes become base64, instants ISO 8601, NaN and infinities null."""
    return json.dumps(_plain(data), ensure_ascii=False, allow_nan=False)


def _plain(data: Any) -> Any:
    match data:
        case Mapping():
            return {key if isinstance(key, str) else _plain_key(key): _plain(value) for key, value in data.items()}
        case list() | tuple():
            return [_plain(value) for value in data]
        case bytes():
            return base64.b64encode(data).decode()
        case datetime.datetime():
            return data.isoformat()
        case float() if not math.isfinite(data):
            return None
    return data


def _plain_key(key: Any) -> str:
    return base64.b64encode(key).decode() if isinstance(key, bytes) else str(key)


def console(stream: Any = None, *, width: int | None = None) -> Console:
    """Where people read; as wide as their terminal."""
    stream = stream or sys.stdout
    if width is None and not stream.isatty():
        width = PIPED_WIDTH
    return Console(file=stream, width=width, highlight=False, markup=False, emoji=False)


def clean(text: str) -> str:
    """Text of others, without what a terminal would obey; line feeds stay."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\n" else " " if c == "\t" else f"\\x{ord(c):02x}" for c in text)


def cell(value: Any) -> Text:
    """Anything as a cell of a table."""
    match value:
        case Text():
            return value
        case None | "":
            return Text("-", style="dim")
        case bool():
            return Text("yes" if value else "no")
        case float():
            return Text(f"{value:g}")
        case list() | tuple():
            return Text(clean(", ".join(map(str, value)))) if value else cell(None)
        case Mapping():
            return cell([f"{name}={amount:g}" for name, amount in value.items()])
    return Text(clean(str(value)))


def state(word: str) -> Text:
    """A state or an outcome, in its colour."""
    return Text(clean(word), style=STYLES.get(word, ""))


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, title: str = "", right: Iterable[str] = ()) -> Table:
    """A table; columns named in ``right`` are numbers."""
    made = Table(box=SIMPLE_HEAD, title=title or None, title_justify="left", title_style="bold", pad_edge=False)
    numbers = set(right)
    for index, name in enumerate(columns):
        made.add_column(name, justify="right" if name in numbers else "left", overflow="fold", no_wrap=index == 0)
    for row in rows:
        made.add_row(*map(cell, row))
    return made


def facts(pairs: Iterable[tuple[str, Any]]) -> Table:
    """Names and what they are, one per line; those that are None are left out."""
    made = Table(box=None, show_header=False, pad_edge=False)
    made.add_column(style="bold")
    made.add_column(overflow="fold")
    for name, value in pairs:
        if value is not None:
            made.add_row(name, cell(value))
    return made


def span(seconds: float) -> str:
    """A length of time as a person would say it."""
    if seconds < 0:
        return f"-{span(-seconds)}"
    if seconds < 0.0001:
        return "less than 0.1 ms"
    if seconds < 0.0995:
        return f"{seconds * 1000:.1f} ms"
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for size, big, unit, small in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            return f"{whole // size} {big} {whole % size // unit} {small}"
    return f"{whole} s"


def give(error: float | None) -> str:
    """How far off expectations typically are; empty: that is not known. Beyond a factor of ten a number tells nothing."""
    if error is None:
        return ""
    if error > 9:
        return "no telling yet, estimates are off by more than ten times"
    return f"± {error:.0%}" if error < 1 else f"within a factor of {1 + error:.2g}"


def load(share: float) -> str:
    """A share of a fleet's capacity; infinite where all that is asked comes at once."""
    return f"{share:.3g}" if math.isfinite(share) else "all at once"


def instant(at_ns: int) -> str:
    """A point in time, on this machine's calendar."""
    at = datetime.datetime.fromtimestamp(at_ns / 1e9).astimezone()
    return f"{at:%Y-%m-%d %H:%M:%S}.{at.microsecond // 1000:03d}"


def since(at_ns: int, now_ns: int) -> str:
    """How long ago, as a person would say it."""
    return f"{span(max(0.0, (now_ns - at_ns) / 1e9))} ago"


def show(*things: RenderableType) -> None:
    """To stdout, for people."""
    out = console()
    for thing in things:
        out.print(thing)


def aside(*things: RenderableType) -> None:
    """To stderr, for people: what is not the answer."""
    out = console(sys.stderr)
    for thing in things:
        out.print(thing)
