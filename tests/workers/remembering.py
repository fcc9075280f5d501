"""Handlers that leave something in a context variable, and say what was there before: nothing, if their context is their own."""

from __future__ import annotations

from contextvars import ContextVar

from workers import Service

_seen: ContextVar[str] = ContextVar("_seen", default="")


async def remember(value: str) -> str:
    """What is there already; and keeps another."""
    before = _seen.get()
    _seen.set(value)
    return before


def remember_in_thread(value: str) -> str:
    """The same."""
    before = _seen.get()
    _seen.set(value)
    return before


def remember_in_process(value: str) -> str:
    """The same."""
    return remember_in_thread(value)


def enrol(service: Service) -> None:
    """Have this service run them."""
    service.task(remember)
    service.task(remember_in_thread)
    service.task(kind="process")(remember_in_process)
