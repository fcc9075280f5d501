"""A task as its producer words it: type and options first, then arguments.

Law: pure; time and ids are handed in. **Keyword arguments are the handler's, always; options have a place of their
own.** So a handler may have an argument named ``priority`` or ``timeout``, now or later, and no new option of ours
will ever take an argument away from somebody's handler. Options are said where the task is named:
``client.task("thumbs.resize", priority=3)``; arguments where it is called: ``.run(path="a.png")``. Options are judged
once, when they are said, by the very types that judge them on the wire.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal, Protocol, TypeAlias

import msgspec
from msgspec import Struct

from orchestrator import vocabulary
from orchestrator.graphs import components
from orchestrator.spelling import nearest
from orchestrator.vocabulary import NS_PER_S, Nanos, TaskId, seconds
from orchestrator.wire.codec import MAX_BODY_BYTES, pack
from orchestrator.wire.messages import Edge, Range, Task
from orchestrator.wire.values import NO_ARGUMENTS

Span: TypeAlias = float | str | timedelta
"""A length of time: seconds, or a text with units (``"500ms"``, ``"30s"``, ``"1h30m"``, ``"1d"``), or a timedelta."""

Amount: TypeAlias = float | tuple[float, float] | Mapping[str, float] | Range
"""How much of a resource: a number, or least and most: ``(1, 4)``, ``{"min": 1, "max": 4}``."""

ENVELOPE_BYTES = 64
"""What a message takes besides its tasks."""

MOST_NS = 2**63 - 1
"""The last instant that can be said (``wire.types.Instant``), in the year 2262."""


class HasId(Protocol):
    """Whatever stands for a task: a ``Call``, a ``Handle``."""

    @property
    def id(self) -> TaskId: ...


Parent: TypeAlias = HasId | TaskId | Edge | tuple[HasId | TaskId, Literal["fail", "skip", "continue"]]
"""A task of the same submission that must have ended before; with what its failure means, ``"fail"`` if not said."""


class Call(Struct, frozen=True):
    """A task that is ready to be submitted."""

    task: Task
    reply: bool
    accept_within_ns: Nanos | None
    """How long its submission may take; none: the client's usual."""

    @property
    def id(self) -> TaskId:
        return self.task.id


class Form(Struct, frozen=True):
    """A task type with its options, judged; arguments make it a ``Call``."""

    shape: Task
    """Everything but id, arguments, and what counts from now."""
    deadline: Nanos | datetime | None
    delay: Nanos
    id: TaskId | None
    reply: bool
    accept_within_ns: Nanos | None

    @property
    def dated(self) -> bool:
        """Whether it matters when it is filled."""
        return self.delay > 0 or self.deadline is not None

    def fill(self, args: Mapping[str, Any], fresh_id: TaskId, unix_ns: Nanos, edges: Sequence[Edge] = ()) -> Call:
        """A call with these arguments, and with those that parents give by ``edges``, now.

        Raises CannotPack, naming what in the arguments no peer could read, or that they are too large.
        """
        shape = self.shape
        task = Task(
            self.id or fresh_id,
            shape.type,
            _packed(args, sameness=shape.key != "" or shape.cache_ns is not None),
            shape.need,
            shape.priority,
            shape.tenant,
            shape.deadline_ns if self.deadline is None else instant_ns(self.deadline, unix_ns),
            unix_ns + self.delay if self.delay else None,
            shape.timeout_ns,
            shape.retries,
            shape.estimate_ns,
            shape.overlap,
            (*shape.after, *edges) if edges else shape.after,
            shape.labels,
            shape.affinity,
            workflow=shape.workflow,
            size=shape.size,
            key=shape.key,
            cache_ns=shape.cache_ns,
        )
        return Call(task, self.reply, self.accept_within_ns)


