"""What if? - a trace under several policies, in virtual time, through the same cores that run live. No broker is asked."""

from __future__ import annotations

import csv
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from orchestrator.cli.asked import Invented, Wished, fitted, trace_of
from orchestrator.cli.frame import Call, command
from orchestrator.cli.words import Unclear, duration_s

if TYPE_CHECKING:
    from rich.console import RenderableType

    from orchestrator.policies import Catalogue, Kind
    from orchestrator.sim.whatif.asking import Answer
    from orchestrator.sim.whatif.fleet import Fleet
    from orchestrator.sim.whatif.question import Question
    from orchestrator.traces import Trace

ORDERING = "priority"
"""What the coordinator itself begins with."""
COLUMNS = (
    ("wait_s_mean", "wait", "mean"),
    ("wait_s_p99", "wait", "p99"),
    ("slowdown_mean", "slowdown", "mean"),
    ("slowdown_median", "slowdown", "median"),
    ("slowdown_p99", "slowdown", "p99"),
    ("utilisation", "busy", ""),
    ("jain_tenants", "tenants", "Jain"),
    ("preemptions", "preempted", ""),
    ("starved", "starved", ""),
    ("backlog_end", "backlog", "at end"),
    ("makespan_s", "makespan", ""),
)
"""Figures in the table: which, and what stands above it."""

Trace_ = Annotated[
    Path | None,
    typer.Argument(
        metavar="[TRACE]", help="A trace: .csv or .jsonl (workflows), also .gz. None: invent one (--arrivals, --service)"
    ),
]


def register(app: typer.Typer) -> None:
    """Add this command to ``app``."""
    examples = (
        "orchestrator simulate week.csv.gz --policy fifo --policy sjf --policy srtf --instances 20 --capacity slots=4 --load 0.9"
    )
    command(app, "simulate", example=examples, panel="What if", common=("json", "debug"))(simulate)


