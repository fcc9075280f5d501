"""A fleet for a trace of which nobody says what fleet it is for.

Law: what was chosen is told, with why. A machine is as large as all but the largest hundredth of demands; there are as many as keep
up with the trace as it came, with a tenth to spare.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil

from orchestrator.sim.whatif.figures import quantile
from orchestrator.sim.whatif.fleet import SLOTS
from orchestrator.traces import Trace, capped, load_of

LARGE = 0.99
BUSY = 0.9
INSTANCES_MAX = 1000
USUAL = 10
"""Machines for a trace whose tasks all come at once."""


def capacity_for(trace: Trace) -> dict[str, float]:
    """What one machine should have: ``slots=1`` if tasks say nothing of what they need."""
    found = {}
    for name in sorted({name for task in trace.tasks for name in task.need}):
        amounts = sorted(task.need.get(name, 0.0) for task in trace.tasks)
        found[name] = float(ceil(quantile(amounts, LARGE)) or ceil(amounts[-1]))
    return found or {SLOTS: 1.0}


def instances_for(trace: Trace, capacity: Mapping[str, float]) -> int:
    """How many such machines keep up with the trace as it came."""
    load = load_of(capped(trace, capacity), capacity, 1)
    return USUAL if load == float("inf") else min(INSTANCES_MAX, max(1, ceil(load / BUSY)))
