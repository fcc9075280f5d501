"""Traces as tables: CSV with a header, one task a row.

Law: a row is taken whole or the trace is refused, with file, line and column; nothing is guessed from a cell that makes no sense.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TextIO

from orchestrator.traces.errors import BadTrace
from orchestrator.traces.names import is_type, kinds
from orchestrator.traces.task import Trace, TraceTask, trace_of
from orchestrator.vocabulary import is_id, is_name

AMOUNTS = {"cpus": "cpu", "mem_mb": "mem_mb", "gpus": "gpu"}
"""Columns that are demands, and the resource that each names."""
PLAIN = ("submit_s", "runtime_s", *AMOUNTS, "user", "priority", "estimate_s", "name")
MORE = ("id", "type", "depends_on", "size", "workflow", "deadline_s", "need")
"""Columns that a trace may have besides; ``need``: demands for which there is no column."""
LONGEST_S = 1e9
"""Thirty years: what is longer is a mistake in units."""
PRIORITY_MAX = 1000
TENANT_CHARS = 64


def read_table(text: TextIO, where: str) -> Trace:
    """The tasks of a table. Raises BadTrace."""
    rows = csv.DictReader(text, strict=True)
    try:
        columns = rows.fieldnames or ()
        for name in ("submit_s", "runtime_s"):
            if name not in columns:
                raise BadTrace(f"there is no column {name}; the first line must name the columns, of which submit_s and runtime_s "
                               f"must be there and the others may: {', '.join((*PLAIN[2:], *MORE))}", where, 1)  # fmt: skip
        found = [(rows.line_num, row) for row in rows]
    except csv.Error as fault:
        raise BadTrace(f"it is not a table of comma-separated values ({fault})", where, rows.line_num) from None
    said = kinds(row.get("name") or "" for _, row in found)
    first = min((_number(row, "submit_s", where, line, least=-LONGEST_S) or 0.0 for line, row in found), default=0.0)
    tasks, notes = [], []
    for place, (line, row) in enumerate(found, 1):
        tasks.append(_task(place, row, said, where, line, first))
    if first:
        notes.append(f"times are counted from the first arrival, {first:g} s")
    return trace_of(where, tasks, notes=notes, where=where)


def _task(place: int, row: Mapping[str, str], said: Mapping[str, Any], where: str, line: int, first: float) -> TraceTask:
    def number(column: str, least: float = 0.0, most: float = LONGEST_S) -> float | None:
        return _number(row, column, where, line, least, most)

    submit_s, runtime_s = number("submit_s", -LONGEST_S), number("runtime_s")
    if submit_s is None or runtime_s is None:
        column = "submit_s" if submit_s is None else "runtime_s"
        raise BadTrace("it is blank; every task needs one", where, line, column)
    need = {resource: amount for column, resource in AMOUNTS.items() if (amount := number(column))}
    need |= _others(row.get("need") or "", where, line)
    task, type_ = row.get("id") or f"t{place}", row.get("type") or ""
    if not is_id(task):
        raise BadTrace(f"{task!r} cannot be a task's id: letters, digits and _.:@-, at most 128", where, line, "id")
    if type_ and not is_type(type_):
        raise BadTrace(f"{type_!r} is not a task type; write service.handler", where, line, "type")
    kind = said[row.get("name") or ""]
    size, deadline_s = number("size", -math.inf, math.inf), number("deadline_s")
    return TraceTask(
        task,
        submit_s - first,
        runtime_s,
        type_ or kind.type,
        need,
        (row.get("user") or "")[:TENANT_CHARS],
        round(number("priority", -PRIORITY_MAX, PRIORITY_MAX) or 0),
        number("estimate_s"),
        kind.size if size is None else size,
        tuple((row.get("depends_on") or "").split()),
        row.get("workflow") or "",
        None if deadline_s is None else deadline_s - first,
    )


def _others(text: str, where: str, line: int) -> dict[str, float]:
    """Demands for which there is no column of their own, ``licence=1 slots=2``."""
    need = {}
    for part in text.split():
        name, equals, amount = part.partition("=")
        if not equals or not is_name(name):
            raise BadTrace(f"{part!r} is not a demand; write resource=amount, several with spaces between", where, line, "need")
        need[name] = _number({"need": amount}, "need", where, line) or 0.0
    return {name: amount for name, amount in need.items() if amount}


def _number(
    row: Mapping[str, str], column: str, where: str, line: int, least: float = 0.0, most: float = LONGEST_S
) -> float | None:
    text = row.get(column)
    if text is None or text == "":
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not least <= value <= most:
        raise BadTrace(f"{text!r} is not a number from {least:g} to {most:g}", where, line, column)
    return value


def write_table(text: TextIO, tasks: Iterable[TraceTask]) -> int:
    """Write tasks as a table. Returns how many."""
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow((*PLAIN, *MORE))
    count = 0
    for count, task in enumerate(tasks, 1):  # noqa: B007 - how many it were is the answer
        writer.writerow(cell(task) for cell in _CELLS)
    return count


def spelled(number: float | None) -> str:
    """A number as a cell: exact to a nanosecond, no longer than it must be; nothing for None."""
    return "" if number is None else f"{number:.9f}".rstrip("0").rstrip(".")


_CELLS: tuple[Callable[[TraceTask], object], ...] = (
    lambda task: spelled(task.submit_s),
    lambda task: spelled(task.runtime_s),
    lambda task: spelled(task.need.get("cpu")),
    lambda task: spelled(task.need.get("mem_mb")),
    lambda task: spelled(task.need.get("gpu")),
    lambda task: task.tenant,
    lambda task: task.priority,
    lambda task: spelled(task.estimate_s),
    lambda task: task.type.partition(".")[2],
    lambda task: task.id,
    lambda task: task.type,
    lambda task: " ".join(task.after),
    lambda task: spelled(task.size),
    lambda task: task.workflow,
    lambda task: spelled(task.deadline_s),
    lambda task: " ".join(f"{name}={spelled(amount)}" for name, amount in task.need.items() if name not in AMOUNTS.values()),
)
