"""What is wrong here? Checks from this process outwards: Python, the broker, what is on it, a coordinator, the clocks.

Law: looking changes nothing that lasts (one queue is declared to see whether it may be, and goes with our connection). Each check
says what it found and, unless all is well, what to do. What cannot be checked because something before it failed is left out.
"""

from __future__ import annotations

import platform
import secrets
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import typer

from orchestrator.cli.faults import Fault, explain
from orchestrator.cli.frame import ASKING, Call, command
from orchestrator.cli.questions import Left, meant

if TYPE_CHECKING:
    from rich.console import RenderableType

    from orchestrator.amqp import Link
    from orchestrator.client import Client
    from orchestrator.shards import Rule

OLDEST_PYTHON = (3, 11)
ANSWER_WITHIN_S = 5.0
"""Of one question, where there is so much time at all (``--within``)."""
CLOCK_WARN_S = 1.0
CLOCK_FAIL_S = 30.0
"""Deadlines and start times are said by producers and judged by the coordinator's clock."""
NEWS_S = 3 * 86_400
"""A loss fails a check for so long: who watches has seen it by then, and another one must not hide behind it."""


class Check(NamedTuple):
    """One line of the doctor's."""

    check: str
    state: Literal["ok", "warn", "fail"]
    found: str
    do: str = ""


def register(app: typer.Typer) -> None:
    """Add this command to ``app``."""
    command(app, "doctor", example="orchestrator doctor --broker amqp://user:password@rabbit:5672/", panel="Act", common=ASKING)(
        doctor
    )


def doctor(
    call: Call,
    strict: Annotated[bool, typer.Option("--strict", help="Exit code 1 for warnings too")] = False,
) -> int:
    """Check what is needed here, and say what to do.

    Python, the broker, what is on it, a coordinator, the clocks. Exit code 1 if something is missing, or was lost.
    """
    import asyncio

    checks = asyncio.run(examine(call))
    bad = ("fail", "warn") if strict else ("fail",)
    well = not any(check.state in bad for check in checks)
    call.answer({"ok": well, "checks": [check._asdict() for check in checks]}, lambda: doctor_view(checks))
    return 0 if well else 1


async def examine(call: Call) -> list[Check]:
    """All checks that can be made."""
    import asyncio

    from orchestrator.amqp import Link
    from orchestrator.amqp.errors import LinkError
    from orchestrator.cli.where import without_secret
    from orchestrator.live.settings import SettingsError

    left = Left(call.within_s)
    checks = [_python()]
    try:
        found = call.found
    except (Fault, SettingsError) as fault:
        return [*checks, Check("broker found", "fail", *_split(fault))]
    checks.append(Check("broker found", "ok", f"{without_secret(found.url)}, {found.source}"))
    try:
        link = await Link.open(
            found.url, name="orchestrator doctor", connections=("consume",), timeout_s=min(ANSWER_WITHIN_S, left.s)
        )
    except LinkError as fault:
        return [*checks, Check("broker reachable", "fail", *_split(fault))]
    try:
        checks.append(Check("broker reachable", "ok", f"as user {link.user}, virtual host {link.vhost}"))
        async with asyncio.timeout(left.s):
            checks += [broker_version(link.server_version), await _events(link), await _permission(link)]
            rule, about = await _rule(link)
            checks += about
            shards = meant(call.shard, rule.names)
            for shard in shards:
                link.shard = shard
                checks += [_of(rule, shard, one) for one in await _queues(link)]
    except TimeoutError:
        told = f"it did not answer all that it was asked within {call.within_s:g} s"
        return [*checks, Check("broker", "fail", told, "See whether it is overloaded; or give it longer: --within.")]
    finally:
        await link.close()
    return [*checks, *await _coordinators(found.url, rule, shards, left)]


def _python() -> Check:
    version = platform.python_version()
    if sys.version_info < OLDEST_PYTHON:
        return Check("Python", "fail", version, "Use Python 3.11 or newer.")
    return Check("Python", "ok", f"{version} ({sys.executable})")


