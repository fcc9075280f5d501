"""Limits that belong to no instance: licences, connections, calls a second, what one tenant may have at once.

Law: a limit is a will, in the ledger, so every coordinator has the same. It applies to the tasks whose type matches ``on`` (with
``tenant`` and ``labels`` narrowing), and to those that name it in ``need``. A name in ``need`` that is a limit's is that limit's:
instances are not asked for it. By ``key`` every tenant (type, service, affinity, priority, label) has the limit to itself.
Everything that is limited is counted: tasks at once, amounts, and tokens that come back at a rate.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import translate
from typing import Annotated, Any, NamedTuple, TypeAlias

import msgspec
from msgspec import Meta, Struct

from orchestrator.vocabulary import Milli, Service, is_name, milli, plain, service_of
from orchestrator.wire.messages import Need, Range, Task

LIMITS_MAX = 1000
"""So many limits there may be: each is looked at for every task that comes."""
KEYS = ("tenant", "type", "service", "affinity", "priority")
BURST_SHARE = 0.1
"""A bucket holds what comes in a tenth of a second, if nothing else is said: small enough that no second sees much more than the
rate, large enough that a fast rate does not need a look for every token."""


class Bounds(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """How much there is; what is not said is not limited."""

    at_once: Annotated[int, Meta(ge=0, le=1_000_000_000)] | None = None
    """So many tasks at a time. 0: none, for a while."""
    capacity: Annotated[float, Meta(ge=0, le=1e12)] | None = None
    """So much of what ``of`` names at a time."""
    rate: Annotated[float, Meta(ge=0.001, le=1e6)] | None = None
    """So many a second may start."""
    burst: Annotated[float, Meta(ge=1, le=1e9)] | None = None
    """So many may start together after a quiet time; none: a tenth of a second's worth, at least one."""


