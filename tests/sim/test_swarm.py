"""Worlds with the weather that their seeds draw: first faults rage and no law is broken, then they heal and everything ends."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.sim.faults import Faults, draw
from orchestrator.sim.swarm import fly, swarm
from orchestrator.sim.world import World

ROOT = Path(__file__).parents[2]

FOUND = {
    15_001_705: "who had been paused itself, and had not resigned yet, took a report that was meant for a later leader for forged",
    14_000_839: "placing charged a tenant when all had been looked at: who went before others by that waited for the next event",
    12_000_693: "a task that came eleven minutes after its cancel was not cancelled: the will had been forgotten after ten",
    7_000_579: "who was let back to a place, and held back by a limit then, was offered that place alone when it let him go on",
    5_101_083: "an attempt stopped while a lie had another one alive: what it had saved was not waited for when that was denied",
    5_101_094: "a class of which a limit held back all was left out still, and nobody could tell it what came free",
    1_800_021: "what a self that was never introduced had reported was called forged, though its heir had said the same by then",
    1_701_011: "who claimed again read first that another had led and parted with an instance: its attempt was waited for, a ghost",
    1_500_129: "the order to leave was lost: told once, its instance stayed, was given nothing, and its tasks waited for ever",
    910_224: "in a small ledger the ids of what had ended alone took the share of what lives, and nothing was taken in for minutes",
    701_005: "a world that was wrong: who gave up a connection in the turn in which it was lost was told of that twice",
    300_906: "what a child needed was forgotten by who began to read in the middle, and met others that needed it too, and ended",
    310_570: "the same law, wrong again: it may be given what a later one with its key returned",
    301_191: "a law that was wrong: what was answered from the cache, and comes again when the cache has lost that, runs",
    301_042: "a law that was wrong: a task that may be given a cached result is not the first of its key until it has run itself",
    300_249: "who answered before its Joined was read, and then was not reached by the sync with it, was never asked again",
    100_040: "tasks that were placed anew by better estimates left the limit where they waited, and nobody looked at them again",
    54: "told twice in one turn of its loop to end at once, an agent raised",
    3_121: "a report whose release was lost was expected by its leader, and never sent again: nothing asks for it in a long reign",
    3_346: "who had been kept out before a takeover was looked at only where the reservation had been, and left out",
    92: "three attempts that an agent was said to hold: of the two that were wanted none was recalled",
    100_101: "a task that killed its agent an instant after it was resumed was never seen to start, and never counted as lost",
    1391: "a standby that had missed a part of the ledger led with its old books; intake closed when too much had been taken in",
    5000: "a beat that did not list a stopped attempt overtook the word that said what it had saved: that work was done again",
    35: "asked again in the message that brought its first assignment, an agent said it held nothing; the task ran twice",
    100_086: "without cost two tasks that had overrun their estimates took turns for ever: 58,000 preemptions, and nothing moved",
    67: "the same, with an agent that had one instance and another reign",
    8: "where there was no room for results the dead letter of a task had no story",
    22: "what was not due and was said to run went back to the backlog when its leader claimed again, and started at once",
    5_000_251: "a law that was wrong: an answer from the cache is said again to a silent broker; a late copy had run meanwhile",
    701_594: "what was kept for a task held back one that stood before it in its own lane, by an older estimate: neither started",
}
"""Seeds that once broke a law, and what they found. In their weather no ledger was ever lost."""

LOST = {
    19_000_796: "a law that was wrong: who leads anew, and gave an instance up meanwhile, counts no failure it tells of (R8)",
    18_001_323: "who read from the middle met the second of a key, cancelled, before the first: the third ended as the second did",
    15_001_091: "a law that was wrong: what runs of a lost ledger counts under no limit until it is written again what it is",
    14_003_075: "a law that was wrong: a cancelled end was lost, its task was begun anew, and who remembered the end wrote it then",
    13_001_448: "whose result a memory no longer had was written, when the next ledger was lost too, as one that gave nothing",
    12_001_760: "a head left the queue to follow another: who was kept out of the place that it had was not looked at again",
    7_001_693: "a law that was wrong: how a task ended last was lost, and who remembered it said how it had ended before",
    7_100_095: "a law that was wrong: a child came again from memory behind its parent's end, whose result nobody had kept for it",
    7_000_536: "a law that was wrong: a failure that a ledger made anew got late, before its task came again, counts for nobody",
    8_001_186: "a law that was wrong: an end that follows one of a lost ledger came late to the new one, and is told as it stands",
    6_000_531: "a law that was wrong: a first end was lost, and its task ended anew: who had followed was told what was said first",
    8_000_685: "of two ledgers lost in a row one was remembered by who was away: ends that nobody else knew were not written again",
    5_100_263: "a world that was wrong: a copy of what was refused came late to a ledger made anew, and nobody called it off",
    2_001_902: "a law that was wrong: a child's end, written late into a ledger made anew, follows from what the old one said",
    1_900_149: "a law that was wrong: of two late copies one runs when the cache has lost its result, and the other is told that",
    801_385: "a law that was wrong: what was cancelled in a lost ledger may be said to have ended so by who had read that",
    700_550: "submitted again to a ledger made anew, a task was said to be over by who remembered it, and nobody heard how",
    924: "a memory is written in pieces: a child stood there without its parent, and whoever led next took that for forgotten",
    1_225: "a ledger that was made anew had a note of its own where the last entry read had stood: it was taken for the old one",
    41_249: "how a task ended was told to whoever knew nothing of it; who remembered it did not say who waits for that",
    5_048: "of a key's tasks another one was first in the ledger made anew: who followed the old first followed one that follows",
    1_324: "two instances were said to hold the same attempt: it was believed of both",
    5_050: "what a former self had finished was taken for forged when its heir reported it, for a lie stood beside it",
    700_892: "a claim was lost, and the next stood in its place: two reigns had one number, and a true report seemed forged",
    1_200_049: "a task that waited for its time was found to follow one that was written again: deferred, it could not be blocked",
    1_001_813: "a ledger was lost again before all was written again: by the later memory a task lived that had ended by the first",
    1_401_602: "a law that was wrong: a child that was lost held nothing of what its parent returned, until it came again",
    910_225: "writing again was broken off, and a stranger led: of a workflow it knew a part, and called it forgotten",
    6: "a cancel of what was not known was answered, and forgotten when somebody who remembered the task wrote it again: it ran",
    700_579: "the same, where takeovers had counted up to a lost reign's number: only of first reigns was that thought of",
}
"""The same, where it may be: an operator deletes it, or the power goes."""
DELETED_OFTEN = {
    6_000_185: "a law that was wrong: of ledgers lost in a row, who knew an end of the first did not come to speak for 30 s",
}
"""The same, where it is deleted many times."""


@pytest.mark.parametrize("seed", range(12))
def test_in_fair_weather_everything_ends(seed: int) -> None:
    """Without a fault every task has its one outcome, and nobody's connection ends."""
    world = World(seed, faults=Faults())
    assert not world.run().broken
    assert {result.outcome for producer in world.producers for result in producer.results.values()} >= {"done"}


