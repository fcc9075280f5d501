"""What operators (and the command line) ask: questions are answered from the desk, wills go through the ledger.

Law: a will (cancel, priority, policy, limit) becomes a fact and is done when that is read, so it survives us. Its answer leaves
then too: whoever has it may ask any later leader and finds it done. Drain is soft: it is the instance that leaves.

A mistake of ours in answering ends no coordinator: a look changes nothing and a will is only proposed, so the books are what they
were. Only a deed (drain, hand over), which would be left half done, breaks off as anything else does.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from traceback import extract_tb
from typing import Any, TypeAlias, get_args

from orchestrator.core.answers import reasons, views
from orchestrator.core.commands import Reply
from orchestrator.core.custody import leadership
from orchestrator.core.desk import Desk
from orchestrator.core.events import Arrived
from orchestrator.core.lifecycle import TaskState
from orchestrator.core.registry import liveness
from orchestrator.core.resources import limiting
from orchestrator.core.scheduler.governing import Policies, scope_of
from orchestrator.policies import KINDS, BadPolicy, Kind
from orchestrator.vocabulary import Nanos, is_id, is_name
from orchestrator.wire.facts import Asked
from orchestrator.wire.messages import Answer, Control, Error

Args: TypeAlias = dict[str, Any]


LIKE_MAX = 5
"""So many names that may have been meant are told."""


class Unanswerable(Exception):
    """A question that makes no sense here; ``kind`` is stable, the text is for people."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def asked(desk: Desk, now: Nanos, event: Arrived) -> None:
    """Answer an operator."""
    control = event.message
    assert isinstance(control, Control)
    if not desk.leading:
        return
    try:
        operation = OPERATIONS.get(control.op)
        if operation is None:
            raise Unanswerable("unknown_op", f"there is no operation {control.op!r}; there are: {', '.join(sorted(OPERATIONS))}")
        answer = Answer(control.id, True, operation(desk, now, control.args, event.user))
    except Unanswerable as fault:
        answer = Answer(control.id, False, error=Error(fault.kind, str(fault)))
    except Exception as fault:  # whatever we did not think of, and the next leader would not either
        if control.op in DEEDS:
            raise
        answer = Answer(control.id, False, error=_mistake(desk, control, fault))
    if event.reply_to:
        reply = Reply(event.reply_to, answer)
        if control.op in WILLS and answer.ok:
            desk.answer(reply)
        else:
            desk.out.append(reply)
    if desk.leading:  # else it has just handed over: its handles are void, and the next leader is given the question
        desk.gate(event.handle)


def _mistake(desk: Desk, control: Control, fault: Exception) -> Error:
    """A mistake of ours: told in the log, with where it is, and to who asked."""
    why, place = f"{type(fault).__name__}: {fault}"[:200], extract_tb(fault.__traceback__)[-1]
    desk.counts["mistakes"] += 1
    desk.note("mistake", op=control.op, args=repr(control.args)[:200], why=why, where=f"{place.name}, line {place.lineno}")
    after = "What it asks for may have been done all the same." if control.op in WILLS else "Nothing else is touched by it."
    return Error(
        "mistake", f"{control.op} could not be answered, by a mistake of the coordinator ({why}); its log says where. {after}"
    )


def _text(args: Args, name: str) -> str:
    value = args.get(name)
    if not isinstance(value, str) or not is_id(value):
        raise Unanswerable("bad_argument", f"{name} must be an id (letters, digits, _ . : @ -), not {value!r}")
    return value


def _word(args: Args, name: str) -> str | None:
    value = args.get(name)
    if value is not None and not isinstance(value, str):
        raise Unanswerable("bad_argument", f"{name} must be a word, not {value!r}")
    return value


def _limit(args: Args) -> int:
    value = args.get("limit", 100)
    if type(value) is not int or not 0 < value <= 10_000:
        raise Unanswerable("bad_argument", f"limit must be a whole number from 1 to 10000, not {value!r}")
    return value


def status(desk: Desk, now: Nanos, args: Args, by: str) -> Any:
    return views.status(desk, now)


def services(desk: Desk, now: Nanos, args: Args, by: str) -> Any:
    return views.services(desk, now, _word(args, "service"))


def resources(desk: Desk, now: Nanos, args: Args, by: str) -> Any:
    return views.resources(desk) + limiting.rows(desk, now)


def tasks(desk: Desk, now: Nanos, args: Args, by: str) -> Any:
    state, service, workflow = (_word(args, name) for name in ("state", "service", "workflow"))
    if state is not None and state not in get_args(TaskState):
        raise Unanswerable("bad_argument", f"there is no state {state!r}; there are: {', '.join(get_args(TaskState))}")
    if state == "ended" and (service is not None or workflow is not None):
        raise Unanswerable("bad_argument", "ended tasks are remembered without service and workflow: leave these out")
    return views.tasks(desk, now, state, service, workflow, _limit(args))


