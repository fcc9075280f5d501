"""Conservation laws of an agent, one function each: true between any two steps, whatever happened.

``check`` runs them all; tests and simulations call it after every step. A broken law raises with its sentence.
"""

from __future__ import annotations

from collections.abc import Callable

from workers.core.agent import Agent
from workers.core.lifecycle import MAY_RUN


class LawBroken(AssertionError):
    """A law does not hold: a bug of ours."""


def an_attempt_is_in_one_place(agent: Agent) -> bool:
    """An attempt is unfinished or finished here, never both."""
    return not agent.work.holdings.jobs.keys() & agent.work.outbox.kept.keys()


def lanes_hold_what_the_table_says(agent: Agent) -> bool:
    """Waiting attempts stand in exactly one lane, in it once; a lane's busy places are its started attempts."""
    jobs = agent.work.holdings.jobs
    for name, lane in agent.work.holdings.lanes.items():
        mine = [job for job in jobs.values() if job.lane == name]
        if sorted(lane.waiting) != sorted(job.attempt for job in mine if job.state == "waiting"):
            return False
        if lane.busy != sum(job.state in MAY_RUN for job in mine):
            return False
    return True


def no_lane_is_overfull(agent: Agent) -> bool:
    """No lane runs more than it has places for."""
    return all(lane.places is None or lane.busy <= lane.places for lane in agent.work.holdings.lanes.values())


def nothing_unfinished_crosses_a_connection(agent: Agent) -> bool:
    """R5: while a connection is opened, or nobody has answered yet, nothing is unfinished here."""
    return agent.phase not in ("connecting", "announcing") or not len(agent.work.holdings)


def only_the_serving_run(agent: Agent) -> bool:
    """What may run belongs to a serving incarnation, or is being stopped because that one is over."""
    states = {job.state for job in agent.work.holdings.all()}
    return agent.phase == "serving" or states <= {"abandoned"}


def an_incarnation_is_one_connection(agent: Agent) -> bool:
    """There is an incarnation exactly while there is a connection that is not being closed."""
    return (agent.incarnation is not None) == (agent.phase in ("announcing", "serving"))


def serving_is_obeying(agent: Agent) -> bool:
    """An incarnation obeys an epoch exactly while it is serving, and none lower than any obeyed before."""
    mine = agent.incarnation
    if mine is None:
        return True
    return (mine.epoch != 0) == (agent.phase == "serving") and mine.epoch in (0, agent.highest_epoch)


def what_is_owed_is_kept(agent: Agent) -> bool:
    """Only kept reports are owed: what is released is not sent again."""
    outbox = agent.work.outbox
    return outbox.owed.keys() <= outbox.kept.keys()


def books_are_right(agent: Agent) -> bool:
    """The running totals of bytes are the sums of what is there."""
    holdings, outbox = agent.work.holdings, agent.work.outbox
    held = sum(job.held_bytes for job in holdings.all())
    return holdings.bytes == held and outbox.kept_bytes == sum(kept.bytes for kept in outbox.kept.values())


def a_closed_door_says_nothing(agent: Agent) -> bool:
    """Nothing is on its way while there is no incarnation to get the answer."""
    outbox = agent.work.outbox
    return agent.incarnation is not None or (outbox.under_way is None and not outbox.notes_token)


def time_is_asked_for(agent: Agent) -> bool:
    """An agent with a connection always asks to be woken: it has to beat."""
    return agent.incarnation is None or agent.next_deadline() is not None


LAWS: tuple[Callable[[Agent], bool], ...] = (
    an_attempt_is_in_one_place,
    lanes_hold_what_the_table_says,
    no_lane_is_overfull,
    nothing_unfinished_crosses_a_connection,
    only_the_serving_run,
    an_incarnation_is_one_connection,
    serving_is_obeying,
    what_is_owed_is_kept,
    books_are_right,
    a_closed_door_says_nothing,
    time_is_asked_for,
)


def check(agent: Agent) -> None:
    """Raise ``LawBroken`` for the first law that does not hold."""
    for law in LAWS:
        if not law(agent):
            jobs = "; ".join(job.story() for job in agent.work.holdings.all()) or "nothing unfinished"
            raise LawBroken(f"{law.__name__}: {law.__doc__} (phase {agent.phase}: {jobs})")
