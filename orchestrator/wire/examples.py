"""One short conversation, message by message: the worked examples of ``PROTOCOL.md`` and ``asyncapi.json``.

Law: every kind of message occurs. A producer submits two tasks; an agent registers, runs both (the second fails) and
leaves; an operator asks a question. Another day a leader takes over, and somebody submits a workflow; later there are
shards. What these become as bytes is frozen among the tests: version 1 does not change.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from orchestrator.vocabulary import Attempt
from orchestrator.wire.messages import (
    Announce,
    Answer,
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
    Parent,
    Range,
    Report,
    Reports,
    Result,
    Results,
    Shard,
    Shards,
    Stop,
    Submit,
    Task,
)
from orchestrator.wire.values import pack

INCARNATION: Final = "thumbs-1.7f3a"
EPOCH: Final = 42
NOON_NS: Final = 1_767_268_800_000_000_000
"""2026-01-01 12:00 UTC."""
MS: Final = 1_000_000


class Example(Struct, frozen=True):
    """A message at its place in the conversation."""

    name: str
    says: str
    """Who says it, and why now."""
    message: AnyMessage


EXAMPLES: Final = (
    Example(
        "submit",
        "A producer has two tasks for the service `thumbs`; the second one is elastic and urgent.",
        Submit(
            [
                Task("t1", "thumbs.resize", args=pack({"image": "cat.png", "width": 120})),
                Task(
                    "t2",
                    "thumbs.render",
                    args=pack({"scene": b"\x00\xff"}),
                    need={"slots": 1.0, "cpu": Range(1.0, 4.0)},
                    priority=10,
                    timeout_ns=30_000 * MS,
                    retries=0,
                ),
            ]
        ),
    ),
    Example(
        "announce",
        "An agent has connected, its queue is bound, it consumes.",
        Announce(
            "thumbs-1",
            INCARNATION,
            "thumbs",
            [Handler("resize", estimate_ns=200 * MS, doc="Makes a picture smaller."), Handler("render", retries=1)],
            {"slots": 4.0, "cpu": 8.0},
            version="1.2.0",
            depends_on=[Dependency("store")],
            labels={"zone": "a"},
        ),
    ),
    Example("beat", "It beats at once, and every second from now on.", Beat(INCARNATION, 1)),
    Example(
        "orders_sync",
        "The leader of epoch 42 has written down that this incarnation exists. It asks what the agent has.",
        Orders(INCARNATION, EPOCH, 1, heard=1, sync=True, lease_ns=5_000 * MS),
    ),
    Example(
        "held",
        "The agent obeys epoch 42 from now on. It has nothing but a report of its former incarnation, not released yet.",
        Held(INCARNATION, 2, EPOCH, 1, [Holding("t0", Attempt(40, 7), "finished")]),
    ),
    Example(
        "orders_assign",
        "Two assignments: attempts (42, 1) and (42, 2). `heard` opens the agent's window at once.",
        Orders(
            INCARNATION,
            EPOCH,
            2,
            heard=2,
            assign=[
                Assignment("t1", 1, "resize", pack({"image": "cat.png", "width": 120}), {"slots": 1.0}),
                Assignment("t2", 2, "render", pack({"scene": b"\x00\xff"}), {"cpu": 4.0, "slots": 1.0}, timeout_ns=30_000 * MS),
            ],
        ),
    ),
    Example(
        "notes",
        "Both have started; one says how far it is.",
        Notes(
            INCARNATION,
            [
                Note("t1", Attempt(EPOCH, 1), "started", NOON_NS),
                Note("t2", Attempt(EPOCH, 2), "started", NOON_NS + MS),
                Note("t2", Attempt(EPOCH, 2), "progress", NOON_NS + 900 * MS, 0.25, "frame 25 of 100"),
            ],
            drained=2,
        ),
    ),
    Example(
        "beat_busy",
        "The next beat: two attempts are here, half of the slots are busy.",
        Beat(INCARNATION, 3, EPOCH, 2, [Attempt(EPOCH, 1), Attempt(EPOCH, 2)], 0.5),
    ),
    Example("echo", "The leader has heard that, and the second beat of another agent.", Echo(EPOCH, {INCARNATION: 3, "b": 2})),
    Example(
        "reports",
        "One attempt is done, the other has failed and left a checkpoint.",
        Reports(
            INCARNATION,
            [
                Report("t1", Attempt(EPOCH, 1), "done", pack({"bytes": 5120}), started_ns=NOON_NS, ended_ns=NOON_NS + 180 * MS),
                Report(
                    "t2",
                    Attempt(EPOCH, 2),
                    "failed",
                    error=Error("MemoryError", "frame 26 does not fit", "render.py:17"),
                    started_ns=NOON_NS + MS,
                    ended_ns=NOON_NS + 950 * MS,
                ),
            ],
            [Checkpoint("t2", Attempt(EPOCH, 2), pack({"frame": 25}))],
        ),
    ),
    Example(
        "orders_release",
        "Both reports are in the ledger: the agent may forget them. An attempt (42, 3) that it was sent meanwhile is recalled.",
        Orders(
            INCARNATION,
            EPOCH,
            4,
            heard=3,
            stop=[Stop("t3", Attempt(EPOCH, 3), "cancelled by ann")],
            release=[Attempt(EPOCH, 1), Attempt(EPOCH, 2)],
        ),
    ),
    Example(
        "notes_stopped",
        "The answer to the recall: (42, 3) does not run here, and never will.",
        Notes(INCARNATION, [Note("t3", Attempt(EPOCH, 3), "stopped")], drained=4),
    ),
    Example(
        "orders_preempt",
        "Later on, something more urgent needs the place of `t4`, whose handler is preemptible: it is asked to leave.",
        Orders(INCARNATION, EPOCH, 5, heard=5, stop=[Stop("t4", Attempt(EPOCH, 4), "a more urgent task needs its place", True)]),
    ),
    Example(
        "reports_checkpoint",
        "It saves how far it has come; this is its second checkpoint.",
        Reports(INCARNATION, checkpoints=[Checkpoint("t4", Attempt(EPOCH, 4), pack({"frame": 25}), 2, 12_500 * MS)]),
    ),
    Example(
        "notes_preempted",
        "Once that is confirmed: it has stopped. The task goes on from its second checkpoint, not before that is in the ledger.",
        Notes(INCARNATION, [Note("t4", Attempt(EPOCH, 4), "stopped", saved=2)], drained=5),
    ),
    Example(
        "orders_resume",
        "It goes on in another attempt.",
        Orders(
            INCARNATION,
            EPOCH,
            6,
            heard=6,
            assign=[Assignment("t4", 5, "render", pack({}), {"slots": 1.0}, checkpoint=pack({"frame": 25}), ran_ns=12_500 * MS)],
        ),
    ),
    Example(
        "results",
        "Both have ended; `t2` allowed no retries.",
        Results(
            [
                Result(
                    "t1",
                    "done",
                    pack({"bytes": 5120}),
                    attempts=1,
                    instance="thumbs-1",
                    accepted_ns=NOON_NS - 4 * MS,
                    started_ns=NOON_NS,
                    ended_ns=NOON_NS + 181 * MS,
                ),
                Result("t2", "failed", error=Error("MemoryError", "frame 26 does not fit"), attempts=1),
            ]
        ),
    ),
    Example(
        "control",
        "An operator wants this agent to finish and leave.",
        Control("q1", "drain", {"instance": "thumbs-1"}),
    ),
    Example("answer", "It is told to.", Answer("q1", True, {"draining": ["thumbs-1"], "holds": 0})),
    Example("orders_drain", "This is how it is told.", Orders(INCARNATION, EPOCH, 5, heard=8, drain=True)),
    Example("leave", "It has nothing left.", Leave(INCARNATION, "drained")),
    Example(
        "held_back",
        "The broker was killed: the agent is back as another incarnation, and says what it was. One task is finished.",
        Held("thumbs-1.c0de", 2, 61, 1, [Holding("t9", Attempt(57, 12), "finished")], ["thumbs-1.7f3a"]),
    ),
    Example(
        "held_takeover",
        "Another day: the leader of epoch 57 took over and sent `sync` to an agent that was at work for epoch 42.",
        Held(
            "thumbs-2.09cc",
            9120,
            57,
            1,
            [
                Holding("t7", Attempt(EPOCH, 88), "running", {"cpu": 2.0, "slots": 1.0}),
                Holding("t8", Attempt(EPOCH, 90), "waiting", {"slots": 1.0}),
            ],
        ),
    ),
    Example(
        "submit_workflow",
        "A workflow: `load` takes what `extract` returned as its argument `rows`; `report` runs even if `load` fails.",
        Submit(
            [
                Task("n1.extract", "etl.extract", args=pack({"day": "2026-01-01"}), workflow="n1"),
                Task("n1.load", "etl.load", after=(Edge("n1.extract", into="rows"),), workflow="n1"),
                Task("n1.report", "etl.report", after=(Edge("n1.load", "continue"),), workflow="n1"),
            ]
        ),
    ),
    Example(
        "orders_child",
        "`extract` is done: `load` is assigned, with what it is to load.",
        Orders(
            "etl-1.09c2",
            57,
            4,
            assign=[
                Assignment(
                    "n1.load", 9, "load", b"\x80", {"slots": 1}, parents=[Parent("n1.extract", "done", pack([1, 2]), into=["rows"])]
                )
            ],
        ),
    ),
    Example(
        "shards",
        "Services that begin with `render`, and what `acme` wants of the others, have shards of their own.",
        Shards([Shard("gpu", services=["render*"]), Shard("acme", tenants=["acme"])]),
    ),
    Example(
        "submit_keyed",
        "A producer charges an order, and says again what it may have said before it lost its memory: one of the two runs.",
        Submit([Task(name, "pay.charge", args=pack({"order": 7}), key="order-7") for name in ("c1", "c2")]),
    ),
    Example(
        "results_keyed",
        "It hears of both, and which of them it was.",
        Results(
            [
                Result("c1", "done", pack(True), attempts=1, instance="pay-1"),
                Result("c2", "done", pack(True), instance="pay-1", first="c1"),
            ]
        ),
    ),
)
