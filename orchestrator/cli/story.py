"""The life of a task: when it was accepted, how long it waited and ran, where, and every attempt that failed on the way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from orchestrator.cli.show import clean, facts, instant, span, state, table

if TYPE_CHECKING:
    from rich.console import RenderableType

    from orchestrator.wire.messages import Result

NS = 1e9


def life(result: Result) -> dict[str, Any]:
    """The times of an ended task: instants in Unix nanoseconds, spans in seconds; None where it never came so far."""
    accepted, started, ended = result.accepted_ns or None, result.started_ns or None, result.ended_ns or None
    waited_until = started or (ended if result.attempts == 0 else None)  # what never began to run waited until its end
    return {
        "accepted_ns": accepted,
        "started_ns": started,
        "ended_ns": ended,
        "waited_s": round((waited_until - accepted) / NS, 6) if accepted and waited_until else None,
        "ran_s": round((ended - started) / NS, 6) if started and ended else None,
        "attempts": result.attempts,
        "instance": result.instance,
    }


def life_view(outcome: str, lived: dict[str, Any], story: Sequence[dict[str, Any]]) -> list[RenderableType]:
    """The life story, for people: ``lived`` as of ``life``, ``story`` the failed attempts as ``task`` answers them."""
    tries = lived["attempts"]
    where = f" on {clean(lived['instance'])}" if lived["instance"] else ""
    pairs: list[tuple[str, Any]] = [
        ("outcome", state(outcome)),
        ("accepted", instant(lived["accepted_ns"]) if lived["accepted_ns"] else None),
        ("waited", span(lived["waited_s"]) if lived["waited_s"] is not None else None),
        ("started", f"{instant(lived['started_ns'])}{where}" if lived["started_ns"] else "never" if tries == 0 else None),
        ("ran", span(lived["ran_s"]) if lived["ran_s"] is not None else None),
        ("ended", instant(lived["ended_ns"]) if lived["ended_ns"] else None),
        ("attempts", tries),
    ]
    return [facts(pairs), *attempts_view(story)]


def attempts_view(story: Sequence[dict[str, Any]]) -> list[RenderableType]:
    """The attempts that failed, oldest first; nothing if none did."""
    if not story:
        return []
    rows = [
        [attempt_name(one["attempt"]), one["instance"], instant(one["at_ns"]), one["cause"], _error(one["error"])] for one in story
    ]
    return [table(["attempt", "instance", "failed at", "cause", "error"], rows, title="failed attempts")]


def attempt_name(attempt: Any) -> str:
    """``7#3``: the reign that made it and its number there. Dead letters carry it as a pair."""
    return f"{attempt[0]}#{attempt[1]}" if isinstance(attempt, list | tuple) else str(attempt)


def _error(error: Any) -> str:
    if isinstance(error, dict):
        return f"{error.get('kind', '')}: {error.get('message', '')}"
    return str(error or "")
