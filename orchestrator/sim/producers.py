"""A producer, who keeps the protocol: accepted is what was confirmed, and whatever was lost on the way is said again.

Law: same id, same content, newest reply queue; a workflow in one message, whole or without what is answered. It asks again when
a confirm or its connection was lost; by the minute, as real ones do, only where a ledger was lost: else a result that never comes
on a connection that lives is a broken promise, not a reason to ask again.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from orchestrator.sim.network import Connection
from orchestrator.sim.process import Process
from orchestrator.sim.queues import Message
from orchestrator.sim.surroundings import Surroundings
from orchestrator.vocabulary import NS_PER_MS, NS_PER_S, Nanos, service_of
from orchestrator.wire.messages import Answer, Control, Result, Results, Submit, Task


class Producer(Process):
    """One producer, who is an operator too."""

    def __init__(self, name: str, around: Surroundings) -> None:
        super().__init__(name, around)
        self.connection: Connection | None = None
        self.unanswered: dict[str, Task] = {}
        self.workflows: dict[str, tuple[Task, ...]] = {}
        """By each of its tasks: those that must be said in one message."""
        self.results: dict[str, Result] = {}
        self.wills: dict[str, Control] = {}
        """Not answered yet."""
        self._reply_to = ""
        self._sessions = 0
        self._asked = 0

    def begin(self) -> None:
        self._connect()

    def end(self) -> None:
        raise AssertionError("producers only lose connections here")

    def next_deadline(self) -> Nanos | None:
        return None

    # --- asking -----------------------------------------------------------------------------------------------------------

    def submit(self, tasks: tuple[Task, ...]) -> None:
        """Ask for these."""
        self.unanswered |= {task.id: task for task in tasks}
        if any(task.after for task in tasks):
            self.workflows |= {task.id: tasks for task in tasks}
        self._publish(tasks)
        if self.faults.strikes("resubmitted", self.chance):
            self._publish(tasks)

    def cancel(self, task: str) -> None:
        """Want this task cancelled."""
        self.want("cancel", {"task": task})

    def want(self, op: str, args: dict[str, Any]) -> None:
        """A will; asked until answered."""
        self._asked += 1
        name = f"{self.name}.{self._asked}"
        self.wills[name] = Control(name, op, args)
        self._will(name)

    def _publish(self, tasks: tuple[Task, ...]) -> None:
        connection = self.connection
        if connection is None:
            return
        self.say("submits", *(task.id for task in tasks))
        message = Message(Submit(list(tasks)), self._reply_to, self.name)
        queue = f"tasks.{service_of(tasks[0].type)}"
        confirm = partial(self._confirmed, connection, tasks)
        connection.up("publish", partial(self.broker.publish, connection, queue, message, confirm))

    def _confirmed(self, connection: Connection, tasks: tuple[Task, ...], ok: bool) -> None:
        if connection is self.connection and not ok:
            self.timeline.after(NS_PER_S, partial(self._again, connection, tasks))

    def _again(self, connection: Connection, tasks: tuple[Task, ...]) -> None:
        left = tuple(task for task in tasks if task.id in self.unanswered)
        if connection is self.connection and left:
            self._publish(tasks if left[0].id in self.workflows and self.chance.random() < 0.5 else left)

    def ask_again(self, tasks: list[str]) -> None:
        """These are lost, it is told: whoever waits for them says so again, of workflows all."""
        whole = {self.workflows.get(name, (self.unanswered[name],))[0].id: name for name in tasks if name in self.unanswered}
        for name in whole.values() if self.connection is not None else ():
            self._publish(self.workflows.get(name, (self.unanswered[name],)))

    def _will(self, name: str) -> None:
        if name not in self.wills:
            return
        if self.connection is not None:
            message = Message(self.wills[name], self._reply_to, self.name)
            confirm: Any = lambda ok: None  # noqa: E731 - the answer counts, not the confirm
            self.connection.up("publish", partial(self.broker.publish, self.connection, "control", message, confirm))
        self.timeline.after(3 * NS_PER_S, partial(self._will, name))

    # --- its connection ---------------------------------------------------------------------------------------------------

    def _connect(self) -> None:
        if self.connection is not None:
            return
        if not self.broker.up or self.host.cut:
            self.timeline.after(round(NS_PER_MS * self.chance.uniform(200, 900)), self._connect)
            return
        self._sessions += 1
        self._reply_to = f"reply.{self.name}.{self._sessions}"
        self.connection = Connection(self.timeline, self.faults, self.host, self._lost)
        self.broker.enter(self.connection)
        self.broker.box(self.connection, self._reply_to, partial(self._hear, self.connection))
        waiting = [task for task in self.unanswered.values() if task.id not in self.workflows]
        for service in sorted({service_of(task.type) for task in waiting}):
            self._publish(tuple(task for task in waiting if service_of(task.type) == service))
        for workflow in {
            self.workflows[name][0].id: self.workflows[name] for name in self.unanswered if name in self.workflows
        }.values():
            self._again(self.connection, workflow)

    def _lost(self, why: str) -> None:
        self.say("is cut off", why)
        self.connection = None
        self.timeline.after(round(NS_PER_MS * self.chance.uniform(20, 300)), self._connect)

    def _hear(self, connection: Connection, message: Results | Answer) -> None:
        if connection is not self.connection:
            return
        if isinstance(message, Answer):
            self.wills.pop(message.id, None)
            return
        for result in message.items:
            self.say("hears", result)
            self.laws.answered(self.name, result)
            if result.task in self.unanswered:
                del self.unanswered[result.task]
                self.results[result.task] = result
