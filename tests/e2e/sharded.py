"""Two services of different shards, whose handlers tell a witness what they do."""

from __future__ import annotations

from tests.e2e.services import witness
from workers import Context, Service

numbers = Service("numbers", capacity={"slots": 8})
letters = Service("letters", capacity={"slots": 8})


@numbers.task("double")
async def double(number: int, ctx: Context) -> int:
    """Twice the number."""
    witness("end", ctx.task)
    return 2 * number


@letters.task("upper")
async def upper(text: str, ctx: Context) -> str:
    """In capitals."""
    witness("end", ctx.task)
    return text.upper()
