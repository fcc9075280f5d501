"""What all parties of a world share."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.sim.broker import Broker
from orchestrator.sim.faults import Faults
from orchestrator.sim.journal import Journal
from orchestrator.sim.laws import Laws
from orchestrator.sim.timeline import Timeline


@dataclass(frozen=True, slots=True, eq=False)
class Surroundings:
    """The world as a party finds it."""

    seed: object
    timeline: Timeline
    faults: Faults
    journal: Journal
    broker: Broker
    laws: Laws
