"""A trace lived through once more: submitted at its own times, faster; and how each task fared.

Law: what is measured comes from results, that is from the ledger and from the agents' clocks, never from when we heard of it. Times
are told as the trace would have had them: multiplied by the speed again, and with them whatever the live system took for itself.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from msgspec import Struct

from orchestrator.client import Client, Handle
from orchestrator.client.errors import OrchestratorError
from orchestrator.replay.pace import Ask, Due
from orchestrator.replay.sleepers import RUN
from orchestrator.traces import TraceTask
from orchestrator.vocabulary import NS_PER_S, Nanos, Service

READY_WITHIN_S = 30.0
LOOK_S = 0.02
CANCELLED_MAX = 10_000
"""So many tasks of a replay that is broken off are cancelled; the others wait for agents that will not come again."""


class Lived(Struct, frozen=True):
    """How a task fared. Spans are real ones, not multiplied yet."""

    task: TraceTask
    outcome: str
    accepted_ns: Nanos
    """Since the beginning of the replay: when it was accepted."""
    waited_ns: Nanos
    """Since then, without the time that it ran; until its end if it never started."""
    ran_ns: Nanos
    """Its last run; all of its runs, if it yielded and went on."""
    attempts: int


class Played(Struct):
    """A replay, as it went."""

    lived: list[Lived]
    lag_ns: Nanos
    """How late a submission left at the worst: if it is not small, the replay asked for more than this machine can say."""
    lost: int
    """Tasks whose end nobody told us."""


async def ready(client: Client, services: Sequence[Service], instances: int) -> dict[Service, int]:
    """Wait until so many instances of each service are ready; says how many there are. Gives up in the end: the caller judges."""
    until_s = time.monotonic() + READY_WITHIN_S
    while True:
        known: Counter[Service] = Counter()
        for shard in await client.shards():
            for one in await client.ask("services", shard=shard):
                known[one["service"]] += one["ready"]  # by tenants a service is in several shards
        found = {name: known[name] for name in services}
        if min(found.values(), default=0) >= instances or time.monotonic() >= until_s:
            return found
        await asyncio.sleep(LOOK_S)  # nobody tells producers of services: they can only ask


async def play(client: Client, plan: Sequence[Due], tell: Callable[[int, int], None] = lambda submitted, ended: None) -> Played:
    """Submit everything at its time and wait until all has ended. ``tell`` hears how many tasks were submitted and have ended.

    Broken off (cancelled), it cancels what has not ended. Raises OrchestratorError if the first submissions are not taken.
    """
    handles: dict[str, tuple[Ask, Handle]] = {}
    ended = lag_ns = 0
    begin_ns, begin_s = time.time_ns(), asyncio.get_running_loop().time()

    def end(handle: Handle) -> None:
        nonlocal ended
        ended += 1
        tell(len(handles), ended)

    async def submit(due: Due) -> None:
        for ask, handle in zip(due.asks, await client.submit_many([_call(client, ask) for ask in due.asks]), strict=True):
            handles[handle.id] = ask, handle
            handle.when_done(end)

    try:
        async with asyncio.TaskGroup() as submissions:
            for due in plan:
                late_s = asyncio.get_running_loop().time() - begin_s - due.at_ns / NS_PER_S
                if late_s < 0:
                    await asyncio.sleep(-late_s)
                else:
                    lag_ns = max(lag_ns, round(late_s * NS_PER_S))
                submissions.create_task(submit(due))
                tell(len(handles), ended)
        lived = [await _lived(ask, handle, begin_ns) for ask, handle in handles.values()]
    except BaseExceptionGroup as faults:
        await _break_off(client, handles)
        raise faults.exceptions[0] from None
    except BaseException:
        await _break_off(client, handles)
        raise
    known = [one for one in lived if one is not None]
    return Played(known, lag_ns, len(lived) - len(known))


def _call(client: Client, ask: Ask) -> Any:
    deadline = None if ask.deadline_ns is None else ask.deadline_ns / NS_PER_S
    return client.task(ask.type, deadline=deadline, **ask.options).call(**{RUN: ask.run_ns})


async def _lived(ask: Ask, handle: Handle, begin_ns: Nanos) -> Lived | None:
    try:
        result = await handle.outcome()
    except OrchestratorError:
        return None
    ran_ns = max(0, result.ended_ns - result.started_ns) if result.started_ns else 0
    if result.outcome == "done":
        ran_ns = max(ran_ns, ask.run_ns)  # shorter: it had slept before, on other instances perhaps, as its checkpoint said
    stayed_ns = max(0, result.ended_ns - result.accepted_ns)
    waited_ns = max(0, stayed_ns - ran_ns)
    return Lived(ask.task, result.outcome, result.accepted_ns - begin_ns, waited_ns, ran_ns, result.attempts)


async def _break_off(client: Client, handles: dict[str, tuple[Ask, Handle]]) -> None:
    """Nobody waits for these any more, and soon nobody will be there to run them."""
    left = [handle for _, handle in handles.values() if not handle.done()][:CANCELLED_MAX]
    with suppress(OrchestratorError, TimeoutError):
        async with asyncio.timeout(10):
            await asyncio.gather(*(handle.cancel() for handle in left), return_exceptions=True)
