"""The report for people: a table a workload, and what each contestant promises."""

from __future__ import annotations

from typing import Any

from rich.console import RenderableType
from rich.table import Table

from tests.bench.workloads import OURS

_SHOWN = {
    "tasks": "tasks", "tasks_per_s": "tasks/s", "p50_ms": "p50 ms", "p99_ms": "p99 ms", "mean_s": "mean s", "p99_s": "p99 s",
    "seconds": "s",
    "producer_us": "producer µs", "coordinator_us": "coordinator µs", "instance_us": "workers µs", "broker_us": "broker µs",
    "coordinator_peak_mb": "coordinator peak MB", "coordinator_cores": "coordinator cores", "coordinator_mb": "MB",
    "instance_cores": "instance cores", "instance_mb": "MB",
}  # fmt: skip
"""Columns. µs: CPU time a task, of all processes of that role together."""


def tables(report: dict[str, Any]) -> list[RenderableType]:
    """What ``Suite.run`` returned."""
    told = report["machine"]
    out: list[RenderableType] = [
        f"{told['cores']} cores, {told['system']}, Python {told['python']}, RabbitMQ {told['rabbitmq']}, "
        f"load {told['load_1min']:.1f}; {_rounds(report['rounds'])}{' (quick: small sizes)' if report['quick'] else ''}",
        ", ".join(f"{name} {version}" for name, version in told["peers"].items()),
    ]
    for workload in report["workloads"]:
        if workload["results"]:
            out += ["", _table(workload)]
    out += ["", _promises(report["contestants"])]
    if report["claims"]:
        out += ["", _claims(report["claims"])]
    out += [f"not measured: {name}: {why}" for name, why in report["missing"].items()]
    out += [f"failed: {one['peer']} in round {one['round']} ({one['layout']}): {one['why']}" for one in report["failures"]]
    return out


def _rounds(number: int) -> str:
    return "one round" if number == 1 else f"medians of {number} rounds"


def _table(workload: dict[str, Any]) -> Table:
    results = workload["results"]
    columns = list(dict.fromkeys(what for row in results.values() for what in row if what in _SHOWN))
    table = Table(
        "", *(_SHOWN[what] for what in columns), "ours / this",
        title=f"({workload['workload']}) {workload['title']}; {workload['layout']}", title_justify="left",
    )  # fmt: skip
    better = workload["better"] == "more"
    for name in sorted(results, key=lambda name: results[name][workload["figure"]], reverse=better):
        ratio = workload.get("ours_over", {}).get(name)
        cells = [_figure(results[name].get(what)) for what in columns]
        table.add_row(name, *cells, "" if ratio is None else f"{ratio:.2f}", style="bold" if name == OURS else None)
    return table


def _promises(contestants: dict[str, Any]) -> Table:
    table = Table("", "set up so that", "cannot", title="What each was told to promise", title_justify="left")
    for name, about in contestants.items():
        table.add_row(name, about["promises"], about["lacks"])
    return table


def _claims(claims: list[dict[str, Any]]) -> Table:
    table = Table("", "", "figure", "must be", "holds", title="What must be shown", title_justify="left")
    for one in claims:
        against = f" ({one['against']})" if one["against"] else ""
        wanted = f"{'≥' if one['least'] else '≤'} {one['bound']:,g}"
        holds = {True: "yes", False: "NO", None: "not measured"}[one["holds"]]
        table.add_row(one["workload"], one["what"] + against, _figure(one["figure"]), wanted, holds)
    return table


def _figure(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
