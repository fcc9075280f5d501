"""Hypothesis tells long stories of two coordinators and two agents; the invariants and a witness check every step, a fair
world the end."""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from orchestrator.vocabulary import NS_PER_S
from tests.core.stage import Evidence
from tests.core.world import MS, PRODUCERS, World

which = st.integers(0, 5)
number = st.integers(0, 3)
late = st.sampled_from([None, False, True])
FAULTS = ("sessions", "crashes", "agents", "words", "pauses", "tokens", "alarms")


class CoordinatorStory(RuleBasedStateMachine):
    """One rule for each kind of act. Which faults rage is drawn first: all of them at once would explore shallowly."""

    @initialize(faults=st.sets(st.sampled_from(FAULTS)))
    def begin(self, faults: set[str]) -> None:
        self.faults = faults
        self.world = World()

    # --- a fair world ---

    @rule(number=number, kind=which, reply_to=st.sampled_from(PRODUCERS))
    def submit(self, number: int, kind: int, reply_to: str) -> None:
        self.world.submit(number, kind, reply_to)

    @rule(number=number, kind=which, reply_to=st.sampled_from(PRODUCERS))
    def keyed(self, number: int, kind: int, reply_to: str) -> None:
        self.world.keyed(number, kind, reply_to)

    @rule(number=st.integers(0, 1), kind=which, reply_to=st.sampled_from(PRODUCERS))
    def graph(self, number: int, kind: int, reply_to: str) -> None:
        self.world.graph(number, kind, reply_to)

    @rule(number=st.integers(0, 1), which=number)
    def cancel_in_graph(self, number: int, which: int) -> None:
        self.world.cancel_in_graph(number, which)

    @rule(number=number)
    def clash(self, number: int) -> None:
        self.world.clash(number)

    @rule(number=number)
    def unknown(self, number: int) -> None:
        self.world.unknown(number)

    @rule(number=number)
    def cancel(self, number: int) -> None:
        self.world.cancel(number)

    @rule(number=which)
    def control(self, number: int) -> None:
        self.world.control(number)

    @rule(number=which)
    def limit(self, number: int) -> None:
        self.world.limit(number)

    @rule(which=which, times=st.integers(1, 8))
    def move(self, which: int, times: int) -> None:
        self.world.move(which, times)

    @rule()
    def pump(self) -> None:
        self.world.pump()

    @rule(span=st.sampled_from([MS, 300 * MS, NS_PER_S, 3 * NS_PER_S]), pump=st.booleans())
    def tick(self, span: int, pump: bool) -> None:
        self.world.tick(span, pump)

    @rule(which=which)
    def start_agent(self, which: int) -> None:
        self.world.start_agent(which)

    @rule(which=which)
    def finish(self, which: int) -> None:
        self.world.finish(which)

    @rule(which=which, retry=st.booleans())
    def fail(self, which: int, retry: bool) -> None:
        self.world.fail(which, retry)

    @rule(which=which)
    def checkpoint(self, which: int) -> None:
        self.world.checkpoint(which)

    # --- faults ---

    @precondition(lambda self: "sessions" in self.faults)
    @rule(which=which, late=late)
    def cut(self, which: int, late: bool | None) -> None:
        self.world.cut(which, late)

    @precondition(lambda self: "sessions" in self.faults or "crashes" in self.faults)
    @rule()
    def land(self) -> None:
        self.world.land()

    @precondition(lambda self: "crashes" in self.faults)
    @rule(which=which, late=late)
    def crash(self, which: int, late: bool | None) -> None:
        self.world.crash(which, late)

    @precondition(lambda self: "crashes" in self.faults)
    @rule(commands=st.integers(0, 4))
    def crash_amid(self, commands: int) -> None:
        self.world.crash_amid(commands)

    @precondition(lambda self: "tokens" in self.faults)
    @rule(which=which)
    def token(self, which: int) -> None:
        self.world.token(which)

    @precondition(lambda self: "tokens" in self.faults)
    @rule(which=which)
    def higher_epoch(self, which: int) -> None:
        self.world.higher_epoch(which)

    @precondition(lambda self: "words" in self.faults)
    @rule(which=which)
    def lose_word(self, which: int) -> None:
        self.world.lose_word(which)

    @precondition(lambda self: "agents" in self.faults)
    @rule(which=which, evidence=st.sampled_from([False, "broken", "closed", "swept"]))
    def drop(self, which: int, evidence: Evidence) -> None:
        self.world.drop(which, evidence)

    @precondition(lambda self: "agents" in self.faults)
    @rule(which=which)
    def mislead(self, which: int) -> None:
        self.world.mislead(which)

    @precondition(lambda self: "agents" in self.faults)
    @rule(which=which)
    def notice(self, which: int) -> None:
        self.world.notice(which)

    @precondition(lambda self: "agents" in self.faults)
    @rule(which=which, evidence=st.sampled_from([False, "broken", "closed", "swept"]))
    def kill(self, which: int, evidence: Evidence) -> None:
        self.world.kill(which, evidence)

    @precondition(lambda self: "pauses" in self.faults)
    @rule(which=which)
    def pause(self, which: int) -> None:
        self.world.pause(which)

    @precondition(lambda self: "pauses" in self.faults)
    @rule(which=which)
    def resume(self, which: int) -> None:
        self.world.resume(which)

    @precondition(lambda self: "alarms" in self.faults)
    @rule(blocked=st.booleans())
    def alarm(self, blocked: bool) -> None:
        self.world.alarm(blocked)

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.world.heal()


CoordinatorStory.TestCase.settings = settings(
    max_examples=120,
    stateful_step_count=50,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TestCoordinatorStory = CoordinatorStory.TestCase
