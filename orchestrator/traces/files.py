"""Which file is read how, and by whom.

Law: the end of the name decides (``.csv``, ``.jsonl``, each also ``.gz``); what cannot be read is named by file and line.
"""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from orchestrator.traces.errors import BadTrace
from orchestrator.traces.flows import read_flows, write_flows
from orchestrator.traces.table import read_table, write_table
from orchestrator.traces.task import Trace, TraceTask

FORMS = (".csv", ".jsonl", ".csv.gz", ".jsonl.gz")


def read(path: str | Path) -> Trace:
    """The trace in a file. Raises BadTrace; OSError for a file that is not there or may not be read."""
    path = Path(path)
    made = form(path)
    with _opened(path, "r") as text:
        try:
            return (read_table if made == "csv" else read_flows)(text, path.name)
        except UnicodeDecodeError as fault:
            raise BadTrace(f"it is not text in UTF-8 ({fault.reason} at byte {fault.start})", path.name) from None
        except (gzip.BadGzipFile, zlib.error, EOFError) as fault:
            raise BadTrace(f"it is not a whole gzip file ({fault})", path.name) from None


def write(path: str | Path, tasks: Iterable[TraceTask]) -> int:
    """Write tasks as a trace, in the order given. Returns how many.

    Workflows (``.jsonl``): tasks of one ``workflow`` make one line. Raises BadTrace for a name that says no form; OSError.
    """
    path = Path(path)
    made = form(path)
    with _opened(path, "w") as text:
        return (write_table if made == "csv" else write_flows)(text, tasks)


def form(path: Path) -> str:
    """``csv`` or ``jsonl``, by the name. Raises BadTrace for a name that says neither."""
    name = path.name.removesuffix(".gz")
    for form in ("csv", "jsonl"):
        if name.endswith(f".{form}"):
            return form
    raise BadTrace(f"what form is it in? The name of a trace ends in one of {', '.join(FORMS)}", path.name)


@contextmanager
def _opened(path: Path, mode: str) -> Iterator[TextIO]:
    if not path.name.endswith(".gz"):
        with path.open(mode, encoding="utf-8", newline="") as text:
            yield text  # type: ignore[misc]
    elif mode == "r":
        with gzip.open(path, "rt", encoding="utf-8", newline="") as text:
            yield text
    else:  # neither name nor time in the header: the same trace is the same bytes
        with (
            path.open("wb") as raw,
            gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as packed,
            io.TextIOWrapper(packed, encoding="utf-8", newline="") as text,
        ):
            yield text