def broker_version(version: str) -> Check:
    """Whether it has what we need."""
    from orchestrator.live.embedded.distribution import OLDEST_VERSION

    numbers = tuple(int(part) if part.isdigit() else 0 for part in version.split(".")[:2])
    if numbers < OLDEST_VERSION:
        least = ".".join(map(str, OLDEST_VERSION))
        return Check(
            "broker version", "fail", f"RabbitMQ {version} is older than what was tried", f"Upgrade it to {least} or newer."
        )
    return Check("broker version", "ok", f"RabbitMQ {version}")


async def _events(link: Link) -> Check:
    from orchestrator.amqp.deaths import watch_deaths

    if await watch_deaths(link, lambda queue, how: None) is not None:
        return Check("death notices", "ok", "the broker tells of lost workers within milliseconds (event exchange)")
    return Check(
        "death notices",
        "warn",
        "no event exchange in this virtual host that this user may read: a lost worker is noticed when its lease is over",
        "Enable it for milliseconds: rabbitmq-plugins enable rabbitmq_event_exchange. It lives in the virtual host /; coordinators "
        "in another find it by their setting events_vhost, of which this command does not know.",
    )


async def _permission(link: Link) -> Check:
    from orchestrator.amqp.errors import BrokerRefused
    from orchestrator.amqp.topology import results_inbox

    try:
        await link.declare(replace(results_inbox(f"doctor-{secrets.token_hex(8)}"), bindings=()))
    except BrokerRefused as fault:
        return Check("permission to declare", "fail", *_split(fault))
    return Check("permission to declare", "ok", f"user {link.user} may declare queues of its own, orchestrator.results.*")


async def _rule(link: Link) -> tuple[Rule, list[Check]]:
    """Which shards there are. If that cannot be told, only ``default`` is looked at."""
    from orchestrator.amqp.errors import LinkError
    from orchestrator.amqp.rule import last_rule
    from orchestrator.shards import ALONE, UnreadableRule, read

    try:
        rule = read(await last_rule(link))
    except (LinkError, UnreadableRule) as fault:
        return ALONE, [Check("shards", "fail", *_split(fault))]
    return rule, [] if rule.alone else [Check("shards", "ok", f"{len(rule.names)}: {', '.join(rule.names)}")]


def _of(rule: Rule, shard: str, check: Check) -> Check:
    """The same, of this shard."""
    return check if rule.alone else check._replace(check=f"{check.check} of {shard}")


async def _queues(link: Link) -> list[Check]:
    from orchestrator.amqp import topology
    from orchestrator.amqp.errors import BrokerRefused, Missing

    try:
        await link.check(topology.base(ledger_max_bytes=0, ledger_segment_bytes=0))
        waiting = (await link.stat(topology.TASKS)).messages
        reports = (await link.stat(topology.REPORTS)).messages
        dead = (await link.stat(topology.DEAD)).messages
        samples = (await link.stat(topology.QUARANTINE)).messages
    except Missing as fault:
        what = f"{fault.name} is not there: no coordinator has run on this virtual host yet"
        return [Check("queues", "fail", what, "Start one, it declares them: orchestrator coordinator (or: orchestrator up).")]
    except BrokerRefused as fault:
        return [Check("queues", "fail", *_split(fault))]
    checks = [Check("queues", "ok", f"all there; {waiting} submissions and {reports} reports wait in them")]
    if dead:
        checks.append(Check("dead letters", "warn", f"{dead} failed for good", "See why: orchestrator dead"))
    if samples:
        told = f"{samples} samples of what peers must not send lie there"
        checks.append(Check("quarantine", "warn", told, "See what, and whose: orchestrator dead --quarantine"))
    return checks


async def _coordinators(url: str, rule: Rule, shards: Sequence[str], left: Left) -> list[Check]:
    """All are asked at once: one that is silent takes none of the others' time."""
    import asyncio

    from orchestrator.client import Client

    async with Client(url) as client:
        found = await asyncio.gather(*(_coordinator(client, rule, shard, left) for shard in shards))
        return [_of(rule, shard, one) for shard, checks in zip(shards, found, strict=True) for one in checks]


