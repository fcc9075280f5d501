"""Taking tasks in: judge each on its own, write down what is ours, refuse with a reason what can never run.

Law: a delivery is settled once everything in it is committed (R1) or was known before. Submitting again is harmless: a
known id with the same content is answered from what is known, and its result goes to the newest reply queue; other content
under a known id is refused, because an id names one thing.
"""

from __future__ import annotations

from orchestrator.core.desk import Desk, Gate
from orchestrator.core.events import Arrived, Garbled, Sent
from orchestrator.core.placing import offers
from orchestrator.core.records import print_of
from orchestrator.resources import Demand, fits, shortages
from orchestrator.vocabulary import Nanos, handler_of, plain, service_of
from orchestrator.wire.facts import Accepted, Asked, Ended
from orchestrator.wire.messages import Error, Result, Submit, Task


def submitted(desk: Desk, now: Nanos, event: Arrived) -> None:
    """Tasks from a producer."""
    if not desk.leading:
        return
    message = event.message
    assert isinstance(message, Submit)
    fresh: list[Task] = []
    gate = Gate(event.handle, 1)
    for task in message.tasks:
        if task.id in desk.custody.live or task.id in desk.custody.graves or task.id in desk.arriving:
            _again(desk, now, task, event.reply_to, gate)
            continue
        error = judge(desk, task)
        desk.arriving[task.id] = print_of(task)
        if error is None:
            fresh.append(task)
        else:
            _refuse(desk, now, task, event.reply_to, error)
    desk.counts["submitted"] += len(message.tasks)
    if fresh:
        desk.propose(Accepted(fresh, now, event.reply_to, event.user))
    desk.gate(gate)


def _refuse(desk: Desk, now: Nanos, task: Task, reply_to: str, error: Error) -> None:
    fact = Ended(task.id, "refused", now, error=error, accepted_ns=now, reply_to=reply_to, print=print_of(task))
    desk.propose(fact)


def _again(desk: Desk, now: Nanos, task: Task, reply_to: str, gate: Gate) -> None:
    """A task that is known already, or about to be.

    Where its result goes is a fact like others: it may end before that is read, and be owed, and we may die before it is told.
    """
    desk.counts["repeated"] += 1
    record = desk.custody.live.get(task.id)
    if record is not None:
        same = record.task == task
    elif (grave := desk.custody.graves.get(task.id)) is not None:
        same = grave.print in (0, print_of(task))  # 0: it ended before anything was known of its content
    else:
        same = desk.arriving[task.id] == print_of(task)
    if not same:
        _clash(desk, now, task, reply_to, gate)
    elif reply_to:
        desk.propose(Asked("redirect", now, task.id, value=reply_to))


def _clash(desk: Desk, now: Nanos, task: Task, reply_to: str, gate: Gate) -> None:
    """Another task under a known id: refused, without a trace in the ledger, where the id means the first one."""
    gate.left += 1  # not settled before the refusal has arrived: if we die meanwhile, the next leader refuses it
    message = f"the id {task.id!r} already names another task; this one was not taken. Give it an id of its own."
    result = Result(task.id, "refused", error=Error("id_taken", message), accepted_ns=now, ended_ns=now)
    if reply_to:
        desk.post_results(reply_to, [result], [gate])
    else:
        letter = {"task": task.id, "type": task.type, "args": task.args, "error": {"kind": "id_taken", "message": message}}
        desk.bury(letter, gate=gate)


def judge(desk: Desk, task: Task) -> Error | None:
    """Why this task can never run, as far as is known now; none: it is taken."""
    if task.after:
        return Error(
            "unsupported", "dependencies between tasks are not available in this version; submit the child after its parent"
        )
    try:
        demand = desk.backlog.demand_for(task)
    except ValueError as fault:
        return Error("bad_demand", f"the demand makes no sense: {fault}")
    pool = desk.registry.pools.get(service_of(task.type))
    if pool is not None and any(offers(one, task.type) and fits(demand, one.capacity) for one in pool.members.values()):
        return None
    known = [one for one in pool.members.values() if one.announced is not None] if pool else []
    if not known:
        return None  # nobody of that service has ever been here: it waits, and ``why`` says so
    able = [one for one in known if offers(one, task.type)]
    if not able:
        names = sorted({name for one in known for name in one.handlers})
        return Error(
            "unknown_handler",
            f"service {service_of(task.type)!r} has no handler {handler_of(task.type)!r}; it has: {', '.join(names) or 'none'}",
        )
    if all(shortages(demand, one.capacity) for one in able):
        return Error(
            "never_fits",
            f"no instance of {service_of(task.type)!r} is large enough: {_nearest(demand, [one.capacity for one in able])}",
        )
    return None


def _nearest(demand: Demand, capacities: list[dict[str, int]]) -> str:
    """What the instance that comes closest lacks, and what would fit."""
    best = min(
        capacities,
        key=lambda capacity: (len(shortages(demand, capacity)), sum(s.wanted - s.free for s in shortages(demand, capacity))),
    )
    lacking = "; ".join(f"{s.resource} wants {plain(s.wanted)}, the nearest has {plain(s.free)}" for s in shortages(demand, best))
    return f"{lacking}. Ask for no more than that, or start a larger instance first."


def garbled(desk: Desk, now: Nanos, event: Garbled) -> None:
    """Bytes that are no message: to the dead letters with the reason, settled once they are there (P6)."""
    desk.counts["malformed"] += 1
    desk.note("malformed", where=event.where, reason=event.reason)
    if event.handle is None or not desk.leading:
        return  # a soft word: nothing to keep
    letter = {
        "task": "",
        "type": "",
        "error": {"kind": "malformed", "message": event.reason},
        "where": event.where,
        "sample": event.sample,
        "at_ns": now,
    }
    desk.bury(letter, gate=event.handle)
    if event.reply_to and event.tasks:
        error = Error("malformed", f"the submission made no sense and was not taken: {event.reason}"[:4000])
        refused = [Result(task, "refused", error=error, accepted_ns=now, ended_ns=now) for task in event.tasks]
        desk.results.setdefault(event.reply_to, []).extend(refused)


def sent(desk: Desk, now: Nanos, event: Sent) -> None:
    """Results or a letter arrived (or nobody is there to read them): they are owed no more."""
    posted = desk.posted.pop(event.token, None)
    if posted is None:
        return
    if event.unroutable:
        desk.counts["unroutable_results"] += 1
    owed = desk.custody.owed
    for task in posted.owed:
        debt = owed.get(task)
        if debt is None:
            continue
        for queue in [queue for queue, token in debt.queues.items() if token == event.token]:
            del debt.queues[queue]
        if debt.letter_token == event.token:
            debt.letter = None
        if not debt.queues and debt.letter is None:
            del owed[task]
    for gate in posted.gates:
        desk.settle(gate)


def flow(desk: Desk) -> bool | None:
    """Whether the intake must change: stop when the backlog or the ledger is full, go on at nine tenths. None: as it is."""
    full = len(desk.custody.live) + len(desk.arriving)
    room = desk.keeping.room(desk.custody) and not desk.keeping.full(desk.custody)
    if desk.intake_open and (full >= desk.config.backlog_max or not room):
        return False
    if not desk.intake_open and full < desk.config.backlog_max * 9 // 10 and room:
        return True
    return None
