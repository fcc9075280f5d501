"""Who imports whom: the index that ``index.add`` fills and ``summarise.report`` reads, in one SQLite file.

Law: adding a file again changes nothing. Tasks run *at least* once, so whatever they leave behind must bear being done twice: here
everything of a file hangs on its name.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from orchestrator.demo.findings import Findings

_SCHEMA = """
CREATE TABLE IF NOT EXISTS files (
    file TEXT PRIMARY KEY, module TEXT, lines INTEGER, functions INTEGER, async_functions INTEGER, classes INTEGER,
    docstring INTEGER, error TEXT, longest TEXT, deepest TEXT
);
CREATE TABLE IF NOT EXISTS imports (file TEXT, imported TEXT, PRIMARY KEY (file, imported)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS names (file TEXT, name TEXT, PRIMARY KEY (file, name)) WITHOUT ROWID;
"""


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    """The index in ``path``, made if it is new; what is done inside is written at the end, or not at all."""
    with closing(sqlite3.connect(path, timeout=30)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = OFF")  # it can be made again from the files at any time
        connection.executescript(_SCHEMA)
        with connection:
            yield connection


def add(path: Path, found: Findings) -> int:
    """Enter what was found in one file. Returns how many modules it imports."""
    name = found["file"]
    with opened(path) as index:
        index.execute(
            "INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                name, found["module"], found["lines"], found["functions"], found["async_functions"], found["classes"],
                found["docstring"], found["error"], json.dumps(found["longest"]), json.dumps(found["deepest"]),
            ),
        )  # fmt: skip
        for table, values in (("imports", found["imports"]), ("names", found["names"])):
            index.execute(f"DELETE FROM {table} WHERE file = ?", (name,))
            index.executemany(f"INSERT INTO {table} VALUES (?, ?)", [(name, value) for value in values])
    return len(found["imports"])


def rows(index: sqlite3.Connection, query: str, *values: Any) -> list[tuple[Any, ...]]:
    """What a query finds."""
    return index.execute(query, values).fetchall()
