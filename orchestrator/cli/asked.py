"""What is to be simulated: the trace and the fleet that were typed, fitted to each other."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from orchestrator.cli.faults import BAD_USAGE, Fault
from orchestrator.cli.words import Unclear, duration_s, needs

if TYPE_CHECKING:
    from orchestrator.sim.whatif.fleet import Fleet
    from orchestrator.traces import Trace

INVENTED_LOAD = 0.8
"""Of a trace that was invented without a load in mind."""


@dataclass(frozen=True, slots=True)
class Invented:
    """A trace that is made up, if one is."""

    arrivals: str | None
    service: str | None
    mean_s: float | None
    count: int

    @property
    def words(self) -> list[str]:
        """Which options ask for it."""
        return [word for word, said in (("--arrivals", self.arrivals), ("--service", self.service)) if said]


@dataclass(frozen=True, slots=True)
class Wished:
    """The fleet and the load as typed; None: choose."""

    instances: int | None
    capacity: str | None
    speeds: str
    load: float | None
    mttf: str | None
    mttr: str


def trace_of(path: Path | None, invented: Invented, seed: int) -> Trace:
    """The trace that is meant. Raises BadTrace, Unclear, Fault."""
    from orchestrator.traces import read
    from orchestrator.traces.synthetic import synthetic

    if path is not None:
        if invented.words:
            raise Unclear(f"{path} has its own arrivals and run times; leave {' and '.join(invented.words)} out, or the trace")
        try:
            return read(path)
        except OSError as trouble:
            what = f"The trace {path} cannot be read ({trouble.strerror})."
            raise Fault(what, "Nothing was simulated.", "Name a .csv or .jsonl file.", code=BAD_USAGE) from None
    if not invented.words:
        raise Unclear("what is to be simulated? Name a trace, or invent one: --arrivals poisson --service exp --count 20000")
    arrivals, service = invented.arrivals or "poisson", invented.service or "exp"
    dice = Random(f"{seed}/synthetic")
    return synthetic(f"{arrivals} arrivals, {service} run times", invented.count, arrivals, service, invented.mean_s, dice)


def fitted(trace: Trace, wished: Wished, seed: int, *, made_up: bool = False) -> tuple[Trace, Fleet, float | None]:
    """The trace as the fleet will see it, the fleet, and by what times between arrivals were multiplied (None: left alone).

    Raises BadTrace, Unclear.
    """
    from orchestrator.sim.whatif.fleet import BadFleet, Fleet
    from orchestrator.sim.whatif.suggesting import capacity_for, instances_for
    from orchestrator.traces import capped, rescaled, spread

    load = INVENTED_LOAD if made_up and wished.load is None else wished.load
    if load is not None and load <= 0:
        raise Unclear(f"a load of {load:g} asks for nothing; write a share above 0, for example --load 0.9")
    capacity = capacity_for(trace) if wished.capacity is None else _capacity(wished.capacity)
    instances = wished.instances or (1 if made_up else instances_for(trace, capacity))
    mttf_s = None if wished.mttf is None else duration_s(wished.mttf)
    try:
        fleet = Fleet(instances, capacity, _speeds(wished.speeds), None, mttf_s, duration_s(wished.mttr))
    except BadFleet as fault:
        raise Unclear(str(fault)) from None
    trace = capped(trace, capacity)
    if load is None:
        return trace, fleet, None
    if not trace.timed:
        return spread(trace, load, capacity, fleet.machines, Random(f"{seed}/spread")), fleet, None
    trace, factor = rescaled(trace, load, capacity, fleet.machines)
    return trace, fleet, factor


def _capacity(text: str) -> dict[str, float]:
    """``cpu=8,mem_mb=32000``. Raises Unclear."""
    found: dict[str, float] = {}
    for name, amount in needs(word.strip() for word in text.split(",")).items():
        if isinstance(amount, tuple):
            raise Unclear(f"a machine has one amount of {name}, not a range")
        if not amount:
            raise Unclear(f"a machine without {name} need not name it; write for example --capacity slots=1, or cpu=8,gpu=2")
        found[name] = amount
    return found


def _speeds(text: str) -> tuple[float, ...]:
    """``1,1,0.25``. Raises Unclear."""
    try:
        return tuple(float(word) for word in text.split(","))
    except ValueError:
        raise Unclear(f"{text!r} are no speeds; write for example --speeds 1,1,0.25") from None
