"""Questions to the coordinators of all shards, and one answer out of theirs.

Law: where there are no shards it is as if there were no such thing. A question about one thing (a task, a workflow, an instance)
is answered by the shard that knows it; one about the whole by each; a will about the whole is every shard's, or it fails and
says where.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, TypeAlias

from orchestrator.cli.faults import BAD_USAGE, Fault
from orchestrator.cli.where import CONNECT_WITHIN_S, without_secret

if TYPE_CHECKING:
    from rich.console import RenderableType

    from orchestrator.client import OrchestratorError

Answers: TypeAlias = "dict[str, Any | OrchestratorError]"


class Left:
    """What is left of the time that all of a command's questions may take together."""

    def __init__(self, within_s: float) -> None:
        self._over_at_s = time.monotonic() + within_s

    @property
    def s(self) -> float:
        """In seconds, as people say it; never nothing."""
        return max(0.01, round(self._over_at_s - time.monotonic(), 2))


async def answers(url: str, shard: str | None, op: str, args: Mapping[str, Any], within_s: float) -> Answers:
    """What each shard answers, or why it does not; all within ``within_s``, connecting included. Raises OrchestratorError,
    CannotConnect, Fault."""
    import asyncio

    from orchestrator.amqp.errors import CannotConnect
    from orchestrator.amqp.errors import Fault as Unreached
    from orchestrator.client import Client, OrchestratorError

    left = Left(within_s)
    async with AsyncExitStack() as stack:
        try:
            async with asyncio.timeout(within_s):  # who takes connections and says nothing takes its time
                client = await stack.enter_async_context(Client(url, connect_within=min(CONNECT_WITHIN_S, within_s)))
        except TimeoutError:
            raise CannotConnect(Unreached.TIMEOUT, without_secret(url), f"within {within_s:g} s") from None

        async def ask(name: str, op: str) -> Any:
            try:
                return await client.ask(op, timeout_s=left.s, shard=name, **args)
            except OrchestratorError as fault:
                return fault

        async def ask_all(names: Sequence[str], op: str) -> Answers:
            return dict(zip(names, await asyncio.gather(*(ask(name, op) for name in names)), strict=True))

        wanted = meant(shard, await client.shards(left.s))
        if len(wanted) > 1 and op == "cancel" and "task" in args:
            known = await ask_all(wanted, "task")
            wanted = to_be_told(known)
            if not wanted:
                return known
        return await ask_all(wanted, op)


def to_be_told(known: Answers) -> tuple[str, ...]:
    """Whom to tell that a task shall not run, by what they say of it: who knows it. If nobody does, all, for they remember it; but
    nobody if one could not be asked: it may have the task, and that the others remember would stop nothing.
    """
    from orchestrator.client import AskRefused, OrchestratorError

    faults = {name: told for name, told in known.items() if isinstance(told, OrchestratorError)}
    if len(faults) < len(known):
        return tuple(name for name in known if name not in faults)
    return tuple(known) if all(isinstance(fault, AskRefused) for fault in faults.values()) else ()


def meant(shard: str | None, names: Sequence[str]) -> Sequence[str]:
    """The shards that are meant by ``--shard``: that one, without it all. Raises Fault if there is no such shard."""
    if shard is None:
        return names
    if shard not in names:
        raise Fault(f"There is no shard {shard!r}.", "Nothing was asked.", f"There are: {', '.join(names)}.", code=BAD_USAGE)
    return (shard,)


def of_one(found: Answers) -> Any:
    """The answer of who has one. Raises what the others say if nobody has; first those that could not be asked: they may know."""
    from orchestrator.client import AskRefused, OrchestratorError

    known = [told for told in found.values() if not isinstance(told, OrchestratorError)]
    if known:
        return known[0]
    faults = [told for told in found.values() if isinstance(told, OrchestratorError)]
    raise min(faults, key=lambda fault: isinstance(fault, AskRefused))


def of_all(found: Answers, *, will: bool) -> dict[str, Any]:
    """All answers; None for a shard that did not answer. Raises if none did; for a ``will``, if one did not."""
    from orchestrator.client import OrchestratorError

    faults = {name: told for name, told in found.items() if isinstance(told, OrchestratorError)}
    if faults and (will or len(faults) == len(found)):
        name, fault = next(iter(faults.items()))
        if len(found) == 1 or len(faults) == len(found):
            raise fault
        done = ", ".join(one for one in found if one not in faults)
        raise Fault(f"In shard {name}: {fault}", f"It holds in: {done}.", "Say it again once that is cured: twice is harmless.")
    for name, fault in faults.items():
        print(f"shard {name}: what it has is not shown. {fault}", file=sys.stderr)
    return {name: None if name in faults else told for name, told in found.items()}


def each_view(found: Mapping[str, Any], view: Callable[[Any], Sequence[RenderableType]]) -> list[RenderableType]:
    """For people: shard by shard."""
    from orchestrator.cli.show import cell

    shown: list[RenderableType] = []
    for name, told in found.items():
        shown += [cell(f"shard {name}"), *([cell("nobody leads it at present")] if told is None else view(told)), ""]
    return shown[:-1]