def task(desk: Desk, now: Nanos, args: Args, by: str) -> Any:
    found = reasons.task(desk, now, _text(args, "task"))
    if found is None:
        raise _unknown(desk, _text(args, "task"))
    return found


def why(desk: Desk, now: Nanos, args: Args, by: str) -> Any:
    found = reasons.why(desk, now, _text(args, "task"))
    if found is None:
        raise _unknown(desk, _text(args, "task"))
    return found


def key(desk: Desk, now: Nanos, args: Args, by: str) -> Any:
    type_, name, tenant = args.get("type"), args.get("key"), args.get("tenant", "")
    if not (isinstance(type_, str) and isinstance(name, str) and isinstance(tenant, str)):
        raise Unanswerable("bad_argument", "type, key and tenant must be texts")
    return views.key(desk, now, tenant, type_, name)


def _unknown(desk: Desk, task: str) -> Unanswerable:
    if task in desk.custody.families.workflows:
        return Unanswerable("unknown_task", f"{task!r} is a workflow, not a task: orchestrator workflow {task}")
    return Unanswerable(
        "unknown_task",
        f"no task {task!r} is known: it was never accepted here, or ended longer ago than the dedup window remembers.",
    )


def cancel(desk: Desk, now: Nanos, args: Args, by: str) -> Any:
    if "workflow" in args:
        return _cancel_whole(desk, now, _text(args, "workflow"), by)
    name = _text(args, "task")
    grave = desk.custody.graves.get(name)
    if grave is not None:
        return {"task": name, "state": "ended", "outcome": grave.outcome, "cancelled": grave.outcome == "cancelled"}
    desk.propose(Asked("cancel", now, name, by))
    record = desk.custody.live.get(name)
    return {"task": name, "state": record.state if record else "unknown", "cancelled": True}


def _cancel_whole(desk: Desk, now: Nanos, workflow: str, by: str) -> Any:
    """Every task of it that lives; those that have ended stay as they are."""
    live = [name for name in desk.custody.families.workflows.get(workflow, ()) if name in desk.custody.live]
    if not live:
        raise Unanswerable(
            "unknown_workflow",
            f"no task of a workflow {workflow!r} is alive: all have ended, or it was never accepted here. "
            f"`orchestrator workflow {workflow}` shows what is remembered of it.",
        )
    for name in live:
        desk.propose(Asked("cancel", now, name, by))
    return {"workflow": workflow, "tasks": len(live), "cancelled": True}


def workflow(desk: Desk, now: Nanos, args: Args, by: str) -> Any:
    name = _text(args, "workflow")
    found = views.workflow(desk, now, name)
    if found is None:
        if name in desk.custody.live or name in desk.custody.graves:
            raise Unanswerable("unknown_workflow", f"{name!r} is a task, not a workflow: orchestrator task {name}")
        like = list(islice((one for one in desk.custody.families.workflows if one.startswith(name)), LIKE_MAX))
        raise Unanswerable(
            "unknown_workflow",
            f"no task of a workflow {name!r} is known: it was never accepted here, or ended longer ago than is remembered."
            + (f" Ids that begin so: {', '.join(like)}" if like else ""),
        )
    return found


def priority(desk: Desk, now: Nanos, args: Args, by: str) -> Any:
    name, value = _text(args, "task"), args.get("priority")
    if type(value) is not int or not -1000 <= value <= 1000:
        raise Unanswerable("bad_argument", f"priority must be a whole number from -1000 to 1000, not {value!r}")
    record = desk.custody.live.get(name)
    if record is None:
        grave = desk.custody.graves.get(name)
        if grave is None:
            raise _unknown(desk, name)
        raise Unanswerable("ended", f"task {name!r} has ended as {grave.outcome}: nothing is left to be put before others.")
    desk.propose(Asked("priority", now, name, by, value))
    return {
        "task": name,
        "priority": value,
        "before": record.priority,
        "state": record.state,
        "ordering": desk.policies.spec(record.service, "ordering"),
        "heeded": desk.backlog.heeds(record, value),
    }


def policy(desk: Desk, now: Nanos, args: Args, by: str) -> Any:
    """Show or switch: ``ordering``, ``placement``, ``allocation`` (specs), ``set`` (settings by name), ``service`` (only there),
    ``reset`` (it follows the default again)."""
    service = args.get("service")
    if service is not None and not (isinstance(service, str) and is_name(service)):
        raise Unanswerable("bad_argument", f"service must be the name of a service, not {service!r}")
    try:
        wanted = _wanted(desk.policies, args, service)
        changed = {scope: spec for scope, spec in desk.policies.judge(wanted).items() if desk.policies.specs.get(scope, "") != spec}
        after = desk.policies.after(changed)
    except BadPolicy as fault:
        raise Unanswerable("unknown_policy", f"{fault}. Nothing was switched.") from None
    if changed:
        desk.propose(Asked("policy", now, by=by, value=changed))
    catalogue = desk.policies.catalogue
    return {
        "now": {kind: after.spec(service, kind) for kind in KINDS},
        "service": service,
        "services": after.own(),
        "known": catalogue.names(),
        "about": catalogue.about() if args.get("explain") else {},
        "broken": [
            {"kind": one.kind, "name": one.name, "distribution": one.distribution, "why": one.why} for one in catalogue.broken
        ],
    }


