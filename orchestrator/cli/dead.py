"""The dead letters: tasks that failed for good, with the story of every attempt; and, in the quarantine, samples of what peers must
not send.

They are read where they lie, and stay there.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestrator.cli.frame import LOOKING, Call, command
from orchestrator.cli.questions import meant

if TYPE_CHECKING:
    from rich.console import RenderableType


def register(app: typer.Typer) -> None:
    """Add this command to ``app``."""
    command(app, "dead", example="orchestrator dead --limit 5", panel="Look", common=LOOKING)(dead)


def dead(
    call: Call,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many, the oldest first")] = 20,
    quarantine: Annotated[bool, typer.Option("--quarantine", help="The quarantine: samples of what peers must not send")] = False,
) -> None:
    """List what failed for good, and why.

    With --quarantine: samples of what was sent that makes no sense. The letters stay where they are, in the queues
    orchestrator.dead and orchestrator.quarantine of their shard.
    """
    import asyncio

    found = asyncio.run(_looked(call.found.url, call.shard, limit, quarantine=quarantine))
    if call.json and (rest := sum(total - len(letters) for letters, total in found.values())) > 0:
        print(f"{rest} more; --limit shows them", file=sys.stderr)
    totals = iter([total for _, total in found.values()])
    call.answer_each(
        {name: letters for name, (letters, _) in found.items()},
        lambda letters: dead_view(letters, next(totals), quarantine=quarantine),
    )


async def _looked(url: str, shard: str | None, limit: int, *, quarantine: bool) -> dict[str, tuple[list[dict[str, Any]], int]]:
    """Of each shard that is meant the first letters, readable, and how many there are. Raises LinkError, UnreadableRule, Fault."""
    from orchestrator.amqp import Link, topology
    from orchestrator.amqp.rule import last_rule
    from orchestrator.shards import read

    queue = topology.QUARANTINE if quarantine else topology.DEAD
    found = {}
    link = await Link.open(url, name="orchestrator dead", connections=("consume",))
    try:
        for name in meant(shard, read(await last_rule(link)).names):
            link.shard = name
            total = (await link.stat(queue)).messages
            bodies = [delivery.body for delivery in await link.peek(queue, min(limit, total))] if total else []
            found[name] = [letter(body) for body in bodies], total
    finally:
        await link.close()
    return found


def letter(body: bytes) -> dict[str, Any]:
    """A dead letter as plain data. One that cannot be read says so itself: anybody may have put it there."""
    import msgspec

    from orchestrator.cli.letters import Letter
    from orchestrator.wire.codec import MAX_LETTER_BYTES, CannotUnpack, unpack

    try:
        found: dict[str, Any] = msgspec.to_builtins(
            msgspec.convert(unpack(body, max_bytes=MAX_LETTER_BYTES), Letter), builtin_types=(bytes,)
        )
    except (CannotUnpack, msgspec.ValidationError) as trouble:
        return _unreadable(f"this letter cannot be read ({trouble})", body)
    args = found.get("args")
    if isinstance(args, bytes):
        with suppress(CannotUnpack):  # then they are shown as the bytes that they are
            found["args"] = unpack(args)
    return found


def _unreadable(why: str, body: bytes) -> dict[str, Any]:
    return {"task": "", "type": "", "error": {"kind": "unreadable", "message": why}, "sample": body[:200]}


def _origin(letter: dict[str, Any]) -> str | None:
    """Where it came in, whose it was, and the how-manieth of its kind."""
    where = letter.get("where")
    if not where:
        return None
    user = f", user {letter['user']}" if letter.get("user") else ""
    count = f", number {letter['count']:,} of its kind" if letter.get("count") else ""
    return f"{where}{user}{count}"


def dead_view(letters: list[dict[str, Any]], total: int, *, quarantine: bool = False) -> list[RenderableType]:
    """For people: one block per letter."""
    from orchestrator.cli.show import cell, facts, instant, state, to_json
    from orchestrator.cli.story import attempts_view

    if not letters:
        empty = "The quarantine is empty: there are no samples of what peers must not send."
        return [cell(empty if quarantine else "No dead letters: nothing has failed for good.")]
    blocks: list[RenderableType] = []
    for one in letters:
        error = one.get("error") or {}
        at = one.get("ended_ns") or one.get("at_ns")
        blocks.append(facts([
            ("task", one.get("task") or "(not a task)"),
            ("type", one.get("type") or None),
            ("outcome", state(str(one.get("outcome") or error.get("kind", "")))),
            ("error", f"{error.get('kind', '')}: {error.get('message', '')}" if error else None),
            ("at", instant(at) if isinstance(at, int) else None),
            ("from", _origin(one)),
            ("begins", repr(bytes(one["sample"][:64])) if isinstance(one.get("sample"), bytes) and one["sample"] else None),
            ("SHA-256", one.get("digest")),
            ("args", to_json(one["args"]) if one.get("args") else None),
        ]))  # fmt: skip
        story = one.get("story")
        blocks += attempts_view(story) if isinstance(story, list) else []
        blocks.append("")
    rest = total - len(letters)
    if rest > 0:
        blocks.append(cell(f"{rest} more; --limit shows them."))
    return blocks
