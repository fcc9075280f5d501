"""A service with devices, whose handlers write down when they ran and what they had."""

from __future__ import annotations

import asyncio
import time

from tests.e2e.services import witness
from workers import Context, Service

service = Service("floor", slots=20, devices={"gpu": ["G0", "G1"]})


@service.task
async def call(seconds: float, context: Context) -> None:
    """Something that somebody else counts."""
    await _run("call", seconds, context)


@service.task
async def train(seconds: float, context: Context) -> None:
    """Something that uses a device."""
    await _run("train", seconds, context)


async def _run(what: str, seconds: float, context: Context) -> None:
    has = [f"{context.instance}/{name}={context.grant['gpu'] / len(names)}" for names in context.devices.values() for name in names]
    witness("start", context.task, time.time_ns(), what, *has)
    await asyncio.sleep(seconds)
    witness("end", context.task, time.time_ns(), what, *has)