def _wanted(policies: Policies, args: Args, service: str | None) -> dict[str, str]:
    """The specs by scope that the operator asks for. A setting belongs to the policy named, or to that of those in force which has
    it."""
    settings, reset = args.get("set", {}), args.get("reset", False)
    named: dict[Kind, str] = {kind: args[kind] for kind in KINDS if kind in args}
    if not isinstance(settings, dict) or not all(
        isinstance(text, str) for text in (*settings, *settings.values(), *named.values())
    ):
        raise Unanswerable("bad_argument", "a policy is a text, and so are its settings by name")
    if type(reset) is not bool or (reset and (service is None or named or settings)):
        raise Unanswerable("bad_argument", "reset is for one service, and names no policy: it follows the default again")
    if reset:
        return {scope_of(service, kind): "" for kind in KINDS}
    specs = named or {kind: policies.spec(service, kind) for kind in KINDS}
    wanted = dict(named)
    for word, text in settings.items():
        owners = [kind for kind, spec in specs.items() if policies.catalogue.has(kind, spec, word)]
        if len(owners) != 1:
            which = "; ".join(f"{kind} {spec} has {policies.catalogue.settings(kind, spec)}" for kind, spec in specs.items())
            raise BadPolicy(f"{'none' if not owners else 'more than one'} of these policies has a setting {word!r}: {which}")
        kind = owners[0]
        wanted[kind] = policies.catalogue.changed(kind, wanted.get(kind, specs[kind]), {word: text})
    return {scope_of(service, kind): spec for kind, spec in wanted.items()}


def limit(desk: Desk, now: Nanos, args: Args, by: str) -> Any:
    """All limits; or one that is set (``set``: its whole specification) or removed (``remove``)."""
    if "name" in args:
        name, value = _text(args, "name"), args.get("set")
        if (value is None) == (args.get("remove") is not True):
            raise Unanswerable("bad_argument", "a limit is either set, with all that it says, or removed")
        if value is None and desk.sharing.limits.get(name) is None:
            raise Unanswerable("unknown_limit", f"there is no limit {name!r}; there are: {_names(desk)}")
        try:
            return limiting.propose(desk, now, name, value, by)
        except limiting.CannotLimit as fault:
            raise Unanswerable("bad_limit", f"{fault}. Nothing was changed.") from None
    return {"limits": limiting.listed(desk, now)}


def _names(desk: Desk) -> str:
    return ", ".join(one.name for one in desk.sharing.limits) or "none"


def drain(desk: Desk, now: Nanos, args: Args, by: str) -> Any:
    name = _text(args, "instance")
    found = [one for one in desk.registry.instances.values() if name in (one.name, one.incarnation)]
    if not found:
        pool = desk.registry.pools.get(name)
        there = ", ".join(one.name for one in islice(pool.members.values(), LIKE_MAX)) if pool else ""
        told = f"but a service; its instances: {there}" if there else "is here; `orchestrator services` lists those that are."
        raise Unanswerable("unknown_instance", f"no instance {name!r} {told}")
    desk.note("will", will="drain", instance=name, by=by)
    for instance in found:
        instance.unwanted = True
        if instance.state in ("ready", "draining"):
            liveness.drain(desk, instance, order=True)
    return {"draining": [one.name for one in found], "holds": sum(len(one.holdings) for one in found)}


def hand_over(desk: Desk, now: Nanos, args: Args, by: str) -> Any:
    """Let the next coordinator in line lead: for whoever spreads leaders over coordinators. Nothing accepted is touched."""
    if type(args.get("epoch")) is not int or args["epoch"] != desk.epoch:
        raise Unanswerable("other_epoch", f"this is epoch {desk.epoch}, which is not the one that is named: its leader goes on.")
    desk.note("will", will="hand_over", by=by)
    leadership.resign(desk, "asked to hand over to the next coordinator in line", desk.config.wait_ns)
    return {"epoch": args["epoch"], "coordinator": desk.name}


OPERATIONS: dict[str, Callable[[Desk, Nanos, Args, str], Any]] = {
    "status": status,
    "services": services,
    "resources": resources,
    "tasks": tasks,
    "task": task,
    "why": why,
    "key": key,
    "workflow": workflow,
    "cancel": cancel,
    "priority": priority,
    "policy": policy,
    "limit": limit,
    "drain": drain,
    "hand_over": hand_over,
}
WILLS = frozenset({"cancel", "priority", "policy", "limit"})
"""What is not answered before it is in the ledger."""
DEEDS = frozenset({"drain", "hand_over"})
"""What is done while it is asked for."""