async def _coordinator(client: Client, rule: Rule, shard: str, left: Left) -> list[Check]:
    from orchestrator.client.errors import OrchestratorError

    try:
        asked_ns = time.time_ns()
        status: dict[str, Any] = await client.ask("status", timeout_s=min(ANSWER_WITHIN_S, left.s), shard=shard)
        answered_ns = time.time_ns()
        services: list[dict[str, Any]] = await client.ask("services", timeout_s=min(ANSWER_WITHIN_S, left.s), shard=shard)
    except OrchestratorError as fault:
        return [Check("coordinator", "fail", *_split(fault))]
    return of_leader(status, services, rule, shard, asked_ns, answered_ns)


def of_leader(
    status: dict[str, Any], services: list[dict[str, Any]], rule: Rule, shard: str, asked_ns: int, answered_ns: int
) -> list[Check]:
    """What the leader's answers tell; it was asked and had answered at these times of our clock."""
    from orchestrator.cli.overview import closed

    took_ms = (answered_ns - asked_ns) / 1e6
    checks = [
        Check("coordinator", "ok", f"{status['coordinator']} leads (epoch {status['epoch']}) and answered in {took_ms:.0f} ms")
    ]
    if not status["intake_open"]:
        why, do = closed(status)
        checks.append(Check("intake", "warn", f"closed: {why}; submissions wait in the broker", do))
    checks += offences(status.get("offences", []))
    if early := status.get("forgotten_early"):
        told = f"there were so many ended tasks that {early:,} ids were forgotten before the dedup window was over"
        checks.append(Check("memory", "warn", told, "Submitted again, those would run again. Shorten the window, or run fewer."))
    if kept := status.get("ledger_kept_bytes"):
        checks.append(ledger_short(kept, status["ledger_bytes_max"]))
    if lost := status.get("ledger_lost"):
        checks.append(ledger_lost(lost))
    checks += astray(services, rule, shard)
    checks += unserved(services)
    checks += unfit(services)
    checks += _dependencies(services)
    if "now_ns" in status:
        checks.append(_clock((status["now_ns"] - (asked_ns + answered_ns) / 2) / 1e9))
    return checks


def ledger_short(kept: int, cap: int) -> Check:
    """Somebody else's limit cuts the ledger off."""
    told = f"a policy of the broker cuts the ledger to about {kept / 1e6:,.1f} MB; ledger_bytes_max says {cap / 1e6:,.0f} MB"
    advice = (
        "Take max-length-bytes and max-age out of it (rabbitmqctl list_policies): so long as they are there less is taken in, and "
        "what they cut off before it is written again only living coordinators know."
    )
    return Check("ledger", "warn", told, advice)


def ledger_lost(found: dict[str, Any]) -> Check:
    """The ledger was lost once: what of it was written again, and what was not."""
    told = "the ledger was lost"
    if "restored_by" in found:
        told += f"; {found['live']:,} living tasks were written again from memory"
    if found["unknown"]:
        missing = f"{found['unknown']:,} tasks are known by name alone"
    elif not found["complete"]:
        missing = "what was accepted last may be missing"
    else:
        return Check(
            "ledger", "warn", f"{told}; nothing that was accepted is missing",
            "See who may delete queues: rabbitmqctl list_permissions.",
        )  # fmt: skip
    advice = "Submit again what is missing (orchestrator status names it), and see who may delete queues."
    ago_s = time.time() - found.get("at_ns", time.time_ns()) / 1e9
    if ago_s > NEWS_S:
        return Check("ledger", "warn", f"{told}; {missing}; that was {ago_s / 86_400:,.0f} days ago", advice)
    return Check("ledger", "fail", f"{told}; {missing}", advice)


def astray(services: list[dict[str, Any]], rule: Rule, shard: str) -> list[Check]:
    """Tasks that were submitted under another rule: they wait here for agents, which by now go elsewhere."""
    idle = [one["service"] for one in services if one["waiting"] and not one["ready"]]
    left = {service: home for service in idle if (home := rule.of(service)) != shard}
    if not left or any(each.name == shard and each.tenants for each in rule.shards):
        return []
    told = "; ".join(f"{name} waits here, and its new tasks go to {home}" for name, home in left.items())
    return [Check("rule", "warn", told, f"Run what was left: workers run MODULE:SERVICE --shard {shard}")]


