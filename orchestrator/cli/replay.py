"""A trace lived through once more, by the real system, faster: what simulation says, checked."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from orchestrator.cli.act import kinds_of
from orchestrator.cli.asked import Wished, fitted
from orchestrator.cli.faults import BAD_USAGE, Fault
from orchestrator.cli.frame import ANSWER_WITHIN_S, Call, command
from orchestrator.cli.where import CONNECT_WITHIN_S
from orchestrator.cli.words import Unclear

if TYPE_CHECKING:
    from rich.console import RenderableType

    from orchestrator.replay.play import Played
    from orchestrator.sim.whatif.fleet import Fleet
    from orchestrator.traces import Trace

SHORT_S = 0.02
"""A mean run below this is not much longer than what the system itself takes for a task: the figures say little."""
LATE_SHARE = 0.05
"""A submission late by more than this share of the mean wait bends the result."""


def register(app: typer.Typer) -> None:
    """Add this command to ``app``."""
    example = "orchestrator replay day.csv.gz --speed 500 --instances 10 --capacity slots=4 --load 0.9 --policy sjf"
    command(app, "replay", example=example, panel="What if")(replay)


def replay(
    call: Call,
    trace: Annotated[Path, typer.Argument(metavar="TRACE", help="A .csv or .jsonl, or either with .gz", show_default=False)],
    speed: Annotated[float, typer.Option(metavar="N", help="So many times as fast as it was")] = 1.0,
    instances: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, max=1000, help="Instances of each service in the trace [as many as keep up with it]"),
    ] = None,
    capacity: Annotated[
        str | None,
        typer.Option(metavar="R=X,…", help="What one has: slots=1, or cpu=8,mem_mb=32000,gpu=2 [as the trace's demands ask]"),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(metavar="N", min=0, max=1000, help="So many of them sleep here, the others elsewhere [all]")
    ] = None,
    serve: Annotated[bool, typer.Option("--serve", help="Only sleep, until Ctrl-C, for a replay started elsewhere")] = False,
    load: Annotated[
        float | None,
        typer.Option(metavar="SHARE", help="Stretch or squeeze arrivals so that this share of the fleet is asked for: 0.9"),
    ] = None,
    policy: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="For these tasks alone: an ordering, a placement, an allocation")
    ] = None,
    placement: Annotated[str | None, typer.Option(metavar="NAME", help="Which instance")] = None,
    allocation: Annotated[str | None, typer.Option(metavar="NAME", help="How much")] = None,
    estimates: Annotated[
        Literal["exact", "hint", "learned"],
        typer.Option(help="What the coordinator is told of run times: the truth, what users said (estimate_s), nothing"),
    ] = "exact",
    seed: Annotated[int, typer.Option(metavar="N", help="For workflows without arrival times, which come at random")] = 0,
    compare: Annotated[bool, typer.Option("--compare", help="Simulate the same, and lay it beside")] = False,
    tasks: Annotated[
        Path | None, typer.Option(metavar="FILE.csv", help="Write each task's submit_s, start_s, finish_s", dir_okay=False)
    ] = None,
) -> int:
    """Submit a trace to the live system at its own times, faster.

    Agents that sleep as long as each task ran take it: real ones in everything but the work. All times of the trace are divided by
    --speed, and settings of policies that are lengths of time too; what is measured is multiplied again, so that it can be laid
    beside what `orchestrator simulate` says of the same trace. Tasks go to services of their own (`trace`, `trace-…`): the
    services that the trace names are left alone. Exit code 1 if a task did not end as done.
    """
    from asyncio import Runner

    from orchestrator.traces import load_of
    from workers.live.agency import new_loop

    if not 0 < speed <= 1e6:
        raise Unclear(f"--speed {speed:g}: it must be above 0 and at most a million")
    if serve and (idle := [name for name, said in {
        "--speed": speed != 1.0, "--policy": policy, "--placement": placement, "--allocation": allocation,
        "--estimates": estimates != "exact", "--compare": compare, "--tasks": tasks, "--json": call.json,
    }.items() if said]):  # fmt: skip
        raise Unclear(f"with --serve nothing is submitted here: say {', '.join(idle)} where the replay is started")
    asked, fleet, factor = fitted(_read(trace), Wished(instances, capacity, "1", load, None, "0"), seed)
    here = fleet.instances if workers is None else min(workers, fleet.instances)
    url = call.found.url
    if serve:
        with Runner(loop_factory=new_loop) as runner:
            runner.run(_serve(url, asked, here, fleet.offered))
        return 0
    known = call.ask("policy")
    named = kinds_of([one for one in (*(policy or []), placement, allocation) if one], known["known"])
    told: dict[str, Any] = {
        "trace": asked.name,
        "speed": speed,
        "instances": fleet.instances,
        "capacity": dict(fleet.capacity),
        "load": load_of(asked, fleet.capacity, fleet.machines),
        "arrivals_stretched": factor,
        "estimates": estimates,
        "seed": seed,
        "policies": {**known["now"], **named},
    }
    with Runner(loop_factory=new_loop) as runner:
        played = runner.run(_played(url, asked, told, here, fleet.offered))
    told |= _figures(played, told, len(_offers(asked)))
    if compare:
        told["simulated"] = _simulated(asked, fleet, told)
    if tasks is not None:
        from orchestrator.replay.account import write_tasks

        write_tasks(tasks, played, speed)
    told["notes"] = [*asked.notes, *_notes(asked, told)]
    call.answer(told, lambda: replay_view(told))
    return 0 if told.get("done", 0) == told["tasks"] else 1


def _read(path: Path) -> Trace:
    from orchestrator import traces

    try:
        return traces.read(path)
    except OSError as trouble:
        what = f"The trace {path} cannot be read ({trouble.strerror})."
        raise Fault(what, "Nothing was submitted.", "Name a .csv or .jsonl file.", code=BAD_USAGE) from None


def _simulated(trace: Trace, fleet: Fleet, told: Mapping[str, Any]) -> dict[str, Any]:
    """The same in virtual time."""
    from orchestrator.live.plugins import catalogue
    from orchestrator.sim.whatif.asking import ask
    from orchestrator.sim.whatif.question import Question

    return dict(ask(trace, fleet, Question(told["policies"], catalogue(), told["estimates"], seed=told["seed"])).figures)


def _offers(trace: Trace) -> Mapping[str, list[str]]:
    from orchestrator.replay.pace import offers

    return offers(trace)


def _figures(played: Played, told: Mapping[str, Any], services: int) -> dict[str, Any]:
    from orchestrator.replay.account import account

    return account(played, told["speed"], told["capacity"], told["instances"] * services)


async def _serve(url: str, trace: Trace, here: int, offered: Mapping[str, float]) -> None:
    """Sleep until interrupted."""
    import asyncio
    import signal

    from orchestrator.replay.sleepers import Sleepers

    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with Sleepers(url, _offers(trace), here, offered, log_level="info"):
        await stop.wait()


async def _played(url: str, trace: Trace, told: Mapping[str, Any], here: int, offered: Mapping[str, float]) -> Played:
    """Agents, policies, submissions; and everything put back as it was."""
    from contextlib import AsyncExitStack

    from orchestrator.client import Client
    from orchestrator.replay import pace
    from orchestrator.replay.play import play, ready
    from orchestrator.replay.sleepers import Sleepers

    offers = pace.offers(trace)
    plan = pace.plan(trace, told["speed"], told["estimates"], f"replay-{secrets.token_hex(6)}")
    async with Client(url, name="orchestrator replay", connect_within=CONNECT_WITHIN_S) as client, AsyncExitStack() as stack:
        if here:
            await stack.enter_async_context(Sleepers(url, offers, here, offered))
        there = await ready(client, list(offers), told["instances"])
        if min(there.values()) < told["instances"]:
            raise _too_few(there, told["instances"])
        scaled = {kind: pace.scaled(kind, spec, told["speed"]) for kind, spec in told["policies"].items()}
        for shard, service in product(await client.shards(), offers):
            stack.push_async_callback(client.ask, "policy", service=service, shard=shard, reset=True, timeout_s=ANSWER_WITHIN_S)
            await client.ask("policy", service=service, shard=shard, timeout_s=ANSWER_WITHIN_S, **scaled)
        with _shown(len(trace.tasks)) as tell:
            return await play(client, plan, tell)


def _too_few(there: Mapping[str, int], wanted: int) -> Fault:
    found = ", ".join(f"{number} of {service}" for service, number in there.items() if number < wanted)
    return Fault(
        f"{wanted} instances of each service are wanted, and there are {found}.",
        "Nothing was submitted.",
        "Let --workers start them here, or look at `orchestrator services` for what those that are there wait for.",
    )


@contextmanager
def _shown(count: int) -> Iterator[Callable[[int, int], None]]:
    """How far it is, on stderr, if that is a terminal."""
    from rich.progress import BarColumn, Progress, TextColumn

    from orchestrator.cli.show import console

    screen = console(sys.stderr)
    columns = (TextColumn("replaying"), BarColumn(), TextColumn("{task.fields[told]}"))
    with Progress(*columns, console=screen, transient=True, disable=not screen.is_terminal) as bar:
        line = bar.add_task("", total=count, told="")

        def tell(submitted: int, ended: int) -> None:
            bar.update(line, completed=ended, told=f"{submitted:,} of {count:,} submitted, {ended:,} ended")

        yield tell


def _notes(trace: Trace, told: Mapping[str, Any]) -> Iterator[str]:
    """What whoever believes these figures should know."""
    from orchestrator.cli.show import span

    if told["arrivals_stretched"] is not None:
        yield f"times between arrivals were multiplied by {told['arrivals_stretched']:.4g} to reach the load"
    short_s = sum(task.runtime_s for task in trace.tasks) / len(trace.tasks) / told["speed"]
    if short_s < SHORT_S:
        yield f"at this speed a task runs {span(short_s)} on average: what the system takes for itself counts much; use less speed"
    if told["lag_s"] > LATE_SHARE * max(told["wait_s_mean"], 1e-9) and told["lag_s"] > 0.01 * told["speed"]:
        yield f"submissions left up to {span(told['lag_s'] / told['speed'])} late: this machine could not keep up; use less speed"
    if told["lost_sight_of"]:
        yield f"of {told['lost_sight_of']} tasks the end was not heard; they are not in the figures"
    if told["estimates"] == "learned":
        yield "the coordinator also remembers what it learned of these types before"


def replay_view(told: dict[str, Any]) -> list[RenderableType]:
    """For people; beside the simulation, if one was asked for."""
    from orchestrator.cli.show import cell, facts, load, span, table

    own_s = told["overhead_s"]
    amounts = ", ".join(f"{name}={amount:g}" for name, amount in told["capacity"].items())
    head = facts([
        ("trace", f"{told['trace']}, {told['tasks']:,} tasks, at {told['speed']:g} times its speed in {span(told['took_s'])}"),
        ("fleet", f"{told['instances']} instances of each service with {amounts}; load: {load(told['load'])}"),
        ("policies", ", ".join(f"{kind} {name}" for kind, name in told["policies"].items())),
        ("ended", ", ".join(f"{told[name]:,} {name}" for name in OUTCOMES if told.get(name))),
        ("overhead", f"{span(own_s)} of each wait is the system's own: {span(own_s / told['speed'])} live"),
    ])  # fmt: skip
    simulated = told.get("simulated")
    rows = []
    for name, called, shown in FIGURES:
        row = [called, _shown_as(shown, told[name])]
        if simulated is not None:
            said = simulated[name]
            row += [_shown_as(shown, said), f"{told[name] / said - 1:+.1%}" if said else ""]
        rows.append(row)
    columns = ["", "live", *(["simulated", "off by"] if simulated is not None else [])]
    return [head, table(columns, rows, right=columns[1:]), *(cell(f"Note: {note}.") for note in told["notes"])]


def _shown_as(form: str, value: float) -> str:
    from orchestrator.cli.show import span

    return span(value) if form == "span" else f"{value:.1%}" if form == "share" else f"{value:.4g}"


FIGURES = (
    ("wait_s_mean", "wait, mean", "span"),
    ("wait_s_median", "median", "span"),
    ("wait_s_p99", "p99", "span"),
    ("response_s_mean", "response, mean", "span"),
    ("response_s_p99", "p99", "span"),
    ("slowdown_mean", "slowdown, mean", ""),
    ("slowdown_median", "median", ""),
    ("slowdown_p99", "p99", ""),
    ("jain_tenants", "tenants, Jain", ""),
    ("utilisation", "busy", "share"),
    ("makespan_s", "makespan", "span"),
)
OUTCOMES = ("done", "failed", "expired", "cancelled", "refused", "skipped")