def form(
    task_type: str,
    *,
    priority: int = 0,
    need: Mapping[str, Amount] | None = None,
    deadline: Span | datetime | None = None,
    delay: Span = 0,
    timeout: Span | None = None,
    retries: int | None = None,
    tenant: str = "",
    id: TaskId | None = None,
    estimate: Span | None = None,
    overlap: Literal["lease", "never"] = "lease",
    after: Iterable[Parent] = (),
    labels: Mapping[str, str] | None = None,
    affinity: str = "",
    workflow: str | None = None,
    size: float | None = None,
    key: str = "",
    cache_for: Span | None = None,
    reply: bool = True,
    accept_within: Span | None = None,
) -> Form:
    """A task type with options. Raises ValueError or TypeError, naming the option that cannot be.

    ``priority``: higher goes first. ``need``: amounts by resource (``{"cpu": 1}``, ``{"cpu": (1, 4)}``); nothing
    said: one slot. ``deadline``: not started by then (a span from the call, or an aware datetime), it ends as
    expired. ``delay``: not started before. ``timeout``: longest run of one attempt. ``retries``: further attempts
    after a failure (both: else the handler's own). ``tenant``: on whose behalf. ``id``: yours instead of a new one;
    the same id with the same content is taken once, so give the deadline as a datetime then: a span counts from each
    call anew. ``estimate``: your guess of the run time. ``overlap="never"``: not even a lost instance's attempt may
    overlap with the next. ``after``: parents in the same ``submit_many``. ``labels``: words for people.
    ``affinity``: tasks with the same word would rather run on the same instance.
    ``workflow``: the name under which the whole is shown and cancelled. ``size``: how large it is, in any measure of
    its type (pixels, rows): run times are learned by it.
    ``key``: of all tasks of this tenant and type with the same key one runs, the first, and the others end as it does
    (``Handle.first`` says which it was): while it lives, and once it is done for the coordinator's dedup window. Other
    arguments under a key that is held are refused (``key_taken``); any other end than done frees it.
    ``cache_for``: a result under the same key (without one: of the same arguments) that is no older will do, and this
    one's may be given to others for so long.
    ``reply=False``: fire and forget. ``accept_within``: how long the submission itself may take.
    """
    shape = Task(
        id="x" if id is None else id,
        type=task_type,
        need={name: _amount(amount) for name, amount in (need or {}).items()},
        priority=priority,
        tenant=tenant,
        timeout_ns=None if timeout is None else span_ns(timeout, "timeout"),
        retries=retries,
        estimate_ns=None if estimate is None else span_ns(estimate, "estimate"),
        overlap=overlap,
        after=tuple(_edge(parent) for parent in after),
        labels=dict(labels or {}),
        affinity=affinity,
        workflow=workflow,
        size=size,
        key=key,
        cache_ns=None if cache_for is None else span_ns(cache_for, "cache_for"),
    )
    try:
        plain = msgspec.to_builtins(shape, builtin_types=(bytes,))
        judged = msgspec.convert(plain, Task, builtin_types=(bytes,))
    except (msgspec.ValidationError, TypeError) as fault:
        raise ValueError(f"{task_type}: {_worded(str(fault))}") from None
    for name, amount in judged.need.items():
        if isinstance(amount, Range) and amount.min > amount.max:
            raise ValueError(f"{task_type}: need: of {name} at least {amount.min:g} and at most {amount.max:g} cannot be")
    _judge_texts(judged)
    if isinstance(deadline, datetime):
        _judge_instant(task_type, deadline)
    return Form(
        judged,
        deadline=deadline if deadline is None or isinstance(deadline, datetime) else span_ns(deadline, "deadline"),
        delay=span_ns(delay, "delay"),
        id=id,
        reply=reply,
        accept_within_ns=None if accept_within is None else span_ns(accept_within, "accept_within"),
    )


def _judge_texts(task: Task) -> None:
    """Raises ValueError for a text that has no bytes: the wire's types judge only its length, and others share its message."""
    texts = [("tenant", task.tenant), ("affinity", task.affinity), ("key", task.key)]
    texts += [(f"labels: {name}", text) for name, text in task.labels.items()]
    texts += [("after: into", edge.into) for edge in task.after]
    for option, text in texts:
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ValueError(
                f"{task.type}: {option}: {text!r} is no text that has bytes: it holds half a character (a lone surrogate), as "
                "comes of bytes that are no UTF-8, such as the names of some files. Give it as its bytes in hex, or another text"
            ) from None


def _judge_instant(task_type: str, deadline: datetime) -> None:
    """Raises ValueError for a deadline that no peer could read."""
    if deadline.tzinfo is None:
        raise ValueError(f"{task_type}: deadline: {deadline} has no time zone; give it one, such as tzinfo=datetime.UTC")
    if not 0 <= instant_ns(deadline, 0) <= MOST_NS:
        raise ValueError(
            f"{task_type}: deadline: {deadline} is not between the years 1970 and 2262; leave it out if there is to be none"
        )


