"""The run: rounds, in each everybody once, in turn.

Law: figures are compared within one run only. A round plays all contestants on one layout after another, each round beginning with
another one, so that whatever else the machine does hits them alike; what counts is the median of the rounds.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from statistics import median
from typing import Any, NamedTuple

from tests.bench.claims import judged
from tests.bench.machine import machine
from tests.bench.stage import Hosts, PeerFailed, broker, playing, python_of
from tests.bench.workloads import OURS, PEERS, Layout, Workload

Say = Callable[[str], None]

_VERSIONS = """
import json, sys
from importlib.metadata import PackageNotFoundError, version
told = {}
for name in sys.argv[1:]:
    try:
        told[name] = version(name)
    except PackageNotFoundError:
        pass
print(json.dumps(told))
"""


STARTS_S = 6.0
"""To start a contestant and to end it, roughly."""
QUICK = 0.35
"""What is left of the time with small sizes."""


class Play(NamedTuple):
    """One contestant on stage."""

    number: int
    """Of the round."""
    layout: Layout
    name: str
    workloads: list[Workload]


def _minutes(span_s: float) -> str:
    return f"{span_s / 60:.0f} min" if span_s >= 90 else f"{span_s:.0f} s"


class Suite:
    """Measures ``workloads`` with ``contestants``, of whom some are ``missing`` (name: why)."""

    def __init__(
        self,
        workloads: Sequence[Workload],
        contestants: Sequence[str],
        rounds: int,
        quick: bool,
        peers_python: str,
        say: Say,
        missing: Mapping[str, str] | None = None,
    ) -> None:
        self._workloads = workloads
        self._missing = missing or {}
        self._contestants = [name for name in contestants if name not in self._missing]
        self._rounds = rounds
        self._quick = quick
        self._python = peers_python
        self._say = say
        self._seen: dict[tuple[str, str], list[dict[str, float]]] = defaultdict(list)
        self.about: dict[str, dict[str, Any]] = {}
        self.failures: list[dict[str, Any]] = []

    async def run(self) -> dict[str, Any]:
        """All rounds; returns the report."""
        plays = list(self._plays())
        left_s = sum(map(self._takes_s, plays))
        self._say(f"{len(plays)} plays in {self._rounds} rounds, about {_minutes(left_s)} in all")
        pace, began = 1.0, time.monotonic()
        planned_s = 0.0
        async with broker(len(plays), self._say) as (hosts, version):
            for at, play in enumerate(plays):
                number, layout, name, workloads = play
                letters = ", ".join(one.letter for one in workloads)
                left = f"about {_minutes(left_s * pace)} left"
                self._say(f"{at + 1}/{len(plays)} round {number + 1}: {name} plays {letters} ({layout.name}); {left}")
                await self._play(name, workloads, hosts, number)
                planned_s += self._takes_s(play)
                left_s -= self._takes_s(play)
                pace = (time.monotonic() - began) / planned_s
        return self._report(version)

    def _plays(self) -> Iterator[Play]:
        """Who plays what, in turn: each round another one begins."""
        layouts = [(layout, list(group)) for layout, group in groupby(self._workloads, key=lambda one: one.layout)]
        for number in range(self._rounds):
            turn = number % max(1, len(self._contestants))
            for layout, workloads in layouts:
                for name in (*self._contestants[turn:], *self._contestants[:turn]):
                    mine = [one for one in workloads if name in one.who and number < one.rounds_max]
                    if mine:
                        yield Play(number, layout, name, mine)

    def _takes_s(self, play: Play) -> float:
        return STARTS_S + sum(one.takes_s for one in play.workloads) * (QUICK if self._quick else 1.0)

    async def _play(self, name: str, workloads: list[Workload], hosts: Hosts, number: int) -> None:
        layout = workloads[0].layout
        try:
            async with hosts.next() as url, playing(name, python_of(name, self._python), url, layout) as (played, about):
                self.about.setdefault(name, {"promises": about["promises"], "lacks": about["lacks"]})
                for workload in workloads:
                    order = workload.order(name, self._quick)
                    await played.told({"do": "usage"})
                    before_s = hosts.broker_cpu_s()
                    answer = await played.told(order)
                    if workload.usage:
                        answer |= await played.told({"do": "usage"})
                        answer["usage"]["broker"] = {"cpu_s": hosts.broker_cpu_s() - before_s}
                    self._seen[workload.letter, name].append(workload.judge(order, answer))
        except PeerFailed as failed:
            self._say(f"failed: {failed}")
            self.failures.append({"peer": name, "round": number + 1, "layout": layout.name, "why": str(failed)})

    def _report(self, version: str) -> dict[str, Any]:
        sums = [self._sums(workload) for workload in self._workloads]
        return {
            "machine": machine() | {"rabbitmq": version, "peers": _versions(self._python)},
            "rounds": self._rounds,
            "quick": self._quick,
            "contestants": self.about,
            "workloads": sums,
            "claims": list(judged({one["workload"]: one["results"] for one in sums})),
            "missing": dict(self._missing),
            "failures": self.failures,
        }

    def _sums(self, workload: Workload) -> dict[str, Any]:
        rows: dict[str, dict[str, Any]] = {}
        for name in self._contestants:
            rounds = self._seen.get((workload.letter, name))
            if rounds:
                figures = {what: median(one[what] for one in rounds) for what in rounds[0]}
                rows[name] = {**figures, "rounds": [one[workload.figure] for one in rounds]}
        told = {
            "workload": workload.letter, "title": workload.title, "layout": workload.layout.name, "figure": workload.figure,
            "better": workload.better, "results": rows,
        }  # fmt: skip
        if OURS in rows:
            told["ours_over"] = {
                name: rows[OURS][workload.figure] / row[workload.figure] for name, row in rows.items() if name != OURS
            }
            best = max if workload.better == "more" else min
            peers = {name: row[workload.figure] for name, row in rows.items() if name in PEERS}
            told["best_peer"] = best(peers, key=lambda name: peers[name]) if peers else None
        return told


def _versions(python: str) -> dict[str, str]:
    names = ["celery", "kombu", "dramatiq", "pika", "taskiq", "taskiq-aio-pika", "faststream", "distributed", "ray", "aio-pika"]
    done = subprocess.run([python, "-c", _VERSIONS, *names], capture_output=True, text=True, check=True)
    versions: dict[str, str] = json.loads(done.stdout)
    return versions
