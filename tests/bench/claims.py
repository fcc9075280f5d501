"""What the benchmark must show, each as a figure, a bound, and whether it holds.

Law: a claim is judged on one run's medians, against others in the same run; where somebody whom it is compared with was not
measured, nothing is claimed. A bound is stated here once and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tests.bench.workloads import OURS, PEERS

Rows = Mapping[str, Mapping[str, float]]
"""Figures by contestant."""
Reckon = Callable[[Rows, "Claim"], tuple[float, str] | None]
"""The figure, and what it was compared with; none: it was not measured."""


@dataclass(frozen=True)
class Claim:
    """One line of what must be shown."""

    workload: str
    what: str
    figure: str
    """Of ours, as the workload calls it."""
    reckon: Reckon
    bound: float
    least: bool = False
    """The figure must not be below the bound; else not above."""


def _itself(rows: Rows, claim: Claim) -> tuple[float, str] | None:
    return rows[OURS][claim.figure], ""


def _over(other: str) -> Reckon:
    def reckon(rows: Rows, claim: Claim) -> tuple[float, str] | None:
        return (rows[OURS][claim.figure] / rows[other][claim.figure], other) if other in rows else None

    return reckon


def _over_best(rows: Rows, claim: Claim) -> tuple[float, str] | None:
    peers = {name: row[claim.figure] for name, row in rows.items() if name in PEERS}
    if not peers:
        return None
    best = (max if claim.least else min)(peers, key=peers.__getitem__)
    return rows[OURS][claim.figure] / peers[best], best


CLAIMS = (
    Claim("a", "no-op tasks a second", "tasks_per_s", _itself, 20_000, least=True),
    Claim("a", "times the best peer's throughput", "tasks_per_s", _over_best, 8, least=True),
    Claim("a", "times Celery's throughput", "tasks_per_s", _over("celery"), 20, least=True),
    Claim("a1", "tasks a second, one task a message", "tasks_per_s", _itself, 4_000, least=True),
    Claim("b", "times the bare hops' p50 when idle", "p50_ms", _over("relay"), 1.3),
    Claim("b", "times Celery's p50 when idle", "p50_ms", _over("celery"), 1.75),
    Claim("c", "times the best peer's mean completion, heavy tail", "mean_s", _over_best, 0.5),
    Claim("d", "times the best peer's p99, one slow instance", "p99_s", _over_best, 0.5),
    Claim("e", "MB at most for the coordinator, burst drained", "coordinator_peak_mb", _itself, 300),
    Claim("f", "times the CPU bound, hashing", "seconds", _over("bare"), 1.03),
    Claim("f1", "times the CPU bound, hashing four times as long", "seconds", _over("bare"), 1.03),
    Claim("idle", "MB for an idle coordinator", "coordinator_mb", _itself, 80),
    Claim("idle", "of a core for an idle coordinator", "coordinator_cores", _itself, 0.02),
    Claim("idle", "MB for an idle agent", "instance_mb", _itself, 60),
    Claim("idle", "of a core for an idle agent", "instance_cores", _itself, 0.01),
)


def judged(workloads: Mapping[str, Rows]) -> Iterator[dict[str, Any]]:
    """Every claim on these figures (by workload, then contestant); ``holds`` is None where it could not be judged."""
    for claim in CLAIMS:
        rows = workloads.get(claim.workload)
        if rows is None:
            continue
        found = claim.reckon(rows, claim) if OURS in rows and claim.figure in rows[OURS] else None
        told: dict[str, Any] = {"workload": claim.workload, "what": claim.what, "bound": claim.bound, "least": claim.least}
        if found is None:
            yield told | {"figure": None, "against": "", "holds": None}
        else:
            holds = found[0] >= claim.bound if claim.least else found[0] <= claim.bound
            yield told | {"figure": found[0], "against": found[1], "holds": holds}
