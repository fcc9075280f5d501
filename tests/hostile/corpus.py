"""Messages of peers that wish us ill, have a bug, or are of another version: as many as are wanted, the same for the same seed.

Four sorts, each for each place that a peer may write to:

* ``noise``: bytes that are no message;
* ``bent``: a real message with a byte flipped, cut short, a field of another type, too large, twice, missing, unknown;
* ``bomb``: what is meant to cost us more than it costs its sender (``tests/wire/hostile.py`` has them by name);
* ``lie``: a well-formed message that says what is not so: instances that are not there, attempts of others, reports said twice or
  before their time, epochs of the far future, thousands of services and task types.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Literal, NamedTuple, TypeAlias

import msgpack  # type: ignore[import-untyped]  # it ships no types

from orchestrator.vocabulary import Attempt
from orchestrator.wire.codec import encode
from orchestrator.wire.examples import EXAMPLES
from orchestrator.wire.messages import (
    Announce,
    AnyMessage,
    Assignment,
    Beat,
    Checkpoint,
    Control,
    Dependency,
    Echo,
    Edge,
    Error,
    Handler,
    Held,
    Holding,
    Leave,
    Note,
    Notes,
    Orders,
    Range,
    Report,
    Reports,
    Result,
    Results,
    Stop,
    Submit,
    Task,
)
from tests.wire.hostile import CORPUS

Place: TypeAlias = Literal["intake", "reports", "registry", "control", "orders", "echo", "results"]
"""Where a message is sent: the intake of a service, reports, the registry, operators' questions, an agent's own queue, the echo to
all agents, a producer's reply queue."""
PLACES: tuple[Place, ...] = ("intake", "reports", "registry", "control", "orders", "echo", "results")

KINDS: dict[Place, tuple[str, ...]] = {
    "intake": ("submit",),
    "reports": ("reports",),
    "registry": ("announce", "beat", "held", "notes", "leave"),
    "control": ("control",),
    "orders": ("orders",),
    "echo": ("echo",),
    "results": ("results", "answer"),
}
SMALL_BYTES = 20_000
"""Bombs up to this size are as frequent as other things; larger ones are rare, or a million messages would be a terabyte."""
LARGE_ONCE_IN = 1_000
SQUATS = 0.35 / 8
"""The share of what is made for an intake that takes the id of a task that is known: one of the eight ways to lie there."""


class Blow(NamedTuple):
    """One hostile message."""

    sort: str
    body: bytes


@dataclass
class Known:
    """What whoever lies has learned of those whom he wants to harm."""

    service: str = "thumbs"
    handler: str = "resize"
    incarnations: Sequence[str] = ("thumbs-1.7f3a",)
    tasks: Sequence[str] = ("t1", "t2")
    epoch: int = 42


