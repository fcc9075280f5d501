"""The producer's machine under every weather: whatever happens, everybody who waits is told once, and told the truth.

The laws of a single step are assertions in ``imagined.World``; here is what must hold when the weather has cleared
up.
"""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from orchestrator.client.events import Cause, Verdict
from orchestrator.vocabulary import NS_PER_MS, NS_PER_S
from tests.client.imagined import World, task


class Weather(RuleBasedStateMachine):
    """Submissions, verdicts, results, losses, alarms and time, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.count = 0
        self.refused = False
        """In this session the broker did not take a message."""

    def names(self, number: int) -> list[str]:
        self.count += number
        return [f"t{n}" for n in range(self.count - number, self.count)]

    @rule(
        services=st.lists(st.sampled_from("ab"), min_size=1, max_size=9),
        size=st.sampled_from([0, 0, 200, 1500]),
        within_s=st.sampled_from([0.02, 0.5, 30]),
        reply=st.booleans(),
        together=st.booleans(),
    )
    def submit(self, services: list[str], size: int, within_s: float, reply: bool, together: bool) -> None:
        tasks = [task(name, service, size) for name, service in zip(self.names(len(services)), services, strict=True)]
        idle = self.world.open and not self.world.alarm and not self.world.under_way and not self.world.waiting()
        idle = idle and not (self.refused and self.world.owed())  # what is asked again, and was refused, holds its lane back
        self.world.submit(*tasks, within_s=within_s, reply=reply, together=together)
        if idle:
            assert self.world.published[tasks[0].id] == 1, "a lone submission never waits"

    @precondition(lambda self: self.world.under_way)
    @rule(data=st.data(), verdict=st.sampled_from([*[Verdict.CONFIRMED] * 4, *Verdict]), landed=st.booleans())
    def verdict(self, data: st.DataObject, verdict: Verdict, landed: bool) -> None:
        self.refused |= verdict in (Verdict.RETURNED, Verdict.NACKED)
        self.world.answer(data.draw(st.sampled_from(sorted(self.world.under_way))), verdict, landed=landed)

    @precondition(lambda self: self.world.open and (self.world.taken or self.world.under_way))
    @rule(data=st.data())
    def results(self, data: st.DataObject) -> None:
        """Of tasks the coordinator has, or has just received; also those it told before."""
        flying = [each.id for publish in self.world.under_way.values() for each in publish.tasks]
        known = sorted({*self.world.taken, *flying})
        self.world.results(*data.draw(st.lists(st.sampled_from(known), min_size=1, max_size=6)))

    @rule(data=st.data(), cause=st.sampled_from([Cause.AWAY, Cause.NO_COORDINATOR]))
    def session_ends(self, data: st.DataObject, cause: Cause) -> None:
        taken = [number for number in self.world.under_way if data.draw(st.booleans())]
        self.world.ended(cause, taken)

    @rule()
    def session_opens(self) -> None:
        self.refused = False
        self.world.opened()

    @rule(data=st.data())
    def unbound(self, data: st.DataObject) -> None:
        self.world.unbound([number for number in self.world.under_way if data.draw(st.booleans())])

    @precondition(lambda self: self.world.open)
    @rule(reason=st.sampled_from(["low on memory", None]))
    def alarm(self, reason: str | None) -> None:
        self.world.blocked(reason)

    @precondition(lambda self: self.world.waiting())
    @rule(data=st.data())
    def withdraw(self, data: st.DataObject) -> None:
        self.world.withdraw(data.draw(st.sampled_from(self.world.waiting())))

    @rule(span_ms=st.sampled_from([1, 15, 60, 700]))
    def time_passes(self, span_ms: int) -> None:
        self.world.pass_time(span_ms * NS_PER_MS)

    def teardown(self) -> None:
        """The weather clears up: what was not given up is accepted, what is accepted is answered, and nothing
        remains.
        """
        world = self.world
        world.opened()
        for _ in range(1000):
            world.confirm_all()
            if not world.waiting():
                break
            world.pass_time(10 * NS_PER_MS)
        assert not world.waiting()
        assert all(world.confirmed >= {name} or name in world.gave_up or name in world.withdrawn for name in world.parcels)
        while world.owed():
            world.results(world.owed()[0])
        assert world.machine.outstanding == world.machine.unconfirmed == 0
        world.pass_time(NS_PER_S)
        assert world.machine.next_deadline() is None
        assert not world.under_way or all(publish.reply for publish in world.under_way.values())


class WeatherAndClose(Weather):
    """As above, and at the end the client is closed instead."""

    def teardown(self) -> None:
        world = self.world
        world.close()
        assert not world.waiting()
        assert not world.owed()
        assert world.machine.next_deadline() is None


TestWeather = Weather.TestCase
TestWeather.settings = settings(
    max_examples=120, stateful_step_count=50, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestWeatherAndClose = WeatherAndClose.TestCase
TestWeatherAndClose.settings = settings(max_examples=40, stateful_step_count=50, deadline=None)