def unserved(services: list[dict[str, Any]]) -> list[Check]:
    """Work that nobody is there for."""
    idle = {one["service"]: one["waiting"] for one in services if one["waiting"] and not one["ready"]}
    if not idle:
        return []
    told = "; ".join(f"{waiting:,} {'tasks wait' if waiting != 1 else 'task waits'} for {name}" for name, waiting in idle.items())
    return [Check("workers", "warn", f"{told}, and no instance is ready", "Start one: workers run MODULE:SERVICE")]


def unfit(services: list[dict[str, Any]]) -> list[Check]:
    """Work that nobody who is there can ever do."""
    checks = []
    for one in (one for service in services for one in service.get("unfit", [])):
        number = f"{one['waiting']:,} tasks of {one['type']} wait" if one["waiting"] != 1 else f"a task of {one['type']} waits"
        told = f"{number} ({one['need']}) and can never run as things are: {one['why']}"
        do = f"Run an instance that takes such tasks, or cancel them: orchestrator cancel {one['task']} is the first."
        checks.append(Check("workers", "warn", told, do))
    return checks


def offences(rows: list[dict[str, Any]]) -> list[Check]:
    """What peers do that they must not, as the leader has counted it."""
    checks = []
    for one in rows[:5]:
        who = f"user {one['user']}" if one["user"] else "somebody who does not say as whom"
        told = f"{one['count']:,} {one['what']} messages in {one['where']} by {who}; the last: {one['why']}"
        checks.append(
            Check("peers", "warn", told, "Samples: orchestrator dead --quarantine. Mend or stop the sender; permissions help.")
        )
    return checks


def _dependencies(services: list[dict[str, Any]]) -> list[Check]:
    """Whether every service has what it needs."""
    from orchestrator.cli.graph import graph, waits_for

    drawn = graph(services)
    checks = [
        Check(
            "services", "fail", f"what they need to start runs in a circle: {' → '.join(circle)}; {circle[0]} is not made ready",
            "Take one of these needs out, or make it a need at dispatch. See: orchestrator services --graph",
        )
        for circle in drawn.circles
    ]  # fmt: skip
    if waiting := {name: needs for name, known in drawn.services.items() if (needs := waits_for(known))}:
        told = "; ".join(f"{name} waits for {', '.join(needs)}" for name, needs in waiting.items())
        checks.append(Check("services", "warn", told, "Start what is missing. See: orchestrator services --graph"))
    return checks or [Check("services", "ok", f"{len(services)} known; all have what they need")]


def _clock(off_s: float) -> Check:
    found = f"the coordinator's clock is {abs(off_s):.3f} s {'ahead of' if off_s > 0 else 'behind'} ours"
    if abs(off_s) < CLOCK_WARN_S:
        return Check("clocks", "ok", found)
    state: Literal["warn", "fail"] = "warn" if abs(off_s) < CLOCK_FAIL_S else "fail"
    return Check("clocks", state, found, "Synchronise them (NTP): deadlines and delayed starts are off by as much.")


def _split(fault: Exception) -> tuple[str, str]:
    """What happened, and the rest: what it means and what to do."""
    from orchestrator.amqp.errors import CannotConnect

    text, _ = explain(fault)
    if isinstance(fault, CannotConnect):
        return fault.what, text.removeprefix(fault.what).strip()
    what, dot, rest = text.partition(". ")
    return (what, rest) if dot else (text.rstrip("."), "")


def doctor_view(checks: list[Check]) -> list[RenderableType]:
    """For people."""
    from orchestrator.cli.show import cell, state, table

    rows = [[check.check, state(check.state), f"{check.found}\n→ {check.do}" if check.do else check.found] for check in checks]
    bad = sum(check.state == "fail" for check in checks)
    doubts = sum(check.state == "warn" for check in checks)
    if bad:
        end = f"{bad} of {len(checks)} checks failed." if bad > 1 else "One check failed."
    elif doubts:
        end = (
            f"Nothing is broken; {doubts} things deserve a look." if doubts > 1 else "Nothing is broken; one thing deserves a look."
        )
    else:
        end = "All is well."
    return [table(["check", "", "found"], rows), cell(end)]
