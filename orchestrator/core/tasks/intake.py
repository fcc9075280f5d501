"""Taking tasks in: judge them, write down what is ours, refuse with a reason what can never run.

Tasks are judged each on its own; those that hang together are taken or refused together, and in one fact.

Law: a delivery is settled once everything in it is committed (R1) or was known before; who says nothing new does not wait for the
ledger. Submitting again is harmless: a known id with the same content is answered from what is known, and its result goes to the
newest reply queue; other content under a known id is refused, because an id names one thing.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import Literal

from orchestrator.core.custody.records import print_of, unrecorded
from orchestrator.core.desk import Desk, Gate
from orchestrator.core.events import Arrived, Garbled, Sent
from orchestrator.core.registry.offences import offend
from orchestrator.core.registry.registry import Instance
from orchestrator.core.resources.devices import DeviceShortage
from orchestrator.core.scheduler.placing import offers
from orchestrator.core.tasks import following
from orchestrator.core.tasks.answering import tell
from orchestrator.core.tasks.keys import named
from orchestrator.graphs import Component, components
from orchestrator.resources import Demand
from orchestrator.vocabulary import Nanos, TaskId, TaskType, handler_of, plain, service_of
from orchestrator.wire.facts import Accepted, Asked, Ended
from orchestrator.wire.messages import Error, Result, Submit, Task

INTAKE = "orchestrator.tasks"
"""Where submissions come in, one way or another."""
FORGOTTEN = Error(
    "forgotten",
    "this task was accepted with its children, which are known, and has long ended: its id was forgotten; it does not run again",
)


def submitted(desk: Desk, now: Nanos, event: Arrived) -> None:
    """Tasks from a producer. Where the ledger has no room they wait unsettled: what was accepted could not be given back (R12).
    So they do while reports are to be read that may say how they ended (``Ripening.reports_first``)."""
    if not desk.leading:
        return
    if desk.lobby or desk.ripening.reports_first or desk.keeping.full(desk.custody, desk.arriving_bytes):
        desk.lobby.append(event)
    else:
        _take_in(desk, now, event)


def admit(desk: Desk, now: Nanos) -> None:
    """Those that waited for room in the ledger, as far as it goes."""
    if desk.ripening.reports_first:
        return
    while desk.lobby and desk.leading and not desk.keeping.full(desk.custody, desk.arriving_bytes):
        _take_in(desk, now, desk.lobby.popleft())


def _take_in(desk: Desk, now: Nanos, event: Arrived) -> None:
    message = event.message
    assert isinstance(message, Submit)
    delivery, before = _Delivery(desk, now, event), desk.proposals
    for component in components(message.tasks):
        if len(component.tasks) == 1:
            delivery.take(component.tasks[0], component.fault)
        else:
            delivery.take_whole(component)
    desk.counts["submitted"] += len(message.tasks)
    if fresh := delivery.fresh:
        keep_ns = desk.config.dedup_ns if delivery.keyed else 0
        size = desk.propose(Accepted(fresh, now, event.reply_to, event.user, keep_ns))
        desk.boarding.arriving_bytes += size
        desk.arriving_bytes += size
    if delivery.awaited or desk.proposals != before:
        desk.gate(delivery.gate)
    else:
        desk.settle(delivery.gate)


class _Delivery:
    """A submission that is being judged, task by task."""

    def __init__(self, desk: Desk, now: Nanos, event: Arrived) -> None:
        self.desk, self.now, self.reply_to, self.user = desk, now, event.reply_to, event.user
        self.gate = Gate(desk.ripening.late(event.handle), 1)
        self.awaited = False
        """Whether something of it has been written down that is not committed yet."""
        self.fresh: list[Task] = []
        """Those that are taken."""
        self.keyed = False
        """Whether keys concern any of them."""
        self._limited = bool(desk.sharing.limits)
        self._sound: dict[TaskType, None] = {}
        """Types whose tasks can run if they ask for nothing of their own: that is judged once for all of them."""

    def take(self, task: Task, fault: Error | None) -> None:
        """A task that hangs together with no other; ``fault``: what is wrong with its edges all the same."""
        desk, books = self.desk, self.desk.custody
        if task.id in books.live or task.id in books.graves or task.id in desk.arriving:
            self._again(task)
            return
        keyed = named(task)
        if keyed and self.reply_to and (result := following.answer_now(desk, self.now, task)) is not None:
            desk.counts["cached" if task.cache_ns is not None else "shared"] += 1
            tell(desk, result, self.reply_to, self.gate)
            return
        plain = not (keyed or task.need or self._limited)
        if not (plain and fault is None and task.type in self._sound):
            if (error := fault or judge(desk, self.now, task)) is not None:
                self._refuse(task, error)
                return
            if plain:
                self._sound[task.type] = None
        desk.arriving[task.id] = task
        self.fresh.append(task)
        self.keyed |= keyed

    def take_whole(self, component: Component) -> None:
        """Tasks that are taken together, or not at all."""
        desk, tasks = self.desk, component.tasks
        forgotten = _forgotten(desk, tasks)
        errors = _judge_whole(desk, self.now, component, forgotten)
        for task in tasks:
            if _known(desk, task):
                self._again(task)
            elif task.id in forgotten:
                self._refuse_untold(task, FORGOTTEN)
            elif errors is not None:
                self._refuse(task, errors(task))
            else:
                desk.arriving[task.id] = task
                self.fresh.append(task)
                self.keyed |= named(task)

    def _refuse(self, task: Task, error: Error) -> None:
        """Written down, so that whoever leads knows what was said of it; of a flood only some."""
        desk, now = self.desk, self.now
        if desk.refusals.of(self.user).take(now):
            desk.arriving[task.id] = task
            mark = print_of(task)
            desk.propose(Ended(task.id, "refused", now, error=error, accepted_ns=now, reply_to=self.reply_to, print=mark))
        else:
            self._refuse_untold(task, error)

    def _again(self, task: Task) -> None:
        """A task that is known already, or about to be.

        Of one that lives it is a fact where its result goes: it may end before that is read, and be owed, and we may die before it
        is told. What has ended is told, and the delivery kept until that has arrived.
        """
        desk, reply_to = self.desk, self.reply_to
        self.awaited = self.awaited or task.id in desk.arriving
        desk.counts["repeated"] += 1
        if not _same(desk, task):
            message = f"the id {task.id!r} already names another task; this one was not taken. Give it an id of its own."
            self._refuse_untold(task, Error("id_taken", message))
        elif not reply_to:
            return
        elif (result := desk.custody.outcome(task.id)) is not None:
            tell(desk, result, reply_to, self.gate)
        elif (record := desk.custody.live.get(task.id)) is None or reply_to not in (record.reply_to, *record.former):
            desk.propose(Asked("redirect", self.now, task.id, value=reply_to))

    def _refuse_untold(self, task: Task, error: Error) -> None:
        """Refused without a trace in the ledger: its id means another task there, or none any more, or too many are refused."""
        desk, now = self.desk, self.now
        if self.reply_to:
            result = Result(task.id, "refused", error=error, accepted_ns=now, ended_ns=now)
            tell(desk, result, self.reply_to, self.gate)
        elif desk.refusals.of(self.user).take(now):
            self.gate.left += 1
            why = {"kind": error.kind, "message": error.message}
            desk.bury({"task": task.id, "type": task.type, "args": task.args, "error": why}, gate=self.gate)
        else:
            offend(desk, "crowded", INTAKE, self.user, f"task {task.id} was refused, one of too many at once: {error.message}")


def _known(desk: Desk, task: Task) -> bool:
    return task.id in desk.custody.live or task.id in desk.custody.graves or task.id in desk.arriving


def _forgotten(desk: Desk, tasks: list[Task]) -> dict[TaskId, None]:
    """Parents of a child that is known, and their parents: accepted with it, so whoever is not known any more has long ended.

    They are not to run again only because their children live for longer than ids are remembered.
    """
    found: dict[TaskId, None] = {}
    by_id = {task.id: task for task in tasks}
    todo = [task for task in tasks if task.after and _known(desk, task) and _same(desk, task) and not _refused(desk, task)]
    while todo:
        for edge in todo.pop().after:
            parent = by_id.get(edge.task)
            if parent is not None and parent.id not in found:
                found[parent.id] = None
                todo.append(parent)
    return {name: None for name in found if not _known(desk, by_id[name])}


def _refused(desk: Desk, task: Task) -> bool:
    grave = desk.custody.graves.get(task.id)
    return grave is not None and grave.outcome == "refused"


def _judge_whole(desk: Desk, now: Nanos, component: Component, forgotten: Container[TaskId]) -> Callable[[Task], Error] | None:
    """Why none of these tasks can be taken, as a word for each; none: all of them are."""
    tasks = [task for task in component.tasks if task.id not in forgotten]
    if component.fault is not None:
        fault = component.fault
        return lambda task: fault
    if len(tasks) == 1:
        error = None if _known(desk, tasks[0]) else judge(desk, now, tasks[0])
        return None if error is None else lambda task: error
    culprit, why = None, None
    for task in tasks:
        if not _known(desk, task):
            why = judge(desk, now, task)
        elif not _same(desk, task):
            why = Error("id_taken", "its id already names another task")
        elif _refused(desk, task):
            result = desk.custody.graves[task.id].result
            why = (result.error if result is not None else None) or Error("refused", "it was refused before")
        if why is not None:
            culprit = task
            break
    if culprit is None or why is None:
        return None
    own, name = why, culprit.id
    others = Error(
        "workflow_refused", f"task {name!r} of its workflow cannot be done, so none of it was taken: {why.message}"[:4000]
    )
    return lambda task: own if task.id == name else others


def _same(desk: Desk, task: Task) -> bool:
    """Whether a known id stands for this very task."""
    record = desk.custody.live.get(task.id)
    if record is not None:
        return record.task == task
    if (grave := desk.custody.graves.get(task.id)) is not None:
        return grave.print in (0, print_of(task))  # 0: it ended before anything was known of its content
    return desk.arriving[task.id] == task


def judge(desk: Desk, now: Nanos, task: Task) -> Error | None:
    """Why this task can never run, as far as is known now; none: it is taken."""
    if (error := following.refusal(desk, now, task)) is not None:
        return error
    try:
        demand = desk.backlog.demand_for(task)
    except ValueError as fault:
        return Error("bad_demand", f"the demand makes no sense: {fault}")
    return unfit(desk, task, task.priority, demand)


def unfit(desk: Desk, task: Task, priority: int, demand: Demand) -> Error | None:
    """Why no instance and no limit that is here can ever let such a task start, however little else runs; none: some can, or nobody
    of its service has ever been here. Asked at submission, and of those who wait: instances leave, and come back otherwise.
    """
    if desk.sharing.limits and (never := desk.sharing.limits.never(desk.backlog.shares_for(task, priority))):
        return Error(
            "never_fits", f"{'; '.join(never)}. Ask for no more than that, or raise the limit first: orchestrator limit NAME."
        )
    pool = desk.registry.pools.get(service_of(task.type))
    if pool is not None and any(offers(one, task.type) and not one.shortages(demand, idle=True) for one in pool.members.values()):
        return None
    known = [one for one in pool.members.values() if one.announced is not None and one.proven] if pool else []
    if not known:
        return None  # nobody of that service has ever been here: it waits, and ``why`` says so
    able = [one for one in known if offers(one, task.type)]
    if not able:
        names = sorted({name for one in known for name in one.handlers})
        return Error(
            "unknown_handler",
            f"service {service_of(task.type)!r} has no handler {handler_of(task.type)!r}; it has: {', '.join(names) or 'none'}",
        )
    if all(one.shortages(demand, idle=True) for one in able):
        return Error("never_fits", f"no instance of {service_of(task.type)!r} is large enough: {_nearest(demand, able)}")
    return None


def _nearest(demand: Demand, instances: list[Instance]) -> str:
    """What the instance that comes closest lacks, and what would fit."""
    lacking = [one.shortages(demand, idle=True) for one in instances]
    best = min(lacking, key=lambda some: (len(some), sum(short.wanted - short.free for short in some)))
    said = "; ".join(
        str(short)
        if isinstance(short, DeviceShortage) and short.odd
        else f"{short.resource} wants {plain(short.wanted)}, the nearest has {plain(short.free)}"
        for short in best
    )
    return f"{said}. Ask for no more than that, or start a larger instance first."


def garbled(desk: Desk, now: Nanos, event: Garbled) -> None:
    """Bytes that are no message, or none for this queue: counted, and of a few the sample kept with the reason (P6)."""
    offend(
        desk, event.what, event.where, event.user, event.reason, sample=event.sample, digest=event.digest, gate=event.handle,
        more=event.more,
    )  # fmt: skip
    if event.reply_to and event.tasks and desk.leading:
        error = Error("malformed", f"the submission made no sense and was not taken: {event.reason}"[:4000])
        refused = [unrecorded(Result(task, "refused", error=error, accepted_ns=now, ended_ns=now)) for task in event.tasks]
        desk.results[event.reply_to] += refused


def sent(desk: Desk, now: Nanos, event: Sent) -> None:
    """Results or a letter arrived (or nobody is there to read them): they are owed no more."""
    posted = desk.posted.pop(event.token, None)
    if posted is None:
        return
    if event.unroutable:
        desk.counts["unroutable_results"] += 1
    books, token, queue = desk.custody.owed, event.token, posted.queue
    for debt in posted.owed:
        if debt.queues.get(queue) == token:
            del debt.queues[queue]
        if debt.letter_token == token:
            debt.letter = None
        if not debt.queues and debt.letter is None and books.get(debt.result.task) is debt:
            del books[debt.result.task]
    for gate in posted.gates:
        desk.settle(gate)


def flow(desk: Desk) -> bool | None:
    """Whether the intake must change: stop when the backlog or the ledger is full, go on at nine tenths. None: as it is."""
    full = len(desk.custody.live) + len(desk.arriving)
    room = not desk.lobby and _room(desk)
    if desk.intake_open and (full >= desk.config.backlog_max or not room):
        return False
    if not desk.intake_open and full < desk.config.backlog_max * 9 // 10 and room:
        return True
    return None


def _room(desk: Desk) -> bool:
    """Whether the ledger has room for more."""
    return desk.keeping.room(desk.custody) and not desk.keeping.full(desk.custody, desk.arriving_bytes)


def why_closed(desk: Desk) -> Literal["reports", "ledger", "backlog"] | None:
    """What keeps the intake closed: reports of earlier reigns are to be read first, the ledger is full, or so many tasks live that
    no more are held in memory. None: it is open."""
    if desk.intake_open:
        return None
    if desk.ripening.reports_first:
        return "reports"
    return "backlog" if _room(desk) else "ledger"
