"""Who waits here for which task: the handles of all that is submitted and has not ended.

Law: bookkeeping, and what a command of the machine means for those who wait.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from orchestrator.client import events
from orchestrator.client.calls import Call
from orchestrator.client.errors import abandoned, not_submitted
from orchestrator.client.handle import Handle
from orchestrator.client.room import Room
from orchestrator.vocabulary import TaskId


class Outstanding:
    """Handles by the ids of their tasks. What is confirmed or given up gives its places in ``room`` back."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self._handles: dict[TaskId, Handle] = {}

    def __bool__(self) -> bool:
        return bool(self._handles)

    def put(self, handle: Handle) -> None:
        """One more is submitted."""
        self._handles[handle.id] = handle

    def known(self, calls: Sequence[Call]) -> list[Handle]:
        """The handles of these very tasks, if they are outstanding here already. Raises ValueError if an id stands
        for other content.
        """
        if len(calls) == 1:
            if calls[0].task.id not in self._handles:
                return []
        elif len({call.id for call in calls}) < len(calls):
            raise ValueError("two tasks of one workflow have the same id. Nothing was submitted. Give each its own, or none")
        found = [self._handles.get(call.id) for call in calls]
        known = [handle for handle in found if handle is not None]
        if known and [handle.task for handle in known] != [call.task for call in calls]:
            raise ValueError(
                f"the task id {known[0].id!r} is in use: a task of that id, with other content or other company, waits or runs "
                "for this client. Nothing was submitted. An id stands for one task for ever: give another one, or none"
            )
        return known

    def heed(self, command: events.Confirmed | events.Deliver | events.GaveUp | events.Abandoned) -> None:
        """Those who wait for these tasks hear of it."""
        match command:
            case events.Confirmed(names):
                self._confirm(names)
            case events.Deliver(results):
                for result in results:
                    self._handles.pop(result.task).end(result)
            case events.GaveUp(names, problem):
                self._give_up(names, problem)
            case events.Abandoned(names):
                for name in names:
                    handle = self._handles.pop(name)
                    handle.end(partial(abandoned, handle.id, handle.type))

    def _confirm(self, names: list[TaskId]) -> None:
        self._room.give(len(names))
        for name in names:
            handle = self._handles[name]
            handle.gate.confirm()
            if not handle.reply:
                del self._handles[name]

    def _give_up(self, names: list[TaskId], problem: events.Problem) -> None:
        self._room.give(len(names))
        for name in names:
            handle = self._handles.pop(name)
            loss = partial(not_submitted, handle.id, handle.type, handle.gate.within_s, problem)
            handle.gate.fail(loss)
            handle.end(loss)
