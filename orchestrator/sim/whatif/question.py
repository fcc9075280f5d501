"""What is asked: which policies, told what, how far apart, with which dice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from orchestrator.core.config import Config
from orchestrator.policies import BUILT_IN, Catalogue
from orchestrator.traces import TraceTask
from orchestrator.vocabulary import Nanos
from workers.core import Limits

Estimates: TypeAlias = Literal["exact", "hint", "learned"]

FOREVER_NS: Nanos = 10**19
"""Three hundred years: longer than any trace."""

STRETCHED = Config(
    lease_ns=FOREVER_NS,
    beat_ns=FOREVER_NS,
    echo_ns=FOREVER_NS,
    tick_ns=FOREVER_NS,
    fresh_ns=FOREVER_NS,
    close_ns=FOREVER_NS,
    silent_ns=FOREVER_NS,
    deaf_ns=FOREVER_NS,
    backlog_max=10**9,
    ledger_bytes_max=2**60,
    results_bytes_max=2**20,
)
"""The coordinator's numbers where nobody dies in silence and the ledger has no end; all that decide about work are its own."""

PATIENT = Limits(beat_ns=FOREVER_NS, beat_jitter=0.0, started_ns=0)
"""The agents' numbers, likewise."""


@dataclass(frozen=True, slots=True)
class Question:
    """One run."""

    policies: Mapping[str, str]
    """``ordering``, ``placement``, ``allocation``, each as its spec; what is left out is the coordinator's default."""
    catalogue: Catalogue = BUILT_IN
    """What policies there are."""
    estimates: Estimates = "exact"
    """What the coordinator knows of run times: the truth; what the trace's users said, at its word; nothing, so it learns."""
    estimate_error: float = 0.0
    """What it is told is wrong by a factor ``exp(error * Z)``, Z normal: 0.5 is right within a factor 1.6 two times of three."""
    delay_ns: Nanos = 0
    """One way, between any two parties."""
    checkpoint_cost_ns: Nanos = 0
    """What a task that was preempted does again, or has to read in, when it goes on."""
    seed: int = 0

    @property
    def config(self) -> Config:
        """The coordinator's numbers."""
        return STRETCHED if self.estimates == "learned" else replace(STRETCHED, estimates="trust")

    def told(self, task: TraceTask) -> float | None:
        """How long the coordinator is told that this task will run, in seconds, but for the error; none: nothing."""
        match self.estimates:
            case "exact":
                return task.runtime_s
            case "hint":
                return task.estimate_s
            case "learned":
                return None
