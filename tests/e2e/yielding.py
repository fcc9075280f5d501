"""A service of the end-to-end tests whose long tasks make room for short ones. Each says when it runs, to a witness file."""

from __future__ import annotations

import asyncio
import os
import time

from tests.e2e.services import witness
from workers import Context, Service

service = Service("farm", capacity={"slots": 1})

UNIT_S = 0.5
"""The interval between two checkpoints."""


def said(what: str, context: Context) -> None:
    """One line: what, whose, who, and when."""
    witness(what, context.task, os.getpid(), f"{time.time():.6f}")


@service.task(preemptible=True)
async def render(units: int, context: Context) -> int:
    """Works unit after unit. Asked to make room it does, at once: the unit under way is done again."""
    said("begin", context)
    try:
        for unit in range(context.resumed or 0, units):
            context.checkpoint_or_stop(unit)
            if await context.sleep(UNIT_S):
                context.checkpoint_or_stop(unit)
            said("unit", context)
    finally:
        said("over", context)
    return units


@service.task(preemptible=True)
def render_in_thread(units: int, context: Context) -> int:
    """The same."""
    said("begin", context)
    try:
        for unit in range(context.resumed or 0, units):
            context.checkpoint_or_stop(unit)
            if context.wait(UNIT_S):
                context.checkpoint_or_stop(unit)
            said("unit", context)
    finally:
        said("over", context)
    return units


@service.task(preemptible=True, kind="process")
async def render_in_process(units: int, context: Context) -> int:
    """The same."""
    return await render(units, context)


@service.task(need={"slots": 1, "desk": 1})
async def quick(context: Context) -> None:
    """A short one, that only an instance with a desk can do."""
    said("begin", context)
    await asyncio.sleep(0.1)
