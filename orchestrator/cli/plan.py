"""Planning: what queueing theory says about a fleet. Pure arithmetic: no broker is asked, nothing need run.

Rates are per second and times in seconds, or both in any other unit of time. A question without an answer (more work than the
servers can do, a rate of -1) is bad usage: exit code 2.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from orchestrator.cli.faults import BAD_USAGE, complain, explain
from orchestrator.cli.frame import Call
from orchestrator.cli.words import Unclear

if TYPE_CHECKING:
    from rich.console import RenderableType

    from orchestrator.planning.laws import Law

Policy = Literal["fifo", "sjf", "psjf", "srpt", "ps", "las"]

ArrivalRate = Annotated[float, typer.Option(metavar="RATE", help="Tasks that arrive, per second", show_default=False)]
ServiceRate = Annotated[float, typer.Option(metavar="RATE", help="Tasks one server can do, per second", show_default=False)]
Servers = Annotated[int, typer.Option(metavar="N", help="Servers (slots) that work at once", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="One JSON value on stdout, nothing else")]

LAWS = {
    "exp": "",
    "det": "",
    "erlang": "STAGES",
    "uniform": "LOW,HIGH",
    "h2": "SCV",
    "lognormal": "SCV",
    "weibull": "SHAPE",
    "bpareto": "LOW,HIGH,ALPHA",
}
"""Laws of sizes, as typed, and what follows the colon."""


def register(app: typer.Typer) -> None:
    """Add the group of these commands to ``app``, in the order in which help shows them."""
    group = typer.Typer(
        name="plan",
        help="Ask queueing theory: waits, servers, orders, availability. Needs no broker.",
        epilog="Example: orchestrator plan mmc --arrival-rate 8 --service-rate 1 --servers 10",
        rich_markup_mode=None,
        no_args_is_help=True,
    )
    for body, example in (
        (mmc, "mmc --arrival-rate 8 --service-rate 1 --servers 10 --json"),
        (mmck, "mmck --arrival-rate 8 --service-rate 1 --servers 10 --places 30"),
        (staff, "staff --target-wait 0.25 --service-rate 10 --arrival-rate 80"),
        (mg1, "mg1 --policy srpt --service bpareto:1,1000,1.5 --arrival-rate 0.2"),
        (availability, "availability --mttf 1000 --mttr 2 --k 2 --n 3 --crews 1"),
    ):
        group.command(body.__name__, epilog=f"Example: orchestrator plan {example}")(body)
    app.add_typer(group)


def mmc(arrival_rate: ArrivalRate, service_rate: ServiceRate, servers: Servers, json: Json = False) -> None:
    """Waits with one queue before equal servers (M/M/c).

    Random arrivals, exponential service times, the order of arrival. Means are the same for any order that does not look at sizes.
    With --servers 1 it is M/M/1.
    """
    with _in_words():
        from orchestrator.planning import queues

        found = queues.mmc(arrival_rate, service_rate, servers)
        data = {name: getattr(found, name) for name in found.__slots__}
        _answer(json, data, [
            ("busy", _percent(found.rho), "share of its time that a server works (rho)"),
            ("have to wait", _percent(found.wait_probability), "share of tasks that find all servers busy"),
            ("wait", _time(found.queue_wait_s), "mean time before service starts (Wq)"),
            ("response", _time(found.response_s), "mean time from arrival to end (W)"),
            ("in queue", f"{found.in_queue:.6g}", "tasks that wait, mean (Lq)"),
            ("in system", f"{found.in_system:.6g}", "tasks that wait or are served, mean (L)"),
        ])  # fmt: skip


def mmck(
    arrival_rate: ArrivalRate,
    service_rate: ServiceRate,
    servers: Servers,
    places: Annotated[int, typer.Option(metavar="K", help="Tasks there is room for, served ones included", show_default=False)],
    json: Json = False,
) -> None:
    """Losses and waits when the queue is bounded (M/M/c/K).

    Whoever finds all places taken is turned away; waits are of those who got in. Any load has an answer.
    """
    with _in_words():
        from orchestrator.planning import queues

        found = queues.mmck(arrival_rate, service_rate, servers, places)
        data = {name: getattr(found, name) for name in found.__slots__}
        _answer(json, data, [
            ("turned away", _percent(found.loss), "share of tasks that find no place"),
            ("accepted", f"{found.accepted_rate:.6g} /s", "tasks that get in"),
            ("idle", _percent(found.empty), "share of time with nothing to do"),
            ("wait", _time(found.queue_wait_s), "mean time before service starts"),
            ("response", _time(found.response_s), "mean time from arrival to end"),
            ("in queue", f"{found.in_queue:.6g}", "tasks that wait, mean"),
            ("in system", f"{found.in_system:.6g}", "tasks that wait or are served, mean"),
        ])  # fmt: skip


def staff(
    arrival_rate: ArrivalRate,
    service_rate: ServiceRate,
    target_wait: Annotated[float, typer.Option(metavar="SECONDS", help="A task is to start within", show_default=False)],
    target_probability: Annotated[float, typer.Option(metavar="P", help="and so large a share of them does, 0 to 1")] = 0.95,
    json: Json = False,
) -> None:
    """The least servers that start tasks in time.

    By Erlang C, exact. With --target-wait 0 it counts the tasks that do not wait at all.
    """
    with _in_words():
        from orchestrator.planning import staffing

        found = staffing.for_wait(arrival_rate, service_rate, target_wait, target_probability)
        data = {
            "servers": found.servers,
            "target_wait_s": target_wait,
            "target_probability": target_probability,
            "rho": found.rho,
            "wait_probability": found.wait_probability,
            "queue_wait_s": found.queue_wait_s,
            "reached_probability": found.within_target,
        }
        _answer(json, data, [
            ("servers", str(found.servers), "one less would not do"),
            ("start in time", _percent(found.within_target), f"within {target_wait:g} s; {target_probability:.6g} was asked"),
            ("have to wait", _percent(found.wait_probability), "share of tasks that find all servers busy"),
            ("wait", _time(found.queue_wait_s), "mean time before service starts"),
            ("busy", _percent(found.rho), "share of its time that a server works (rho)"),
        ])  # fmt: skip


def mg1(
    arrival_rate: Annotated[
        float | None, typer.Option(metavar="RATE", help="Tasks that arrive, per second", show_default=False)
    ] = None,
    load: Annotated[
        float | None, typer.Option(metavar="SHARE", help="Instead: how busy the server is, 0 to 1 (rho)", show_default=False)
    ] = None,
    policy: Annotated[Policy, typer.Option(help="Who is served next")] = "fifo",
    service: Annotated[str, typer.Option(metavar="LAW", help="How long tasks take; see above")] = "exp",
    mean: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="Mean size [default: 1, or what LOW and HIGH say]", show_default=False)
    ] = None,
    service_rate: Annotated[
        float | None, typer.Option(metavar="RATE", help="Instead of --mean: tasks it can do, per second", show_default=False)
    ] = None,
    json: Json = False,
) -> None:
    """Response times on one server under an order (M/G/1).

    Orders: fifo arrival; sjf shortest first; psjf the same, interrupting longer ones; srpt least remaining first, interrupting (no
    order is faster on average); ps all at once; las least served first.

    Laws: exp (short ones more often), det (all equal), erlang:STAGES (less varied), uniform:LOW,HIGH, h2:SCV (two kinds of task),
    lognormal:SCV (varied by factors), weibull:SHAPE (below 1: a long tail), bpareto:LOW,HIGH,ALPHA (most short, most work in few).
    SCV is the squared coefficient of variation. With --mean the law is stretched to that mean.
    """
    with _in_words():
        from orchestrator.planning.errors import positive
        from orchestrator.planning.laws import scv
        from orchestrator.planning.sizes import Order, response_s

        if mean is not None and service_rate is not None:
            raise Unclear("--mean and --service-rate say the same thing; leave one out")
        if service_rate is not None:
            mean = 1 / positive("the service rate", service_rate)
        law = law_of(service, mean)
        if (arrival_rate is None) == (load is None):
            raise Unclear("how much arrives? Write --arrival-rate RATE, or --load SHARE (of what the server can do), not both")
        if arrival_rate is None:
            arrival_rate = positive("the load", load or 0.0) / law.mean
        found = response_s(Order(policy), arrival_rate, law)
        data = {
            "policy": policy,
            "service": service,
            "mean_s": law.mean,
            "scv": scv(law),
            "rho": arrival_rate * law.mean,
            "response_s": found,
            "slowdown": found / law.mean,
            "in_system": arrival_rate * found,
        }
        _answer(json, data, [
            ("response", _time(found), f"mean time from arrival to end under {policy}"),
            ("slowed down", f"{data['slowdown']:.4g} times", "response over mean size"),
            ("in system", f"{data['in_system']:.6g}", "tasks that wait or are served, mean"),
            ("busy", _percent(arrival_rate * law.mean), "share of its time that the server works (rho)"),
            ("mean size", _time(law.mean), f"of {service}; squared coefficient of variation {data['scv']:.4g}"),
        ])  # fmt: skip


def availability(
    mttf: Annotated[
        float, typer.Option(metavar="TIME", help="Mean time to failure of one unit, in any unit of time", show_default=False)
    ],
    mttr: Annotated[
        float, typer.Option(metavar="TIME", help="Mean time to repair it, in the same unit of time", show_default=False)
    ],
    k: Annotated[int | None, typer.Option("--k", metavar="K", help="So many must work …", show_default=False)] = None,
    n: Annotated[int | None, typer.Option("--n", metavar="N", help="… of so many", show_default=False)] = None,
    crews: Annotated[
        int | None, typer.Option(metavar="R", help="So many are repaired at a time [default: all]", show_default=False)
    ] = None,
    json: Json = False,
) -> None:
    """The share of time in which one unit, or k of n, works.

    Who restarts one after the other is a single crew: units then wait for repair, and the formula for independent ones is too good.
    """
    with _in_words():
        from orchestrator.planning import availability as theory

        if (k is None) != (n is None) or (k is None and crews is not None):
            raise Unclear("--k and --n go together, --crews with both; write for example --k 2 --n 3 --crews 1")
        lasts = mttf
        found: theory.Uptime = theory.single(mttf, mttr)
        if k is not None and n is not None:
            found = system = theory.repaired(mttf, mttr, k, n, crews)
            lasts = system.mttf
        data = {"availability": found.availability, "unavailability": found.unavailability, "system_mttf": lasts}
        _answer(json, data, [
            ("available", f"{found.availability:.12g}", "share of time"),
            ("not available", f"{found.unavailability:.6g}", f"about {_down(found.unavailability)} a year"),
            ("lasts", f"{lasts:.6g}", "from all working to the first outage, mean, in the unit of --mttf"),
        ])  # fmt: skip


def law_of(text: str, mean: float | None) -> Law:
    """The law that was typed, with this mean. Raises Unclear, CannotPlan."""
    from orchestrator.planning import heavy, laws

    name, _, rest = text.partition(":")
    takes = LAWS.get(name)
    if takes is None:
        raise Unclear(f"{name!r} is no law of sizes; take one of {', '.join(map(_spelled, LAWS))}")
    try:
        numbers = [float(word) for word in rest.split(",")] if rest else []
    except ValueError:
        numbers = []
    if len(numbers) != len(takes.split(",") if takes else []):
        raise Unclear(f"{text!r} is not a law of sizes; write {_spelled(name)} with numbers")
    law: Law
    match name, numbers:
        case "exp", []:
            law = laws.exponential()
        case "det", []:
            law = laws.Deterministic(1.0)
        case "erlang", [stages]:
            if not stages.is_integer():
                raise Unclear(f"erlang needs a whole number of stages, not {stages:g}")
            law = laws.Erlang(int(stages))
        case "uniform", [low, high]:
            law = laws.Uniform(low, high)
        case "h2", [variation]:
            law = laws.balanced_h2(1.0, variation)
        case "lognormal", [variation]:
            law = heavy.lognormal(1.0, variation)
        case "weibull", [shape]:
            law = heavy.weibull(shape)
        case _, [low, high, alpha]:
            law = heavy.BoundedPareto(low, high, alpha)
        case _:
            raise AssertionError(f"{name} is in LAWS but has no law")
    return law if mean is None else laws.with_mean(law, mean)


def _spelled(name: str) -> str:
    return f"{name}:{LAWS[name]}" if LAWS[name] else name


@contextmanager
def _in_words() -> Iterator[None]:
    """Errors as sentences and exit codes."""
    from orchestrator.planning.errors import CannotPlan

    try:
        yield
    except (CannotPlan, Unclear) as fault:
        complain(str(fault))
        raise typer.Exit(BAD_USAGE) from None
    except ArithmeticError as fault:
        text, code = explain(fault)
        complain(text)
        raise typer.Exit(code) from None


def _answer(json: bool, data: dict[str, Any], rows: list[tuple[str, str, str]]) -> None:
    def view() -> list[RenderableType]:
        from orchestrator.cli.show import table

        return [table(["what", "how much", "meaning"], rows, right=["how much"])]

    Call(json=json).answer(data, view)


def _percent(share: float) -> str:
    return f"{share:.4%}" if share >= 1e-6 else f"{share:.3g}"


def _time(seconds: float) -> str:
    return f"{seconds:.6g} s"


def _down(unavailability: float) -> str:
    from orchestrator.cli.show import span

    return span(unavailability * 365.25 * 86400)