class Corpus:
    """Endless. ``known`` may be changed while it is drawn from."""

    def __init__(self, seed: int, known: Known | None = None) -> None:
        self.dice = Random(seed)
        self.known = known or Known()
        self._bodies = [encode(one.message) for one in EXAMPLES]
        self._by_kind: dict[str, list[bytes]] = {}
        for one, body in zip(EXAMPLES, self._bodies, strict=True):
            self._by_kind.setdefault(type(one.message).__struct_config__.tag, []).append(body)  # type: ignore[arg-type]
        self._small = [case.body for case in CORPUS if len(case.body) <= SMALL_BYTES]
        self._large = [case.body for case in CORPUS if len(case.body) > SMALL_BYTES]
        self._lies: dict[Place, Callable[[], AnyMessage]] = {
            "intake": self._submit,
            "reports": self._reports,
            "registry": self._registry,
            "control": self._control,
            "orders": self._orders,
            "echo": self._echo,
            "results": self._results,
        }
        self._names = 0

    def blow(self, place: Place, *, large: bool = True) -> Blow:
        """The next message for that place; ``large``: now and then one of a megabyte or more."""
        dice = self.dice
        if large and dice.randrange(LARGE_ONCE_IN) == 0:
            return Blow("bomb", dice.choice(self._large))
        draw = dice.random()
        if draw < 0.15:
            return Blow("noise", dice.randbytes(dice.choice((0, 1, 2, 8, 60, 500))))
        if draw < 0.25:
            return Blow("bomb", dice.choice(self._small))
        if draw < 0.60:
            return Blow("bent", self.bend(dice.choice(self._by_kind[dice.choice(KINDS[place])])))
        if draw < 0.65:
            return Blow("lie", dice.choice(self._bodies))  # right, but not for this place
        return Blow("lie", encode(self._lies[place]()))

    # --- bent --------------------------------------------------------------------------------------------------------

    def bend(self, body: bytes) -> bytes:
        """Something of it is not as it should be."""
        dice = self.dice
        way = dice.randrange(7)
        if way == 0:
            return body[: dice.randrange(len(body))]
        if way == 1:
            return body + dice.randbytes(dice.randrange(1, 9))
        if way == 2:
            raw = bytearray(body)
            for _ in range(dice.randrange(1, 5)):
                raw[dice.randrange(len(raw))] = dice.randrange(256)
            return bytes(raw)
        if way == 3:
            at, other = dice.randrange(len(body)), dice.choice(self._bodies)
            return body[:at] + other[dice.randrange(len(other)) :]
        plain = msgpack.unpackb(body)
        self._bend_in(plain)
        packed: bytes = msgpack.packb(plain)
        return packed

    def _bend_in(self, plain: Any) -> None:
        """One field somewhere within, of another type, gone, or twice as many."""
        dice = self.dice
        while isinstance(plain, dict | list) and plain:
            key = dice.choice(list(plain)) if isinstance(plain, dict) else dice.randrange(len(plain))
            inner = plain[key]
            if isinstance(inner, dict | list) and inner and dice.random() < 0.7:
                plain = inner
                continue
            way = dice.randrange(4)
            if way == 0 and isinstance(plain, dict):
                del plain[key]
            elif way == 1 and isinstance(plain, dict):
                plain[str(key) + "_"] = self.odd()
            elif way == 2 and isinstance(plain, list):
                plain.extend(plain * dice.choice((1, 50)))
            else:
                plain[key] = self.odd()
            return

    def odd(self) -> Any:
        """A value that nobody expects there."""
        dice = self.dice
        return dice.choice(
            (
                None, True, -1, 0, 2**53 + 1, 2**63, 2**64 - 1, -(2**63), 1e308, -0.0, float("nan"), float("inf"), "", "x" * 5000,
                "\u202e\x00\x1b[2J", "é" * 128, b"", b"\xff" * 300, [], {}, [[[[]]]], {"": {"": {}}}, [None] * 70,
                {"min": 4, "max": 1},
            )
        )  # fmt: skip

    # --- lies ---------------------------------------------------------------------------------------------------------

    def fresh(self, prefix: str) -> str:
        """A name that was never used before."""
        self._names += 1
        return f"{prefix}{self._names:x}.{self.dice.getrandbits(32):x}"

    def _word(self, prefix: str) -> str:
        """One of ten thousand."""
        return f"{prefix}{self.dice.randrange(10_000)}"

    def _incarnation(self) -> str:
        return self.dice.choice(self.known.incarnations) if self.dice.random() < 0.6 else self.fresh("ghost")

    def _task_id(self) -> str:
        return self.dice.choice(self.known.tasks) if self.dice.random() < 0.7 else self.fresh("no-task-")

    def _attempt(self) -> Attempt:
        dice, epoch = self.dice, self.known.epoch
        return Attempt(dice.choice((0, 1, epoch, epoch, epoch, epoch + 1, 2**53)), dice.choice((0, 1, 2, 7, 500, 2**53)))

    def _submit(self) -> AnyMessage:
        dice, known = self.dice, self.known
        own = f"{known.service}.{known.handler}"
        way = dice.randrange(8)
        if way == 0:  # thousands of task types
            return Submit([Task(self.fresh("x"), f"{known.service}.{self._word('h')}") for _ in range(dice.randrange(1, 20))])
        if way == 1:  # thousands of demands, none of which can ever be met
            return Submit([Task(self.fresh("x"), own, need={self._word("r"): dice.random() * 1e6}) for _ in range(5)])
        if way == 2:  # what makes no sense
            return Submit([Task(self.fresh("x"), own, need={"slots": Range(4, 1)}), Task(self.fresh("x"), own, need={"slots": 0})])
        if way == 3:  # a circle, and edges to nobody
            a, b = self.fresh("x"), self.fresh("x")
            return Submit(
                [Task(a, own, after=[Edge(b)]), Task(b, own, after=[Edge(a)]), Task(self.fresh("x"), own, after=[Edge("nobody")])]
            )
        if way == 4:  # an id twice, also with other content; and the ids of others
            return Submit([Task("same", own), Task("same", own, priority=dice.randrange(9)), Task(dice.choice(known.tasks), own)])
        if way == 5:  # over before it begins
            return Submit([Task(self.fresh("x"), own, deadline_ns=1, labels={"a": "b"}, tenant=self._word("t"))])
        if way == 6:
            return Submit([Task(self.fresh("x"), own, args=dice.randbytes(dice.choice((0, 3, 4000))), tenant=self._word("t"))])
        return Submit([Task(self.fresh("x"), own, need={"slots": 1e12}, size=1e18, estimate_ns=1) for _ in range(3)])

    def _reports(self) -> AnyMessage:
        dice = self.dice
        if dice.random() < 0.15:  # as if it were the mark of a leader to come
            return Reports(f"{dice.getrandbits(64):x}.{dice.choice((1, self.known.epoch, 10**9, 2**60))}")
        items = []
        for _ in range(dice.choice((1, 1, 1, 30))):
            done = dice.random() < 0.6
            error = None if done else Error("x" * dice.choice((1, 256)), "\x1b[31mred", "trace")
            items.append(
                Report(
                    self._task_id(), self._attempt(), "done" if done else "failed", dice.randbytes(9) if done else None, error,
                    dice.random() < 0.5, dice.choice((0, 1, 2**63 - 1)), dice.choice((0, 5, 2**63 - 1)),
                )
            )  # fmt: skip
        saved = [Checkpoint(self._task_id(), self._attempt(), dice.randbytes(9), dice.choice((0, 1, 2**53)))] * dice.randrange(2)
        return Reports(self._incarnation(), items, saved)

    def _registry(self) -> AnyMessage:
        dice, known = self.dice, self.known
        way = dice.randrange(10)
        if way < 3:  # floods of announcements, of services and types that nobody has ever heard of
            name = self.fresh("ghost")
            service = known.service if dice.random() < 0.5 else self._word("service")
            handlers = [Handler(self._word("h"), need={"slots": dice.choice((1, 1e9))}) for _ in range(dice.randrange(5))]
            needs = [Dependency(self._word("service"), dice.choice(("start", "dispatch")))] * dice.randrange(2)
            return Announce(name, name, service, handlers, {self._word("r"): 1e9, "slots": 1e6}, depends_on=needs)
        if way == 3:  # in the name of others: other handlers, no capacity
            return Announce("evil", self._incarnation(), known.service, [Handler(known.handler, need={"slots": Range(9, 1)})], {})
        if way < 6:
            held = None if dice.random() < 0.3 else [self._attempt() for _ in range(dice.randrange(4))]
            seq, drained = dice.choice((0, 1, 2**53)), dice.choice((0, 1, 2**53))
            return Beat(self._incarnation(), seq, dice.choice((0, known.epoch, 2**53)), drained, held, draining=dice.random() < 0.2)
        if way == 6:
            states: tuple[Literal["waiting", "running", "finished"], ...] = ("waiting", "running", "finished")
            some = [
                Holding(self._task_id(), self._attempt(), dice.choice(states), {"slots": 1e9}, {"gpu": ["no-such-device"]})
                for _ in range(dice.choice((0, 1, 5, 200)))
            ]
            return Held(
                self._incarnation(), dice.choice((0, 2**53)), dice.choice((known.epoch, known.epoch, 0, 2**53)), 2**53, some
            )
        if way < 9:
            items = [
                Note(
                    self._task_id(), self._attempt(), dice.choice(("started", "progress", "stopped", "refused")), 5, 0.5,
                    dice.choice(("epoch", "full", "expired", "\x00")), epoch=dice.choice((0, 2**53)), saved=dice.choice((0, 9)),
                )
                for _ in range(dice.choice((1, 1, 40)))
            ]  # fmt: skip
            return Notes(self._incarnation(), items, dice.choice((0, 2**53)))
        return Leave(self.fresh("ghost"), "x" * dice.randrange(200))

    def _control(self) -> AnyMessage:
        dice = self.dice
        op = dice.choice(
            (
                "status",
                "services",
                "tasks",
                "task",
                "why",
                "workflow",
                "priority",
                "policy",
                "limit",
                "drain",
                "nonsense",
                "resources",
            )
        )
        args: dict[str, Any] = {}
        for name in ("task", "workflow", "instance", "limit", "state", "priority", "ordering", "set", "name", "remove", "service"):
            if dice.random() < 0.3:
                args[name] = dice.choice((self.odd_open(), self._task_id(), self._word("w"), 5))
        return Control(self.fresh("q"), op, args)

    def odd_open(self) -> Any:
        """An odd value that may stand in an open field."""
        value = self.odd()
        while (isinstance(value, float) and not abs(value) < 1e309) or value == 2**63 or isinstance(value, bytes):
            value = self.odd()
        return value

    def _orders(self) -> AnyMessage:
        dice, known = self.dice, self.known
        assign = [
            Assignment(
                self._task_id(), dice.choice((0, 1, 2**53)), dice.choice((known.handler, "nobody")), dice.randbytes(5),
                {"slots": dice.choice((1, 1e12))}, deadline_ns=dice.choice((None, 1)), timeout_ns=dice.choice((None, 0)),
            )
            for _ in range(dice.choice((0, 1, 300)))
        ]  # fmt: skip
        stop = [Stop(self._task_id(), self._attempt(), "\x1b[2J", dice.random() < 0.5) for _ in range(dice.choice((0, 1, 300)))]
        # Neither syncs nor the epoch that is obeyed: whoever may write these *is* the leader for an agent (see SECURITY in DESIGN)
        epoch = dice.choice((0, max(0, known.epoch - 1), known.epoch + 1, 2**53))
        return Orders(self._incarnation(), epoch, dice.choice((0, 1, 2**53)), assign=assign, stop=stop, release=[self._attempt()])

    def _echo(self) -> AnyMessage:
        dice = self.dice
        heard = {self._incarnation(): dice.choice((0, 1, 2**53)) for _ in range(dice.choice((0, 1, 300)))}
        return Echo(dice.choice((0, max(0, self.known.epoch - 1), self.known.epoch + 1, 2**53)), heard)

    def _results(self) -> AnyMessage:
        dice = self.dice
        result = Result(self.fresh("no-task-"), dice.choice(("done", "failed", "refused", "skipped")))
        return Results([result] * dice.choice((1, 50)))
