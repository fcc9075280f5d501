"""The report as a picture: ``python plot.py FILE.png < report.json``. Runs where matplotlib is (the peers' environment)."""

from __future__ import annotations

import json
import sys
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot

OURS, FLOOR, PEER = "#1b6ca8", "#b9bec4", "#d98c3f"


def draw(report: dict[str, Any], path: str) -> None:
    """A panel a workload, the best on top."""
    workloads = [one for one in report["workloads"] if len(one["results"]) > 1]
    columns = 2
    rows = max(1, -(-len(workloads) // columns))
    figure, axes = pyplot.subplots(rows, columns, figsize=(13, 3.2 * rows), squeeze=False)
    for axis in axes.flat[len(workloads) :]:
        axis.set_visible(False)
    for axis, workload in zip(axes.flat, workloads, strict=False):
        _panel(axis, workload)
    told, rounds = report["machine"], report["rounds"]
    figure.suptitle(
        f"{told['cores']} cores, Python {told['python']}, RabbitMQ {told['rabbitmq']}; "
        + ("one round" if rounds == 1 else f"medians of {rounds} interleaved rounds")
    )
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def _panel(axis: Any, workload: dict[str, Any]) -> None:
    what, more = workload["figure"], workload["better"] == "more"
    results = sorted(workload["results"].items(), key=lambda one: one[1][what], reverse=not more)
    values = [row[what] for _, row in results]
    colours = [OURS if name == "ours" else FLOOR if name in ("relay", "bare") else PEER for name, _ in results]
    bars = axis.barh([name for name, _ in results], values, color=colours)
    axis.bar_label(bars, [f" {value:,.0f}" if value >= 100 else f" {value:.3g}" for value in values], fontsize=8)
    axis.set_xlim(right=max(values) * 1.15)
    axis.set_title(f"({workload['workload']}) {workload['title']}", fontsize=9, loc="left")
    axis.set_xlabel(f"{what.replace('_per_s', '/s').replace('_', ' ')} ({'more' if more else 'less'} is better)", fontsize=8)
    axis.spines[["top", "right"]].set_visible(False)


if __name__ == "__main__":
    draw(json.load(sys.stdin), sys.argv[1])
