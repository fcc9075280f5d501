"""Everything that happened, in order, so that any of it can be told again.

Law: what is written here is text or frozen data; the text is made only when somebody reads it.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from typing import Any, NamedTuple

from orchestrator.vocabulary import Nanos, seconds


class Line(NamedTuple):
    """Something happened."""

    now_ns: Nanos
    who: str
    what: str
    things: tuple[Any, ...]

    def told(self, start_ns: Nanos) -> str:
        """As a person reads it, with the time since the beginning."""
        return f"{seconds(self.now_ns - start_ns):10.4f} {self.who:<12} {self.what} {' '.join(map(repr, self.things))}"


class Journal:
    """The book of one run."""

    def __init__(self, start_ns: Nanos) -> None:
        self.start_ns = start_ns
        self.lines: list[Line] = []

    def say(self, now_ns: Nanos, who: str, what: str, *things: Any) -> None:
        """This happened."""
        self.lines.append(Line(now_ns, who, what, things))

    def told(self) -> Iterator[str]:
        """All of it, line by line."""
        return (line.told(self.start_ns) for line in self.lines)

    def digest(self) -> str:
        """A fingerprint of the whole: two runs that differ anywhere differ here."""
        whole = sha256()
        for line in self.told():
            whole.update(line.encode())
        return whole.hexdigest()

    def story(self, name: str, most: int = 400) -> list[str]:
        """The lines that speak of this task (or of anything else with a name)."""
        found = [line for line in self.told() if f"'{name}'" in line]
        return found if len(found) <= most else [*found[: most // 2], "…", *found[-most // 2 :]]