def simulate(
    call: Call,
    trace: Trace_ = None,
    policy: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="An ordering, may be repeated: fifo, sjf, srtf, dps:ageing=1h, … [priority]"),
    ] = None,
    placement: Annotated[
        str | None, typer.Option(metavar="NAME", help="Which instance: least_loaded, random, … [least_loaded]")
    ] = None,
    allocation: Annotated[str | None, typer.Option(metavar="NAME", help="How much: msa, mra, … [msa]")] = None,
    instances: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Machines, of each service in the trace [as many as keep up with the trace]"),
    ] = None,
    capacity: Annotated[
        str | None,
        typer.Option(metavar="R=X,…", help="What one has: slots=1, or cpu=8,mem_mb=32000,gpu=2 [as the trace's demands ask]"),
    ] = None,
    speeds: Annotated[str, typer.Option(metavar="X,…", help="How fast they are, dealt out in turn: 1,1,0.25")] = "1",
    load: Annotated[
        float | None,
        typer.Option(metavar="SHARE", help="Stretch or squeeze arrivals so that this share of the fleet is asked for: 0.9"),
    ] = None,
    estimates: Annotated[
        Literal["exact", "hint", "learned"],
        typer.Option(help="What the coordinator knows of run times: the truth, what users said (estimate_s), what it learns"),
    ] = "exact",
    estimate_error: Annotated[
        float, typer.Option(metavar="SIGMA", min=0, help="What it is told is wrong by a factor exp(SIGMA·Z), Z normal")
    ] = 0.0,
    delay: Annotated[str, typer.Option(metavar="TIME", help="Every word takes so long, one way: 2ms")] = "0",
    mttf: Annotated[str | None, typer.Option(metavar="TIME", help="Machines fail, after so long on average: 8h")] = None,
    mttr: Annotated[str, typer.Option(metavar="TIME", help="and are back after so long on average")] = "5m",
    checkpoint_cost: Annotated[
        str, typer.Option(metavar="TIME", help="What a preempted task spends before it goes on from its checkpoint")
    ] = "0",
    arrivals: Annotated[
        str | None,
        typer.Option(metavar="PROCESS", help="Invent arrivals: poisson, deterministic, h2:SCV, mmpp[:RATIO,SHARE,LENGTH]"),
    ] = None,
    service: Annotated[
        str | None,
        typer.Option(metavar="LAW", help="Invent run times: exp, det, uniform:LOW,HIGH, lognormal:SCV, bpareto:LOW,HIGH,ALPHA, …"),
    ] = None,
    service_mean: Annotated[
        str | None, typer.Option(metavar="TIME", help="Mean of invented run times [1s, or the law's own]")
    ] = None,
    count: Annotated[int, typer.Option(metavar="N", min=1, help="How many tasks to invent")] = 20_000,
    warm_up: Annotated[int, typer.Option(metavar="N", min=0, help="Leave the first N arrivals out of all means")] = 0,
    seed: Annotated[int, typer.Option(metavar="N", help="Of all chance: the same seed, the same answer")] = 0,
    jobs: Annotated[int | None, typer.Option(metavar="N", min=1, help="Policies at a time [one per core]")] = None,
    tasks: Annotated[
        Path | None, typer.Option(metavar="FILE.csv", help="Write each task's submit_s, start_s, finish_s", dir_okay=False)
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw slowdowns and the backlog over time: .png or .svg", dir_okay=False)
    ] = None,
) -> None:
    """Ask what other policies or machines would have done.

    A trace, a fleet, and policies side by side. The coordinator and the agents that run live are run in virtual time: no broker,
    no waiting. Without --load arrivals are as the trace has them. Traces are also what `orchestrator record` writes of last week's
    traffic.

    Little's law and the conservation of work are checked on every run; a backlog that grew until the last arrival is pointed out,
    because means are then those of a fleet that is too small.
    """
    from orchestrator.live.plugins import catalogue
    from orchestrator.sim.whatif.asking import ask_all
    from orchestrator.sim.whatif.question import Question
    from orchestrator.vocabulary import ns

    invented = Invented(arrivals, service, None if service_mean is None else duration_s(service_mean), count)
    wished = Wished(instances, capacity, speeds, load, mttf, mttr)
    asked, fleet, factor = fitted(trace_of(trace, invented, seed), wished, seed, made_up=trace is None)
    if estimates == "hint" and all(task.estimate_s is None for task in asked.tasks):
        raise Unclear(f"the trace {asked.name} has no estimates of its users (estimate_s); take --estimates exact, or learned")
    orderings, known = list(dict.fromkeys(policy or [ORDERING])), catalogue()
    like = Question({}, known, estimates, estimate_error, ns(duration_s(delay)), ns(duration_s(checkpoint_cost)), seed)
    questions = {name: replace(like, policies=_policies(known, name, placement, allocation)) for name in orderings}
    if plot is not None:
        from orchestrator.cli.plot import can_draw

        can_draw(plot)
    with _progress(asked, orderings) as watch:
        came = dict(ask_all(asked, fleet, questions, warm_up, jobs or os.cpu_count() or 1, watch))
    answers = {name: came[name] for name in orderings}
    if tasks is not None:
        _write_tasks(tasks, asked, answers)
    if plot is not None:
        from orchestrator.cli.plot import draw

        draw(plot, asked, answers)
    told = _told(asked, fleet, questions[orderings[0]], factor, answers)
    call.answer(told, lambda: _view(told))


def _policies(known: Catalogue, ordering: str, placement: str | None, allocation: str | None) -> dict[str, str]:
    """What the coordinator is told. Raises Unclear."""
    from orchestrator.policies import BadPolicy

    said: tuple[tuple[Kind, str | None], ...] = (("ordering", ordering), ("placement", placement), ("allocation", allocation))
    try:
        return {kind: known.normal(kind, spec) for kind, spec in said if spec is not None}
    except BadPolicy as fault:
        raise Unclear(str(fault)) from None