class Spec(Bounds, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """A limit as people say it."""

    key: Annotated[str, Meta(max_length=80)] = ""
    """Each ``tenant``, ``type``, ``service``, ``affinity``, ``priority`` or ``label:NAME`` has its own; empty: all share it."""
    on: Annotated[str, Meta(max_length=200)] = ""
    """Task types that it applies to: ``pay.charge``, ``pay.*``, ``*``. Empty: those that name it in ``need``; with ``tenant`` or
    ``labels`` all types."""
    tenant: Annotated[str, Meta(max_length=64)] | None = None
    labels: Annotated[dict[str, str], Meta(max_length=32)] = {}
    of: Annotated[str, Meta(max_length=64)] = ""
    """Whose amounts ``capacity`` counts: a resource of instances (``cpu``); empty: what tasks ask of the limit by name."""
    per: Annotated[dict[str, Bounds], Meta(max_length=1000)] = {}
    """Other bounds for some keys: ``{"acme": {"at_once": 20}}``."""


class Share(NamedTuple):
    """What one task takes of one limit."""

    limit: str
    key: str
    amount: Milli
    """Of its capacity."""
    tokens: Milli
    """Of its rate."""


Shares: TypeAlias = tuple[Share, ...]


def spec_of(name: str, value: object) -> Spec:
    """``value`` (plain data) as the specification of the limit ``name``. Raises ValueError, saying what is wrong with it."""
    if not is_name(name):
        raise ValueError(f"a limit cannot be called {name!r}: use letters, digits, - and _ (at most 64)")
    if name == "slots":
        raise ValueError("a limit cannot be called slots: every task takes slots of its instance. Cap them with `of: slots`.")
    try:
        spec = msgspec.convert(value, Spec)
    except msgspec.ValidationError as fault:
        raise ValueError(f"limit {name!r}: {fault}") from None
    if all(bound is None for bound in (spec.at_once, spec.capacity, spec.rate)) and not spec.per:
        raise ValueError(f"limit {name!r} limits nothing: say at_once, capacity or rate")
    if spec.key and spec.key not in KEYS and not (spec.key.startswith("label:") and is_name(spec.key[6:])):
        raise ValueError(f"limit {name!r}: the key must be one of {', '.join(KEYS)} or label:NAME, not {spec.key!r}")
    if spec.per and not spec.key:
        raise ValueError(f"limit {name!r}: bounds per key need a key")
    if spec.of and not is_name(spec.of):
        raise ValueError(f"limit {name!r}: {spec.of!r} is no name of a resource")
    if spec.on and not set(spec.on) & set(".*?["):
        raise ValueError(
            f"limit {name!r}: no task type is called {spec.on!r}; write SERVICE.HANDLER, or '{spec.on}.*' for a whole service"
        )
    for bounds in (spec, *spec.per.values()):
        if bounds.burst is not None and bounds.rate is None and spec.rate is None:
            raise ValueError(f"limit {name!r}: a burst without a rate means nothing")
    return spec


class Bound(NamedTuple):
    """Bounds in the units that are counted: tasks, thousandths, thousandths a second."""

    at_once: int | None
    capacity: Milli | None
    rate: Milli | None
    burst: Milli


class Limit:
    """A limit, made ready to be asked."""

    def __init__(self, name: str, spec: Spec) -> None:
        self.name = name
        self.spec = spec
        self.of = spec.of or name
        self._all = not spec.on and (spec.tenant is not None or bool(spec.labels))
        self._on = re.compile(translate(spec.on)).match if spec.on else None
        self._bounds = {key: _bound(spec, bounds) for key, bounds in spec.per.items()}
        self._default = _bound(spec, spec)

    @property
    def own(self) -> bool:
        """Whether its amounts are asked for by its own name, not of an instance."""
        return self.of == self.name

    def bound(self, key: str) -> Bound:
        """What holds for this key."""
        return self._bounds.get(key, self._default)

    def concerns(self, service: Service) -> bool:
        """Whether a task of this service may take of it."""
        head, dot, _ = self.spec.on.partition(".")
        return not dot or any(char in head for char in "*?[") or head == service

    def share(self, task: Task, need: Need, priority: int) -> Share | None:
        """What the task takes of it; none: it does not apply."""
        asked = _least(need.get(self.name, 0.0))
        if not asked and not self._matches(task):
            return None
        amount = asked if self.own else _least(need.get(self.of, 1.0 if self.of == "slots" else 0.0))
        return Share(self.name, self._key(task, priority), amount, asked or 1000)

    def _matches(self, task: Task) -> bool:
        spec = self.spec
        if self._on is None:
            if not self._all:
                return False
        elif not self._on(task.type):
            return False
        if spec.tenant is not None and task.tenant != spec.tenant:
            return False
        return all(task.labels.get(name) == text for name, text in spec.labels.items())

    def _key(self, task: Task, priority: int) -> str:
        match self.spec.key:
            case "":
                return ""
            case "tenant":
                return task.tenant
            case "type":
                return task.type
            case "service":
                return service_of(task.type)
            case "affinity":
                return task.affinity
            case "priority":
                return str(priority)
            case label:
                return task.labels.get(label[6:], "")

    def never(self, share: Share) -> str | None:
        """Why so much can never be had, in words; none: it can."""
        bound = self.bound(share.key)
        if bound.capacity is not None and share.amount > bound.capacity:
            what = f"{self.of} of limit {self.name!r}" if not self.own else f"limit {self.name!r}"
            return f"{what}{_for(self, share.key)}: the task asks {plain(share.amount)}, there are {plain(bound.capacity)} in all"
        if bound.rate is not None and share.tokens > bound.burst:
            return (
                f"limit {self.name!r}{_for(self, share.key)}: the task asks {plain(share.tokens)} at a time, "
                f"its bucket holds {plain(bound.burst)}"
            )
        return None


def _for(limit: Limit, key: str) -> str:
    return f" ({limit.spec.key} {key or 'none'})" if limit.spec.key else ""


def called(limit: Limit, key: str) -> str:
    """A limit and whose, for people: ``limit 'api' (tenant acme)``."""
    return f"limit {limit.name!r}{_for(limit, key)}"


def _bound(spec: Spec, own: Bounds) -> Bound:
    at_once = own.at_once if own.at_once is not None else spec.at_once
    capacity = own.capacity if own.capacity is not None else spec.capacity
    rate = own.rate if own.rate is not None else spec.rate
    burst = own.burst if own.burst is not None else spec.burst if own.rate is None else None
    if burst is None:
        burst = max(1.0, (rate or 0.0) * BURST_SHARE)
    return Bound(at_once, None if capacity is None else milli(capacity), None if rate is None else milli(rate), milli(burst))


def _least(amount: float | Range) -> Milli:
    return milli(amount.min if isinstance(amount, Range) else amount)


class Limits:
    """All limits there are."""

    def __init__(self, specs: Mapping[str, Spec] | None = None) -> None:
        self._limits = {name: Limit(name, spec) for name, spec in sorted((specs or {}).items())}

    def __bool__(self) -> bool:
        return bool(self._limits)

    def __iter__(self) -> Iterator[Limit]:
        return iter(self._limits.values())

    def get(self, name: str) -> Limit | None:
        """The limit of this name."""
        return self._limits.get(name)

    @property
    def grain(self) -> list[tuple[Any, ...]]:
        """By what it tells tasks apart: as long as this is the same, nobody needs to move when a limit changes."""
        return [(one.name, one.of, one.spec.key, one.spec.on, one.spec.tenant, one.spec.labels) for one in self]

    def of_instances(self, need: Need) -> Need:
        """What of a need is asked of instances: what no limit is called."""
        return {name: amount for name, amount in need.items() if name not in self._limits} if self._limits else need

    def shares(self, task: Task, default: Need | None, priority: int) -> Shares:
        """What the task takes of limits, in the order of their names."""
        need = task.need or default or {}
        return tuple(share for limit in self if (share := limit.share(task, need, priority)) is not None)

    def never(self, shares: Iterable[Share]) -> list[str]:
        """Why the task can never have what it asks, in words."""
        return [why for share in shares if (why := self._limits[share.limit].never(share)) is not None]
