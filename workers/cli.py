"""The command ``workers``: make an existing module an instance of a service."""

from __future__ import annotations

import importlib
import json
import os
import sys
import traceback
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from orchestrator.spelling import misspelt
from workers import address
from workers.durations import duration_ns
from workers.errors import ServiceError
from workers.service import Service

READ = {"ORCHESTRATOR_": ("BROKER", "DATA_DIR", "LOG", "LOG_LEVEL"), "WORKERS_": ("INSTANCE", "SHARD")}
"""What is read of the environment, by prefix. (Coordinators read more.)"""
USAGE = 2
FAILED = 1


class NoBroker(ServiceError):
    """None was named, and none runs here."""


app = typer.Typer(
    name="workers",
    help="Runs services: instances that announce themselves to the orchestrator and do the tasks it assigns.",
    epilog="Example: workers run shop.thumbs:service",
    rich_markup_mode=None,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
)


@app.callback()
def _root() -> None:
    pass  # makes `run` a command of its own, however few there are


@app.command(epilog="Example: workers run shop.thumbs:service --capacity slots=8 --capacity gpu=1")
def run(
    spec: Annotated[str, typer.Argument(metavar="MODULE:SERVICE", help="Where the Service is, like shop.thumbs:service")],
    broker: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            envvar="ORCHESTRATOR_BROKER",
            help="AMQP URL of the broker [default: that of the `orchestrator up` that runs here]",
        ),
    ] = None,
    capacity: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=AMOUNT", help="A resource of this instance, over what the service declares; repeatable"),
    ] = None,
    device: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=ID,ID", help="Single devices of this instance, like gpu=GPU-0,GPU-1; repeatable"),
    ] = None,
    instance: Annotated[
        str | None,
        typer.Option(metavar="NAME", envvar="WORKERS_INSTANCE", help="Name of the instance [default: service@host-pid]"),
    ] = None,
    shard: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            envvar="WORKERS_SHARD",
            help="Take tasks of this shard [default: the one that is meant for the service]",
        ),
    ] = None,
    processes: Annotated[
        int, typer.Option(min=0, metavar="N", help="CPU-bound handlers that run at once; 0: one for each CPU")
    ] = 0,
    grace: Annotated[str, typer.Option(metavar="SPAN", help="On SIGTERM: how long running handlers may take to finish")] = "10s",
    log: Annotated[
        str, typer.Option(metavar="STYLE", envvar="ORCHESTRATOR_LOG", help="How log lines look: console or json")
    ] = "console",
    log_level: Annotated[
        str,
        typer.Option(metavar="LEVEL", envvar="ORCHESTRATOR_LOG_LEVEL", help="debug, info, warning or error"),
    ] = "info",
) -> None:
    """Be an instance of a service, until SIGTERM or Ctrl-C.

    What runs then may finish (--grace); told twice it ends at once.
    """
    for name, meant in (one for prefix, names in READ.items() for one in misspelt(os.environ, prefix, names)):
        print(f"workers: {name} in the environment is read by nobody. Is {meant} meant?", file=sys.stderr)
    from workers.live import Options  # here, so that help and mistakes cost no broker's client
    from workers.live import run as serve
    from workers.live.logbook import Level, Style

    try:
        service = load(spec)
        options = Options(
            broker=_address(broker) if broker else running_broker(),
            instance=instance or "",
            shard=shard or "",
            capacity=dict(_amount(text) for text in capacity or ()),
            devices=dict(_devices(text) for text in device or ()),
            processes=processes,
            grace=duration_ns(grace, "--grace") / 1e9,
            log=_one_of(log, get_args(Style), "--log"),
            log_level=_one_of(log_level.lower(), get_args(Level), "--log-level"),
        )
        serve(service, options)
    except NoBroker as trouble:
        _complain(str(trouble), FAILED)
    except (ServiceError, ValueError) as trouble:
        _complain(str(trouble), USAGE)


