"""The three services, as any user would write them: plain functions, no base class, no global state."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from orchestrator.demo import facts, findings
from orchestrator.demo import index as book
from orchestrator.demo.witness import attested
from workers import Context, Service

WITNESS = "witness.jsonl"
INDEX = "index.sqlite"
"""Both in the directory that every task names as ``work``."""

parse = Service("parse", slots=1)  # one at a time in each process: CPU-bound work gains nothing from threads
index = Service("index", slots=1)
summarise = Service("summarise", slots=1)


@parse.task
def file(ctx: Context, root: str, name: str, work: str) -> findings.Findings:
    """What is in one source file."""
    with attested(Path(work, WITNESS), ctx.task, str(ctx.attempt)):
        return findings.parse_file(root, name)


@index.task
def add(ctx: Context, found: dict[str, Any], work: str) -> int:
    """Enter what was found in one file into the index; answers how many modules it imports."""
    with attested(Path(work, WITNESS), ctx.task, str(ctx.attempt)):
        return book.add(Path(work, INDEX), found)


@summarise.task
def report(ctx: Context, work: str) -> facts.Facts:
    """The facts that the index holds."""
    with attested(Path(work, WITNESS), ctx.task, str(ctx.attempt)):
        return facts.report(Path(work, INDEX))
