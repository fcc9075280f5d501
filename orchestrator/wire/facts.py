"""The facts of the ledger: few, monotone, true whoever wrote them and however often.

Law: a fact changes a coordinator's mind only when it is *read* from the stream (R1), its writer's mind included. Facts
carry the times and choices of their writer (R15), so that every reader comes to the same state. An ``Entry`` is one
message of the stream: the facts of one step (group commit), and from where a reader has everything that still lives.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from msgspec import Struct

from orchestrator.vocabulary import Attempt, Nanos
from orchestrator.wire.messages import Error, Outcome, Task


class Fact(Struct, frozen=True, omit_defaults=True, tag_field="fact", gc=False):
    """The root of all facts. Plain data, as messages are: nothing in it points back (``gc=False``)."""


class Accepted(Fact, frozen=True, tag="accepted"):
    """These tasks are ours now."""

    tasks: list[Task]
    at_ns: Nanos
    reply_to: str = ""
    """Queue for the results; empty: nobody waits."""
    by: str = ""
    """Who submitted, as the broker knows them."""
    keep_ns: Nanos = 0
    """For how long their keys hold once they are done, if they do not say (``cache_ns``): the writer's dedup window."""


class Failed(Fact, frozen=True, tag="failed"):
    """An attempt is over without success. Whether the task is tried again is decided when this is read (R8)."""

    task: str
    attempt: Attempt
    cause: Literal["error", "timeout", "lost", "unseen", "fatal"]
    """``error``/``timeout``: the attempt failed; ``lost``: its instance is gone; ``unseen``: it is gone before the attempt was seen
    to start; ``fatal``: another try cannot help."""
    error: Error
    at_ns: Nanos
    instance: str = ""
    retries: int = 0
    """How many further attempts the task has, as its writer knew the task and its handler."""
    retry_ns: Nanos = 0
    """Unix time before which it is not tried again (back-off with jitter, the writer's dice)."""
    ran_ns: Nanos = 0
    """For how long it ran, as far as is known: run times are learned from it too."""


class Hold(Struct, frozen=True, omit_defaults=True, gc=False):
    """A key that a task holds which is done: whoever comes with it is answered with that task's result (R16)."""

    tenant: str
    type: str
    key: str
    digest: bytes
    """Of its arguments."""
    until_ns: Nanos


class Ended(Fact, frozen=True, tag="ended"):
    """The task is over. The first ``Ended`` of a task in ledger order is its outcome (R1)."""

    task: str
    outcome: Outcome
    at_ns: Nanos
    attempt: Attempt | None = None
    value: bytes | None = None
    error: Error | None = None
    instance: str = ""
    started_ns: Nanos = 0
    accepted_ns: Nanos = 0
    """Refused only: when it was judged (such a task was never ``Accepted``)."""
    reply_to: str = ""
    """Refused only: where its producer waits."""
    print: int = 0
    """Refused only: fingerprint of the refused task (of the others the ledger has the content)."""
    heirs: bool = False
    """Live children (R13) or followers (R16) need what it says: whoever begins to read here may meet them only later, carried."""
    first: str | None = None
    """It ended as this task did, which came first with the same key (R16)."""
    hold: Hold | None = None
    """Done: the key that it holds from now on, for readers that did not see what it was."""


class Checkpointed(Fact, frozen=True, tag="checkpointed"):
    """Work worth keeping. Of several, the highest number of the latest attempt counts."""

    task: str
    attempt: Attempt
    state: bytes
    nth: int = 0
    """Which checkpoint of the attempt it is, counted from 1."""
    ran_ns: Nanos = 0
    """Run time that lies behind it, over all attempts, on the agents' clocks."""


class Preempted(Fact, frozen=True, tag="preempted"):
    """An attempt has made room for a more urgent task. Nothing is counted against the task; how often it happened bounds it."""

    task: str
    attempt: Attempt
    at_ns: Nanos
    instance: str = ""


class Asked(Fact, frozen=True, tag="asked"):
    """A will, settled by ledger order alone."""

    what: Literal["cancel", "priority", "policy", "redirect", "drain", "limit"]
    at_ns: Nanos
    task: str = ""
    by: str = ""
    value: Any = None
    """priority: the number; policy: specs by scope ({"ordering": "sjf:ageing=10m", "thumbs/placement": "random"}, an empty spec:
    that service follows the default); redirect: the new reply queue; drain: the incarnation; limit: {"name", "revision", "spec"}:
    the highest revision counts, without a spec the limit is gone."""


