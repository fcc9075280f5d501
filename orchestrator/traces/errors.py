"""What makes a trace unreadable: always where, what, and what would be right."""

from __future__ import annotations


class BadTrace(ValueError):
    """A trace that cannot be used. The message names the file and, where there is one, the line and the column."""

    def __init__(self, message: str, where: str = "", line: int = 0, column: str = "") -> None:
        self.where, self.line, self.column = where, line, column
        place = [part for part in (where, f"line {line}" if line else "", f"column {column}" if column else "") if part]
        super().__init__(f"{', '.join(place)}: {message}" if place else message)
