"""A task, as its producer asks for it."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from msgspec import Meta

from orchestrator.wire.roots import Part
from orchestrator.wire.types import MOST_RESOURCES, Amount, Blob, Id, Instant, Labels, Name, Priority, Span, Tries, Type
from orchestrator.wire.values import NO_ARGUMENTS


class Range(Part, frozen=True):
    """An elastic demand: at least ``min``, usefully up to ``max``."""

    min: Amount
    """The task can run with this."""
    max: Amount
    """More than this is of no use to it. Not below ``min``, or the task is refused."""


Need: TypeAlias = Annotated[dict[Name, Amount | Range], Meta(max_length=MOST_RESOURCES)]
"""What a task asks of the instance that runs it, by resource. Not saying ``slots`` means one slot."""


class Edge(Part, frozen=True):
    """A dependency on another task of the same submission, and what its failure means for this one."""

    task: Id
    """The parent."""
    on_failure: Literal["fail", "skip", "continue"] = "fail"
    """If the parent does not end as ``done``: this task ends as ``failed``, as ``skipped``, or runs without the parent's value."""
    into: Annotated[str, Meta(max_length=66)] = ""
    """The argument that takes the parent's value (nil, if the parent is not ``done``); empty: none does. With ``[]`` behind its
    name it is a list, to which the values of all edges that say so are added in their order."""


class Task(Part, frozen=True):
    """One unit of work, as its producer asks for it."""

    id: Id
    """Made by the producer, unique for ever: a second task under this id is not taken."""
    type: Type
    args: Blob = NO_ARGUMENTS
    """msgpack map of keyword arguments."""
    need: Need = {}
    """What it asks of the instance that runs it, by resource. Not saying ``slots`` means one."""
    priority: Priority = 0
    """Higher goes first."""
    tenant: Annotated[str, Meta(max_length=64)] = ""
    deadline_ns: Instant | None = None
    """A task not started by then ends as ``expired``."""
    start_ns: Instant | None = None
    """Not assigned before."""
    timeout_ns: Span | None = None
    """Longest run of one attempt; none: the handler's own."""
    retries: Tries | None = None
    """Further attempts after a failure; none: the handler's own."""
    estimate_ns: Span | None = None
    """A guess of its run time. What is learned corrects it."""
    overlap: Literal["lease", "never"] = "lease"
    """``never``: moved only after the lease of a lost instance is over, whatever the evidence."""
    after: Annotated[tuple[Edge, ...], Meta(max_length=1000)] = ()
    """Tasks of the same submission that must have ended before; one may stand here twice, for two arguments."""
    labels: Labels = {}
    affinity: Annotated[str, Meta(max_length=128)] = ""
    """Tasks with the same word would rather run on the same instance (placement ``affinity``); also a key for limits."""
    workflow: Id | None = None
    """Under this name its workflow is shown and cancelled as a whole."""
    size: Annotated[float, Meta(ge=0, le=1e18)] | None = None
    """How large it is, in any measure of its type (pixels, rows, tokens): run times are learned by it."""
    key: Annotated[str, Meta(max_length=200)] = ""
    """Of all tasks of one tenant and type with the same key one runs, the first; the others end as it does (4.3)."""
    cache_ns: Span | None = None
    """A result under the same key, or without one of the same ``args``, will do if it is no older than this; so will its own."""