class Served(Fact, frozen=True, tag="served"):
    """An intake queue exists for this service: every leader consumes it, also while no instance lives."""

    service: str


class Joined(Fact, frozen=True, tag="joined"):
    """This incarnation may hold work from now on (R2)."""

    instance: str
    incarnation: str
    service: str
    at_ns: Nanos


class Parted(Fact, frozen=True, tag="parted"):
    """This incarnation is gone for good: nothing of it may be alive. Written on evidence, lease or farewell."""

    incarnation: str


class Claim(Fact, frozen=True, tag="claim"):
    """I lead from here. Its offset plus 1 is the epoch; more if the ledger or agents (``floor``) know a higher one."""

    coordinator: str
    nonce: str
    floor: int = 0
    reminds: bool = False
    """It remembers a ledger that is lost, and writes that again before it leads: until its ``Restored`` something is missing."""


class Failure(Struct, frozen=True, omit_defaults=True):
    """One line of a task's story: an attempt that did not work."""

    attempt: Attempt
    cause: str
    error: Error
    at_ns: Nanos
    instance: str = ""


class Carried(Fact, frozen=True, tag="carried"):
    """A live task written again before its old record falls off the end of the log: the whole of it as of now."""

    task: Task
    accepted: int
    """Offset of its first ``Accepted``: its place in the order of arrival, and who answers for it after a takeover."""
    index: int
    at_ns: Nanos
    reply_to: str = ""
    by: str = ""
    priority: int = 0
    failures: list[Failure] = []
    retries: int = 0
    not_before_ns: Nanos = 0
    cancelled: bool = False
    checkpoint: bytes | None = None
    checkpoint_of: Attempt | None = None
    checkpoint_nth: int = 0
    ran_ns: Nanos = 0
    preemptions: int = 0
    preempted: Attempt | None = None
    """The last attempt that was."""
    former: list[str] = []
    """Other queues that its producers named before ``reply_to``, newest first: the order in which we read them may be wrong."""
    keep_ns: Nanos = 0
    """As its ``Accepted`` said."""
    first: str | None = None
    """The task that it follows, because that one came first with the same key (R16)."""


class Tombstone(Fact, frozen=True, tag="tombstone"):
    """An ended task written again, compact: its id is not taken anew during the dedup window (R11).

    While live children need it, it is written ``whole``: with what they are to be given (R13). So is one that holds a key, as long
    as its result is kept.
    """

    task: str
    outcome: Outcome
    at_ns: Nanos
    print: int = 0
    whole: bool = False
    value: bytes | None = None
    error: Error | None = None
    hold: Hold | None = None
    heirs: bool = False
    """As in ``Ended``: it is whole because of others that live."""


class Restored(Fact, frozen=True, tag="restored"):
    """The ledger was lost, and what its writer remembered of it is in this one again: everything up to ``up_to``.

    Whoever remembers no more than that need not say anything; whoever remembers more, does (R15).
    """

    by: str
    """The coordinator."""
    nonce: str
    """Of its session."""
    at_ns: Nanos
    known_epoch: int
    """The highest epoch that it had read of the ledger that is gone: later reigns knew more."""
    up_to: int
    """The first offset of that ledger that it had not read."""
    live: int = 0
    """Living tasks that it wrote again."""
    ended: int = 0
    """Ends that it wrote again."""
    led: bool = False
    """Its own claim was the last one in what it had read: then nothing that anybody relied on is missing."""


AnyFact: TypeAlias = (
    Accepted | Failed | Ended | Checkpointed | Preempted | Asked | Served | Joined | Parted | Claim | Carried | Tombstone | Restored
)


class Entry(Struct, frozen=True, omit_defaults=True, gc=False):
    """One message of the ledger. With no facts it is a tick: its writer is alive."""

    by: str
    """Nonce of the writer's session."""
    number: int
    """Rises by one with each entry of that session."""
    replay_from: int = 0
    """Whoever reads from this offset has everything that still lives (computed from what the writer had read, R11)."""
    answered_to: int = 0
    """The results of all ends below this offset have been published (R7)."""
    epoch: int = 0
    """The highest epoch that its writer knows of: a later claim is above it, also for a reader that did not see the last one."""
    facts: list[AnyFact] = []