@pytest.mark.parametrize("seed", FOUND)
def test_what_was_found_stays_found(seed: int) -> None:
    """A seed that broke a law once breaks none any more."""
    weather = draw(seed)
    weather.delete_ledger = weather.cut_power = 0.0
    outcome = World(seed, faults=weather).run()
    assert not outcome.broken, FOUND[seed]


@pytest.mark.parametrize("seed", LOST)
def test_what_was_found_where_ledgers_are_lost_stays_found(seed: int) -> None:
    """The same."""
    outcome = World(seed).run()
    assert not outcome.broken, LOST[seed]


@pytest.mark.parametrize("seed", DELETED_OFTEN)
def test_what_was_found_where_ledgers_are_deleted_often_stays_found(seed: int) -> None:
    """The same."""
    weather = draw(seed)
    weather.delete_ledger = 0.08
    outcome = World(seed, faults=weather).run()
    assert not outcome.broken, DELETED_OFTEN[seed]


@pytest.mark.timeout(1200)  # a minute of work for two cores, which others may keep busy
def test_a_short_swarm_breaks_no_law() -> None:
    """A few hundred worlds at every run of the tests; the long swarm is a command."""
    *_, total = swarm(100_000, 200, jobs=2)
    assert total.seeds == 200
    assert not total.broken
    assert all(total.counts[what] for what in ("reserved", "preempting", "preempted"))
    assert all(
        total.faults[kind] for kind in ("kill_coordinator", "kill_agent", "kill_broker", "cut_agent", "second_token", "cut_power")
    )


def test_a_broken_law_is_told_with_the_seed() -> None:
    """The door: one seed again, as data, with the story of a task."""
    typed = [sys.executable, "-m", "orchestrator.sim", "swarm", "--seed", "35", "--json"]
    answer = subprocess.run(typed, cwd=ROOT, capture_output=True, text=True, check=True)
    assert json.loads(answer.stdout)["broken"] is None
    typed = [sys.executable, "-m", "orchestrator.sim", "swarm", "--seed", "35", "--story", "t43"]
    story = subprocess.run(typed, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "p0           submits" in story.stdout


def test_every_row_of_the_tables_that_is_walked_is_counted() -> None:
    """The coverage of the lifecycle tables is part of a swarm's answer."""
    part = fly(range(5))
    assert part.rows["task: waiting assign"] > 0
    assert part.rows["attempt: running -> finished"] > 0
    assert "task: waiting assign" not in part.missed()
