"""All commands, in the order in which help shows them."""

from __future__ import annotations

from typing import Annotated

import typer

from orchestrator.cli import (
    act,
    bench,
    dead,
    demo,
    doctor,
    flow,
    limit,
    look,
    plan,
    record,
    replay,
    serve,
    settings,
    simulate,
    submit,
)

app = typer.Typer(
    name="orchestrator",
    help="Decides which waiting task runs next, on which service instance, with which resources. RabbitMQ is its only server.",
    epilog="Try it: orchestrator demo. Then: orchestrator up, and in another terminal: orchestrator submit --help\n\n"
    "Exit codes: 0 done; 1 failed, interrupted, or not all that was asked is known; 2 bad usage: what was typed, or a file that it "
    "names, cannot be meant. (up, coordinator: 0 when told to stop.)",
    rich_markup_mode=None,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import PackageNotFoundError
        from importlib.metadata import version as installed

        try:
            print(installed("orchestrator"))
        except PackageNotFoundError:
            print("not installed: run from its source")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[bool, typer.Option("--version", help="Show the version", callback=_version, is_eager=True)] = False,
) -> None:
    pass


serve.register(app)
settings.register(app)
demo.register(app)
submit.register(app)
look.register(app)
flow.register(app)
dead.register(app)
act.register(app)
limit.register(app)
plan.register(app)
simulate.register(app)
record.register(app)
replay.register(app)
doctor.register(app)
bench.register(app)
