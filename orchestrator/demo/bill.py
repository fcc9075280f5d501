"""The bill: what was asked, what was done, and what the witness says of it."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from orchestrator.demo.facts import Facts
from orchestrator.demo.witness import Kill, Line, judge
from orchestrator.wire.messages import Result


@dataclass(frozen=True, slots=True)
class Bill:
    """What the demo ends with."""

    submitted: int
    done: int
    lost: int
    """Accepted tasks without a result, or said to be done though nobody saw them run."""
    twice: int
    """Tasks whose handler was completed twice, or ran at two places at once."""
    failed: int
    reassign_ms: float | None
    """From SIGKILL to the start, elsewhere, of the first task that the dead process was in the middle of."""
    wait_ms_mean: float | None
    wait_ms_p99: float | None
    """From accepted to started, by the results."""
    attempts: int
    """Handlers that started."""
    instances: dict[str, int]
    """Tasks done by each."""
    kills: list[dict[str, Any]]
    elapsed_s: float
    """From the first submission to the last result."""
    files: int
    facts: Facts = field(default_factory=dict)

    @property
    def clean(self) -> bool:
        """Whether every promise was kept."""
        return self.done == self.submitted and self.lost == 0 and self.twice == 0

    def as_dict(self) -> dict[str, Any]:
        """All of it, as plain data."""
        return asdict(self)


def bill_of(
    submitted: Collection[str],
    results: dict[str, Result],
    seen: Sequence[Line],
    kills: Sequence[Kill],
    *,
    files: int,
    elapsed_s: float,
    facts: Facts,
) -> Bill:
    """Add it all up: ``submitted`` names the accepted tasks, ``results`` what came back, ``seen`` what the witness wrote."""
    done = {task for task, result in results.items() if result.outcome == "done"}
    verdict = judge(list(seen), done, kills)
    missing = set(submitted) - set(results)
    waits = sorted(
        (result.started_ns - result.accepted_ns) / 1e6 for result in results.values() if result.started_ns and result.accepted_ns
    )
    return Bill(
        submitted=len(submitted),
        done=len(done),
        lost=len(missing | set(verdict.unseen)),
        twice=len(verdict.twice),
        failed=len(results) - len(done),
        reassign_ms=verdict.reassign_ms,
        wait_ms_mean=round(statistics.fmean(waits), 3) if waits else None,
        wait_ms_p99=round(waits[min(len(waits) - 1, len(waits) * 99 // 100)], 3) if waits else None,
        attempts=verdict.attempts,
        instances=dict(sorted(Counter(result.instance for result in results.values()).items())),
        kills=[
            {"instance": kill.instance, "pid": kill.pid, "moved": len(verdict.moved), "stuck": len(verdict.stuck)} for kill in kills
        ],
        elapsed_s=round(elapsed_s, 3),
        files=files,
        facts=facts,
    )  # fmt: skip