def load(spec: str) -> Service:
    """The service at ``module:name``. Raises ``ServiceError`` that says what was found instead."""
    module_name, attribute = address.parse(spec)
    address.look_here()
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as trouble:
        if trouble.name is None or not (module_name == trouble.name or module_name.startswith(trouble.name + ".")):
            raise _broken(module_name, trouble) from None  # the module is there; something that it imports is not
        raise address.no_module(trouble.name) from None
    except Exception as trouble:  # whatever it is, it is its author's
        raise _broken(module_name, trouble) from None
    found: Any = module
    for name in attribute.split("."):
        if not hasattr(found, name):
            services = [name for name, value in vars(module).items() if isinstance(value, Service)]
            there = f"Its services: {', '.join(services)}." if services else "It has no Service at its top level."
            raise ServiceError(f"Module {module_name!r} has no {attribute!r}. {there}")
        found = getattr(found, name)
    if not isinstance(found, Service):
        raise ServiceError(f"{spec} is a {type(found).__name__}, not a Service. Make one with: workers.Service(NAME)")
    return found


def _broken(module: str, trouble: Exception) -> ServiceError:
    """For the author of a module that cannot be imported: the traceback from the module on, without what called it."""
    frames = traceback.extract_tb(trouble.__traceback__)
    theirs = [
        n for n, frame in enumerate(frames) if not frame.filename.startswith("<frozen ") and frame.filename != importlib.__file__
    ]
    shown = frames[theirs[1] :] if len(theirs) > 1 else []  # the first is ours
    story = "".join(["Traceback (most recent call last):\n", *traceback.format_list(shown)]) if shown else ""
    what = "".join(traceback.format_exception_only(trouble))
    return ServiceError(f"Module {module!r} could not be imported, so nothing was started. Correct it:\n{story}{what}".rstrip())


def running_broker() -> str:
    """The broker of the ``orchestrator up`` that runs here. Raises ``NoBroker`` if there is none."""
    state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    folder = Path(os.environ.get("ORCHESTRATOR_DATA_DIR") or state / "orchestrator")
    try:
        note = json.loads((folder / "up.json").read_text())
        os.kill(note["pid"], 0)
        return str(note["url"])
    except (OSError, ValueError, KeyError, TypeError):
        raise NoBroker(
            f"No broker is known: none was named, and no `orchestrator up` runs with its data in {folder}. "
            "Start everything with `orchestrator up` in another terminal, or name a RabbitMQ of yours: "
            "--broker amqp://user:password@host:5672/"
        ) from None


def _address(broker: str) -> str:
    """What no waiting can mend is told at once, before there is a log. A broker that is away may come."""
    if not broker.startswith(("amqp://", "amqps://")):
        raise ServiceError("--broker must be an AMQP URL, like amqp://user:password@host:5672/ (amqps:// for TLS)")
    return broker


def _amount(text: str) -> tuple[str, float]:
    name, equals, amount = text.partition("=")
    try:
        if name and equals:
            return name, float(amount)
    except ValueError:
        pass  # said below, with the rest
    raise ServiceError(f"--capacity {text!r}: write NAME=AMOUNT, like slots=4")


def _devices(text: str) -> tuple[str, list[str]]:
    name, equals, names = text.partition("=")
    if not name or not equals:
        raise ServiceError(f"--device {text!r}: write NAME=ID,ID, like gpu=GPU-0,GPU-1")
    return name, names.split(",")


def _one_of(given: str, known: tuple[str, ...], what: str) -> Any:
    if given not in known:
        raise ServiceError(f"{what} is {given!r}; it can be: {', '.join(known)}")
    return given


def _complain(text: str, code: int) -> None:
    print(f"workers: {text}", file=sys.stderr)
    raise typer.Exit(code)


def main() -> None:
    """The entry point."""
    if len(sys.argv) > 1 and ":" in sys.argv[1]:
        print(f"workers: there is no command {sys.argv[1]!r}. Write: workers run {' '.join(sys.argv[1:])}", file=sys.stderr)
        sys.exit(USAGE)
    app()
