"""What keeps running until it is told to stop: up, coordinator."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestrator.cli.faults import Fault
from orchestrator.cli.frame import Call, command
from orchestrator.cli.words import Unclear

if TYPE_CHECKING:
    from orchestrator.live.settings import Settings

PANEL = "Run"

Log = Annotated[str | None, typer.Option("--log-level", metavar="LEVEL", help="debug, info, warning or error [default: info]")]
Style = Annotated[str | None, typer.Option("--log", metavar="STYLE", help="How log lines look: console or json [default: console]")]
Ordering = Annotated[str | None, typer.Option(metavar="NAME", help="Policy: who goes next [default: priority]")]
Placement = Annotated[str | None, typer.Option(metavar="NAME", help="Policy: on which instance [default: least_loaded]")]
Allocation = Annotated[str | None, typer.Option(metavar="NAME", help="Policy: how much of an elastic demand [default: msa]")]


def register(app: typer.Typer) -> None:
    """Add these commands to ``app``."""
    command(app, "up", example="orchestrator up --workers shop.thumbs:service --workers shop.mail:service", panel=PANEL)(up)
    command(app, "coordinator", example="orchestrator coordinator --broker amqp://user:password@rabbit:5672/", panel=PANEL)(
        coordinator
    )


def up(
    call: Call,
    workers: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MODULE:SERVICE", help="Run an agent for this Python service too; give it again for more", show_default=False
        ),
    ] = None,
    log: Style = None,
    log_level: Log = None,
    ordering: Ordering = None,
    placement: Placement = None,
    allocation: Allocation = None,
) -> None:
    """Run broker, coordinator and agents on this machine.

    The broker is a private RabbitMQ, unless --broker, ORCHESTRATOR_BROKER or the settings file names one. A second terminal finds
    it by itself: orchestrator services.

    With --json one line on stdout says where it runs once it does, and the log on stderr is JSON too.
    """
    settings = _settings(call, log=log, log_level=log_level, ordering=ordering, placement=placement, allocation=allocation)
    for spec in workers or []:
        _check_spec(spec)
    from orchestrator.live.embedded.errors import BrokerDirectoryInUse
    from orchestrator.live.up import ChildDied

    try:
        asyncio.run(until_told(_up(call, settings, workers or [])))
    except ChildDied as fault:
        raise Fault(str(fault)) from fault
    except BrokerDirectoryInUse as fault:
        raise Fault(
            f"An `orchestrator up` runs here already: {fault.what[0].lower()}{fault.what[1:]}",
            "Nothing was started.",
            "A further worker finds it by itself: workers run MODULE:SERVICE. For another `up` beside it: --data-dir DIR.",
        ) from fault


def _check_spec(spec: str) -> None:
    """What is mistyped is told before a broker is started for it. Raises Unclear. (The module itself is its agent's to load.)"""
    from workers.address import check
    from workers.errors import ServiceError

    try:
        check(spec)
    except ServiceError as trouble:
        raise Unclear(f"--workers: {trouble}") from None


async def _up(call: Call, settings: Settings, workers: list[str]) -> None:
    from orchestrator.cli.where import without_secret
    from orchestrator.live.note import UP_FILE
    from orchestrator.live.up import up

    async with up(settings, workers=workers, announce=_note) as running:
        where = {
            "broker": without_secret(running.url),
            "up_file": str(settings.data_dir / UP_FILE),
            "data_dir": str(settings.data_dir),
            "workers": workers,
        }
        if call.json:
            call.answer(where, list)
        else:
            _note(f"running on {where['broker']}; Ctrl-C stops it. In another terminal: orchestrator services")
            _note(f"for programs of yours its URL, with the password, is in {where['up_file']}")
        await running.watch()


def coordinator(
    call: Call,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="What it is called in logs [default: host and process id]")
    ] = None,
    shard: Annotated[
        str | None, typer.Option(metavar="NAME", help="Serve this shard only [default: all, each by a process of its own]")
    ] = None,
    log: Style = None,
    log_level: Log = None,
    ordering: Ordering = None,
    placement: Placement = None,
    allocation: Allocation = None,
) -> None:
    """Run one coordinator, until SIGTERM or Ctrl-C.

    Run several, anywhere, for failover: one leads, the others stand by and know what it knows. Where there are shards ([shards]
    in the settings), each has a leader, and coordinators share them out among themselves.
    """
    flags = {"name": name, "shard": shard, "log": log, "log_level": log_level}
    flags |= {"ordering": ordering, "placement": placement, "allocation": allocation}
    settings = _settings(call, **flags)
    if settings.broker is None:
        settings = _settings(call, broker=call.found.url, **flags)
    if settings.shard is None and not settings.rule.alone:
        from orchestrator.live.shards import run_all

        asyncio.run(until_told(run_all(settings)))
    else:
        from orchestrator.live.daemon import run

        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(run(settings))
    if call.json:
        call.answer({"coordinator": settings.name, "stopped": True}, list)


def _settings(call: Call, **flags: Any) -> Settings:
    return call.load(**flags | ({"log": "json"} if call.json else {}))


def _note(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _loop_factory() -> Any:
    """uvloop where there is one: twice as fast with many small messages."""
    if sys.platform == "win32":
        return None
    import uvloop

    return uvloop.new_event_loop


async def until_told(work: Coroutine[Any, Any, None]) -> None:
    """Do ``work`` until SIGTERM or Ctrl-C, which end it in an orderly way: that is how it is meant to end."""
    loop = asyncio.get_running_loop()
    task = loop.create_task(work)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        _note("stopped")
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
