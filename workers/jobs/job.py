"""An attempt that is to be run, with everything its runner needs."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from orchestrator.vocabulary import Attempt, Nanos
from orchestrator.wire.messages import Assignment
from workers.arguments import Signature
from workers.clock import unix_ns
from workers.context import About, Context, Given
from workers.core.events import Checkpointed, Progressed
from workers.handler import HandlerSpec
from workers.jobs.calling import Say


class Job(Struct, frozen=True, eq=False):
    """One attempt, its handler, and the incarnation in whose window it may start."""

    attempt: Attempt
    assignment: Assignment
    handler: HandlerSpec
    signature: Signature
    incarnation: str
    instance: str
    timeout_ns: Nanos | None

    def given(self) -> list[Given]:
        """What the task's parents left."""
        parents = self.assignment.parents
        return [Given(one.task, one.outcome, one.value, one.error, one.into) for one in parents] if parents else []

    def about(self) -> About:
        """What its context tells the handler."""
        item = self.assignment
        return About(
            task=item.task,
            type=self.handler.type,
            attempt=self.attempt,
            number=item.number,
            grant=dict(item.grant),
            devices=dict(item.devices),
            instance=self.instance,
            tenant=item.tenant,
            deadline_ns=item.deadline_ns,
            timeout_ns=self.timeout_ns,
            checkpoint=item.checkpoint,
            parents=self.given(),
        )


def context_of(about: About, say: Say) -> Context:
    """The context of an attempt, whose words go to ``say``."""
    attempt = about.attempt
    progress: Callable[[float | None, str], None] = lambda fraction, text: say(  # noqa: E731  # two closures, side by side
        Progressed(attempt, fraction, text, unix_ns())
    )
    return Context(about, progress, lambda state: say(Checkpointed(attempt, state, unix_ns())))
