"""What honest agents run beside a flood."""

from __future__ import annotations

from workers import Service

service = Service("honest", capacity={"slots": 100})


@service.task("echo")
async def echo(number: int) -> int:
    """The number again."""
    return number
