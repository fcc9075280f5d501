"""Hypothesis tells long stories; a witness and the conservation laws check every step, a fair world the end."""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from tests.workers.core.actor import World
from tests.workers.core.stage import Stage
from workers.core import Limits
from workers.core.events import TimePassed

which = st.integers(0, 5)
behind = st.sampled_from([0, 0, 0, 1])


class AgentStory(RuleBasedStateMachine):
    """One rule for each kind of act. Which faults rage is drawn first: all of them at once would explore shallowly."""

    @initialize(seed=st.integers(0, 3), faults=st.sets(st.sampled_from(["cut", "pause", "reigns", "drain", "deny"])))
    def begin(self, seed: int, faults: set[str]) -> None:
        self.faults = faults
        limits = Limits(beat_jitter=0.1, reports_max=6, items_max=3)
        self.world = World(Stage(limits=limits, seed=seed))
        self.world.stage.step(TimePassed())
        self.world.open()
        self.world.sync()
        self.world.echo()

    def given(self) -> bool:
        """Whether the job runner has anything to speak of."""
        return any(job.state != "waiting" for job in self.world.stage.agent.work.holdings.all())

    @rule()
    def greeted(self) -> None:
        self.world.open()
        self.world.sync()
        self.world.echo()

    @rule()
    def tick(self) -> None:
        self.world.tick()

    @rule()
    def sleep(self) -> None:
        self.world.deadline()

    @rule()
    def confirm(self) -> None:
        self.world.confirm()

    @rule()
    def echo(self) -> None:
        self.world.echo()

    @rule(handler=st.sampled_from(["resize", "resize", "slow"]))
    def assign_and_begin(self, handler: str) -> None:
        self.world.assign(handler)
        self.world.begin(-1)

    @rule(handler=st.sampled_from(["resize", "crunch", "slow", "unknown"]))
    def assign(self, handler: str) -> None:
        self.world.assign(handler)

    @rule(back=st.integers(0, 4), preempt=st.booleans())
    def recall(self, back: int, preempt: bool) -> None:
        self.world.recall(back, preempt)

    @rule()
    def release(self) -> None:
        self.world.release()

    @precondition(given)
    @rule(which=which)
    def begins(self, which: int) -> None:
        self.world.begin(which)

    @precondition(given)
    @rule(which=which)
    def finishes(self, which: int) -> None:
        self.world.finish(which)

    @precondition(given)
    @rule(which=which)
    def fails(self, which: int) -> None:
        self.world.fail(which)

    @precondition(given)
    @rule(which=which)
    def halts(self, which: int) -> None:
        self.world.halt(which)

    @precondition(given)
    @rule(which=which)
    def is_late(self, which: int) -> None:
        self.world.late(which)

    @precondition(given)
    @rule(which=which)
    def progresses(self, which: int) -> None:
        self.world.progress(which)

    @precondition(given)
    @rule(which=which)
    def saves(self, which: int) -> None:
        self.world.checkpoint(which)

    @precondition(lambda self: "cut" in self.faults)
    @rule()
    def cut(self) -> None:
        self.world.cut()

    @precondition(lambda self: "pause" in self.faults)
    @rule()
    def pause(self) -> None:
        self.world.pause()

    @precondition(lambda self: "deny" in self.faults)
    @rule()
    def deny(self) -> None:
        self.world.deny()

    @precondition(lambda self: "drain" in self.faults)
    @rule()
    def drain(self) -> None:
        self.world.drain()

    @precondition(lambda self: "reigns" in self.faults)
    @rule(behind=behind)
    def another_reign(self, behind: int) -> None:
        if behind:
            self.world.sync(behind=1)
            self.world.assign(behind=1)
            self.world.recall(behind=1)
            self.world.echo(behind=1)
        else:
            self.world.takeover()

    @precondition(lambda self: "reigns" in self.faults)
    @rule()
    def late_orders(self) -> None:
        self.world.late_orders()

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.world.heal()


AgentStory.TestCase.settings = settings(
    max_examples=250,
    stateful_step_count=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TestAgentStory = AgentStory.TestCase