def _packed(args: Mapping[str, Any], *, sameness: bool) -> bytes:
    """Arguments as bytes; ``sameness``: equal ones become equal bytes, however they were written down."""
    if not args:
        return NO_ARGUMENTS
    blob = pack(dict(args), "args")  # judged first: what is sorted has an end, and keys that can be sorted
    return pack(_in_order(dict(args)), "args") if sameness else blob


def _in_order(value: Any) -> Any:
    """The same value, maps sorted by their keys."""
    if isinstance(value, dict):
        return {key: _in_order(value[key]) for key in sorted(value, key=lambda key: (type(key).__name__, key))}
    if isinstance(value, list | tuple):
        return [_in_order(one) for one in value]
    return value


def span_ns(span: Span, what: str) -> Nanos:
    """A person's length of time in nanoseconds. Raises ValueError or TypeError; ``what`` names it there."""
    match span:
        case timedelta():
            length_s = span.total_seconds()
        case str():
            try:
                length_s = seconds(vocabulary.span_ns(span))
            except ValueError:
                raise ValueError(
                    f"{what}: {span!r} is no length of time; write 500ms, 30s, 5m, 1h30m, 1d, or a number of seconds"
                ) from None
        case bool():
            raise TypeError(f"{what}: a length of time, not {span!r}")
        case int() | float():
            length_s = span
        case _:
            raise TypeError(f"{what}: seconds, a text such as '30s', or a timedelta; not {type(span).__name__}")
    if not (math.isfinite(length_s) and 0 <= length_s <= 366 * 86400):
        raise ValueError(f"{what}: {span!r} is not between 0 and 366 days")
    return round(length_s * NS_PER_S)


def instant_ns(deadline: Nanos | datetime, unix_ns: Nanos) -> Nanos:
    """Unix time in nanoseconds of a deadline: an instant, or a span from ``unix_ns``."""
    if not isinstance(deadline, datetime):
        return unix_ns + deadline
    whole = deadline.replace(microsecond=0)
    return round(whole.timestamp()) * NS_PER_S + deadline.microsecond * 1000


def judge_batch(tasks: Sequence[Task], size: int) -> None:
    """Raises ValueError unless these tasks, ``size`` bytes together, can be one submission: small enough, and sound as a graph."""
    if len(tasks) > 1 or tasks[0].after:
        for component in components(tasks):
            if component.fault is not None:
                raise ValueError(component.fault.message)
    if size + ENVELOPE_BYTES > MAX_BODY_BYTES:
        what = f"task {tasks[0].id}" if len(tasks) == 1 else f"the workflow of {len(tasks)} tasks"
        raise ValueError(
            f"{what} takes about {size:,} bytes; {MAX_BODY_BYTES:,} are the limit of one submission. Nothing of it was submitted. "
            "Put what is large into a store and pass its address, or split it"
        )


OPTIONS = dict.fromkeys(form.__kwdefaults__ or ())
"""Of a task, by name."""


def options_known(options: Iterable[str]) -> None:
    """Raises TypeError for an option of a task that there is not, naming the one that may be meant."""
    for name in options:
        if name not in OPTIONS:
            near = nearest(name, OPTIONS)
            meant = f"is {near!r} meant?" if near else f"there are: {', '.join(OPTIONS)}."
            raise TypeError(f"A task has no option {name!r}; {meant} (Arguments of its handler are said in run, submit or add.)")


def _worded(fault: str) -> str:
    """What the wire's types say of a value, without their pattern: a regex helps nobody who mistyped a name."""
    _, pattern, where = fault.partition(" matching regex ")
    if not pattern:
        return fault
    field = where.rpartition("$.")[2].strip("`")
    if field == "type":
        return "this is no task type; write SERVICE.HANDLER, like thumbs.resize, each of letters, digits, _ and -, at most 64"
    signs = "128 letters, digits, _ . : @ and -" if field in ("id", "workflow") else "64 letters, digits, _ and -"
    return f"{field}: at most {signs}, beginning with a letter or digit"


def _amount(amount: Amount) -> float | Range:
    match amount:
        case (least, most):
            return Range(least, most)
        case Mapping():
            return msgspec.convert(dict(amount), Range)
        case _:
            return amount


def _edge(parent: Parent) -> Edge:
    match parent:
        case Edge():
            return parent
        case str():
            return Edge(parent)
        case (task, on_failure):
            return Edge(task if isinstance(task, str) else task.id, on_failure)
        case _:
            return Edge(parent.id)
