"""How a replay went, in the words and by the definitions of a simulation, so that the two can be laid side by side.

Law: times are the trace's, that is real ones multiplied by the speed. What the live system takes for itself is in them and is told
apart as well as it can be: ``overhead_s`` is the wait of the luckiest twentieth of all tasks, who found everything ready.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from orchestrator.replay.play import Lived, Played
from orchestrator.sim.whatif.figures import jain, mean, quantile
from orchestrator.traces.load import asks
from orchestrator.vocabulary import NS_PER_S


def account(played: Played, speed: float, capacity: Mapping[str, float], machines: int) -> dict[str, Any]:
    """All figures. ``capacity``: of one machine, ``machines``: how many there were."""
    lived = played.lived
    done = [one for one in lived if one.outcome == "done"]
    scale = speed / NS_PER_S
    waits = sorted(one.waited_ns * scale for one in done)
    responses = sorted((one.waited_ns + one.ran_ns) * scale for one in done)
    slow = sorted((one.waited_ns + one.ran_ns) * scale / one.task.runtime_s for one in done if one.task.runtime_s)
    outcomes: dict[str, int] = {}
    for one in lived:
        outcomes[one.outcome] = outcomes.get(one.outcome, 0) + 1
    first = min((one.accepted_ns for one in lived), default=0)
    span_s = (max((one.accepted_ns + one.waited_ns + one.ran_ns for one in lived), default=0) - first) * scale
    used = {
        name: sum(asks(one.task, capacity).get(name, 0.0) * one.ran_ns for one in lived) * scale / (amount * machines * span_s)
        for name, amount in capacity.items()
        if amount and span_s
    }
    return {
        "tasks": len(lived) + played.lost,
        **dict(sorted(outcomes.items())),
        "lost_sight_of": played.lost,
        "wait_s_mean": mean(waits),
        "wait_s_median": quantile(waits, 0.5),
        "wait_s_p99": quantile(waits, 0.99),
        "response_s_mean": mean(responses),
        "response_s_p99": quantile(responses, 0.99),
        "slowdown_mean": mean(slow),
        "slowdown_median": quantile(slow, 0.5),
        "slowdown_p99": quantile(slow, 0.99),
        "jain_tenants": jain(_served(done)),
        "utilisation": max(used.values(), default=0.0),
        "attempts": sum(one.attempts for one in lived),
        "makespan_s": span_s,
        "took_s": span_s / speed,
        "overhead_s": quantile(waits, 0.05),
        "lag_s": played.lag_ns * scale,
    }


def write_tasks(path: Path, played: Played, speed: float) -> None:
    """How each task fared, as ``simulate --tasks`` writes it: id, submit_s, start_s, finish_s; in the order of the trace.

    When a task that yielded and went on first started, no result says: it is told as if it had run in one piece, at the end.
    """
    scale = speed / NS_PER_S
    first = min((one.accepted_ns - one.task.submit_s / scale for one in played.lived), default=0.0)
    with path.open("w", encoding="utf-8", newline="") as text:
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(("id", "submit_s", "start_s", "finish_s"))
        for one in sorted(played.lived, key=lambda one: (one.task.submit_s, one.task.id)):
            submit_s = (one.accepted_ns - first) * scale
            start_s = submit_s + one.waited_ns * scale
            cells = (submit_s, start_s, start_s + one.ran_ns * scale) if one.outcome == "done" else (submit_s, None, None)
            writer.writerow((one.task.id, *("" if cell is None else f"{cell:.6f}" for cell in cells)))


def _served(done: Iterable[Lived]) -> list[float]:
    """By tenant: which share of its tasks' time in the system they ran."""
    ran: dict[str, int] = {}
    were: dict[str, int] = {}
    for one in done:
        tenant = one.task.tenant
        ran[tenant] = ran.get(tenant, 0) + one.ran_ns
        were[tenant] = were.get(tenant, 0) + one.waited_ns + one.ran_ns
    return [ran[tenant] / were[tenant] for tenant in ran if were[tenant]]