@contextmanager
def _progress(trace: Trace, names: list[str]) -> Iterator[Callable[[str, int], None]]:
    """A bar per policy, on stderr, if somebody looks."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from orchestrator.cli.show import console

    screen = console(sys.stderr)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=screen, transient=True, disable=not screen.is_terminal) as bars:
        lines = {name: bars.add_task(name, total=len(trace.tasks)) for name in names}

        def watch(name: str, left: int) -> None:
            bars.update(lines[name], completed=len(trace.tasks) - left)

        yield watch


# --- what came of it --------------------------------------------------------------------------------------------------


def _write_tasks(path: Path, trace: Trace, answers: Mapping[str, Answer]) -> None:
    """When each task came, first ran and was done; blank: it did not. With several policies a column says which."""
    from orchestrator.traces.table import spelled

    def moment(at_ns: int) -> str:
        return "" if at_ns < 0 else spelled(at_ns / 1e9)

    several = len(answers) > 1
    with path.open("w", encoding="utf-8", newline="") as text:
        rows = csv.writer(text, lineterminator="\n")
        rows.writerow(("id", "submit_s", "start_s", "finish_s", *(("policy",) if several else ())))
        for name, answer in answers.items():
            for task, start_ns, finish_ns in zip(trace.tasks, answer.start_ns, answer.finish_ns, strict=True):
                rows.writerow((task.id, spelled(task.submit_s), moment(start_ns), moment(finish_ns), *((name,) if several else ())))


def _told(trace: Trace, fleet: Fleet, question: Question, factor: float | None, answers: Mapping[str, Answer]) -> dict[str, Any]:
    """The answer as data: what was asked, and per policy what came."""
    from orchestrator.traces import load_of

    return {
        "trace": trace.name,
        "tasks": len(trace.tasks),
        "instances": fleet.instances,
        "capacity": dict(fleet.capacity),
        "speeds": list(fleet.speeds),
        "load": load_of(trace, fleet.capacity, fleet.machines),
        "arrivals_stretched": factor,
        "estimates": question.estimates,
        "estimate_error": question.estimate_error,
        "delay_s": question.delay_ns / 1e9,
        "checkpoint_cost_s": question.checkpoint_cost_ns / 1e9,
        "mttf_s": fleet.mttf_s,
        "mttr_s": fleet.mttr_s if fleet.mttf_s is not None else None,
        "seed": question.seed,
        "placement": question.policies.get("placement"),
        "allocation": question.policies.get("allocation"),
        "notes": list(trace.notes),
        "policies": {name: dict(answer.figures) for name, answer in answers.items()},
    }


def _view(told: dict[str, Any]) -> list[RenderableType]:
    """The answer for people."""
    from rich.text import Text

    from orchestrator.cli.show import facts, load, span, table

    stretched = told["arrivals_stretched"]
    machine = ", ".join(f"{name}={amount:g}" for name, amount in told["capacity"].items())
    about = facts([
        ("trace", f"{told['trace']}: {told['tasks']:,} tasks"),
        ("fleet", f"{told['instances']} x {machine}" + ("" if told["speeds"] == [1.0] else f", speeds {told['speeds']}")),
        ("load", load(told["load"]) + (f" (times between arrivals x {stretched:.4g})" if stretched is not None else "")),
        ("estimates", told["estimates"] + (f", wrong by exp({told['estimate_error']:g} Z)" if told["estimate_error"] else "")),
        ("failures", None if told["mttf_s"] is None else f"every {span(told['mttf_s'])}, repaired in {span(told['mttr_s'])}"),
        ("note", "; ".join(told["notes"]) or None),
    ])  # fmt: skip
    heads = ["policy", *(f"{what}\n{which}" for _, what, which in COLUMNS)]
    rows = [[name, *(_cell(column, figures[column]) for column, _, _ in COLUMNS)] for name, figures in told["policies"].items()]
    growing = ", ".join(name for name, figures in told["policies"].items() if figures["growing"])
    warning = f"Many tasks still waited when the last one came ({growing}): more was asked than the fleet can do."
    late = [Text(f"{warning} Means depend on how long the trace is.", style="yellow")] if growing else []
    return [about, table(heads, rows, right=heads[1:]), *late]


def _cell(column: str, value: float) -> str:
    from orchestrator.cli.show import span

    if "_s_" in column or column.endswith("_s"):
        return span(value)
    if column == "utilisation":
        return f"{value:.1%}"
    return f"{value:,}" if isinstance(value, int) else f"{value:.3g}" if value < 100 else f"{value:,.0f}"
