"""Questions on their way to an answer, scenario by scenario, and in any order of events."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.client.events import (
    Answered,
    Asked,
    Blocked,
    Cause,
    Close,
    Command,
    Dropped,
    Ended,
    Event,
    NoAnswer,
    Opened,
    Published,
    Reply,
    Say,
    Tick,
    Unbound,
    Verdict,
)
from orchestrator.client.questions import LOST_MOST, Questions
from orchestrator.vocabulary import NS_PER_MS, NS_PER_S
from orchestrator.wire.messages import Answer, Control


def ask(name: str = "q1", by_ns: int = 5 * NS_PER_S) -> Asked:
    return Asked(Control(name, "ping"), by_ns)


def opened() -> Questions:
    machine = Questions()
    machine.step(0, Opened())
    return machine


def problems(commands: list[Command]) -> list[tuple[Cause, bool]]:
    return [(each.problem.cause, each.problem.may_run) for each in commands if isinstance(each, NoAnswer)]


def test_a_question_leaves_at_once_and_its_answer_is_told_once() -> None:
    """Also if the answer overtakes the confirm, or is said twice."""
    machine = opened()
    assert machine.step(1, ask()) == [Say(-1, Control("q1", "ping"), 5 * NS_PER_S)]
    assert machine.step(2, Answered(Answer("q1", True, 7))) == [Reply(Answer("q1", True, 7))]
    assert machine.step(3, Published(-1, Verdict.CONFIRMED)) == []
    assert machine.step(4, Answered(Answer("q1", True, 7))) == []
    assert machine.next_deadline() is None


def test_a_question_whose_answer_could_not_find_us_is_asked_anew() -> None:
    """It was taken, and the answer had no way to us."""
    machine = opened()
    machine.step(0, ask())
    machine.step(1, Published(-1, Verdict.CONFIRMED))
    assert machine.step(2, Unbound()) == [Say(-2, Control("q1", "ping"), 5 * NS_PER_S)]
    assert machine.step(3, Answered(Answer("q1", True, 7))) == [Reply(Answer("q1", True, 7))]


def test_a_question_nobody_could_hear_is_said_again() -> None:
    """It came back: a coordinator may be about to take over. In the end the asker hears that none listens."""
    machine = opened()
    machine.step(0, ask())
    said, now, commands = 1, 0, []
    while not commands or isinstance(commands[0], Say):
        said += sum(isinstance(each, Say) for each in commands)
        machine.step(now, Published(-said, Verdict.RETURNED))
        now = machine.next_deadline() or 0
        commands = machine.step(now, Tick())
    assert now == 5 * NS_PER_S
    assert 8 < said < 20
    assert problems(commands) == [(Cause.UNROUTED, False)]


def test_a_question_that_was_heard_is_not_said_again() -> None:
    """It may be a will: at the deadline the asker hears that it is unknown whether it was carried out."""
    machine = opened()
    machine.step(0, ask())
    assert machine.step(1, Published(-1, Verdict.CONFIRMED)) == []
    assert machine.next_deadline() == 5 * NS_PER_S
    assert problems(machine.step(5 * NS_PER_S, Tick())) == [(Cause.SILENT, True)]


def test_a_question_is_said_again_in_the_next_session_but_not_for_ever() -> None:
    """The answer's queue is gone with the session. But a question can be what ends sessions: no permission, for
    one.
    """
    machine = opened()
    machine.step(0, ask())
    for _ in range(LOST_MOST):
        assert machine.step(1, Ended(Cause.AWAY, "403 ACCESS_REFUSED")) == []
        assert [type(each) for each in machine.step(2, Opened())] == [Say]
    assert problems(machine.step(3, Ended(Cause.AWAY, "403 ACCESS_REFUSED"))) == [(Cause.AWAY, True)]


def test_without_session_or_under_an_alarm_the_deadline_says_which() -> None:
    """The three ways not to reach a coordinator, and none of them was heard."""
    for event, cause in (
        (Ended(Cause.AWAY, "refused"), Cause.AWAY),
        (Ended(Cause.NO_COORDINATOR), Cause.NO_COORDINATOR),
        (Blocked("low on memory"), Cause.BLOCKED),
    ):
        machine = opened()
        machine.step(0, event)
        assert machine.step(0, ask()) == []
        assert problems(machine.step(5 * NS_PER_S, Tick())) == [(cause, False)]


def test_a_dropped_question_is_forgotten() -> None:
    """Its asker was cancelled."""
    machine = opened()
    machine.step(0, ask())
    machine.step(0, Dropped("q1"))
    assert machine.step(1, Answered(Answer("q1", True))) == []
    assert machine.next_deadline() is None


EVENTS = st.one_of(
    st.just(Opened()),
    st.sampled_from([Ended(Cause.AWAY), Ended(Cause.NO_COORDINATOR), Blocked("x"), Blocked(None), Tick()]),
    st.builds(Published, st.integers(-6, -1), st.sampled_from(Verdict)),
    st.builds(lambda n: Answered(Answer(f"q{n}", True)), st.integers(0, 5)),
    st.builds(lambda n: Dropped(f"q{n}"), st.integers(0, 5)),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 800), st.one_of(st.none(), EVENTS)), max_size=40))
def test_every_question_is_answered_or_given_up_once(story: list[tuple[int, Event | None]]) -> None:
    """Whatever happens: one end for each question that was not dropped, by its deadline; nothing leaves without a
    session.
    """
    machine, now, ends, asked, dropped = Questions(), 0, list[str](), list[str](), set[str]()
    is_open = alarm = False

    def step(event: Event) -> None:
        nonlocal is_open, alarm
        match event:
            case Opened() | Ended():
                is_open, alarm = isinstance(event, Opened), False
            case Blocked(reason):
                alarm = reason is not None
        for command in machine.step(now, event):
            match command:
                case Say():
                    assert is_open
                    assert not alarm
                case Reply(answer):
                    ends.append(answer.id)
                case NoAnswer(question):
                    ends.append(question)
        at = machine.next_deadline()
        assert at is None or at > now

    for pause_ms, event in story:
        now += pause_ms * NS_PER_MS
        if event is None and len(asked) < 6:
            asked.append(f"q{len(asked)}")
            step(ask(asked[-1], now + NS_PER_S))
        elif event is not None:
            if isinstance(event, Dropped) and event.question in asked and event.question not in ends:
                dropped.add(event.question)
            step(event)
    step(Close())
    assert sorted(ends) == sorted(set(asked) - dropped)
