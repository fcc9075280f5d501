"""What all commands share: where the broker is, how to answer, how to fail.

``command(app, …)`` turns a function whose first parameter is a ``Call`` into a command: it adds the options that every command
has, hands their values over as that ``Call``, and turns errors into sentences and exit codes.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from orchestrator.cli import questions
from orchestrator.cli.faults import FAILED, complain, explain
from orchestrator.cli.words import Unclear, duration_s

if TYPE_CHECKING:
    from rich.console import RenderableType

    from orchestrator.cli.where import Found
    from orchestrator.live.settings import Settings

ANSWER_WITHIN_S = 10.0
"""How long a question may take. Who takes over from a leader that died needs a second or two; from one that was cut off, 15 s."""

Body = TypeVar("Body", bound=Callable[..., "int | None"])

COMMON = {
    "broker": Annotated[
        str | None,
        typer.Option(
            metavar="URL", help="AMQP URL of the broker [env: ORCHESTRATOR_BROKER; default: the `orchestrator up` that runs here]"
        ),
    ],
    "data_dir": Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where `orchestrator up` keeps its data [env: ORCHESTRATOR_DATA_DIR]", file_okay=False),
    ],
    "config": Annotated[Path | None, typer.Option(metavar="FILE", help="Settings file (TOML); flags and environment go before it")],
    "shard": Annotated[
        str | None, typer.Option(metavar="NAME", help="Where there are shards: only this one [default: all, or the one that knows]")
    ],
    "within": Annotated[
        str | None,
        typer.Option(
            metavar="SPAN", help="How long all of it may take [default: 10s; the next leader of one that was cut off takes 15s]"
        ),
    ],
    "json": Annotated[bool, typer.Option("--json", help="One JSON value on stdout, nothing else")],
    "debug": Annotated[bool, typer.Option("--debug", help="Show where an error comes from")],
}

ASKING = tuple(COMMON)
"""What a command that asks coordinators can be told."""
LOOKING = tuple(name for name in COMMON if name != "within")
"""Those of one that reads what lies on the broker, shard by shard, and waits for nobody."""
BROKER = tuple(name for name in LOOKING if name != "shard")
"""Those of other commands that need a broker."""


@dataclass(frozen=True)
class Call:
    """One call of a command, and what all of them can be told."""

    broker: str | None = None
    data_dir: Path | None = None
    config: Path | None = None
    json: bool = False
    debug: bool = False
    shard: str | None = None
    within: str | None = None

    def load(self, **flags: Any) -> Settings:
        """Settings, with further flags. Raises SettingsError."""
        from orchestrator.live.settings import load_settings

        return load_settings(self.config, **{"broker": self.broker, "data_dir": self.data_dir, **flags})

    @property
    def within_s(self) -> float:
        """How long all of it may take. Raises Unclear."""
        return ANSWER_WITHIN_S if self.within is None else duration_s(self.within)

    @cached_property
    def found(self) -> Found:
        """The broker that is meant. Raises Fault, SettingsError."""
        from orchestrator.cli.where import find_broker

        return find_broker(self.load())

    def ask(self, op: str, /, **args: Any) -> Any:
        """The answer to a question that one coordinator can answer, whatever the shards: about a task, a workflow, an instance.
        Arguments that are None are left out.

        Raises OrchestratorError, and as ``found``.
        """
        return questions.of_one(self._answers(op, args))

    def ask_all(self, op: str, /, *, will: bool = False, **args: Any) -> dict[str, Any]:
        """The answer of each shard; None of one that nobody leads (for people it is told). Raises as ``ask``; for a ``will`` also
        if a single shard does not answer."""
        return questions.of_all(self._answers(op, args), will=will)

    def _answers(self, op: str, args: dict[str, Any]) -> questions.Answers:
        import asyncio

        said = {name: value for name, value in args.items() if value is not None}
        return asyncio.run(questions.answers(self.found.url, self.shard, op, said, self.within_s))

    def answer_each(self, found: dict[str, Any], view: Callable[[Any], Sequence[RenderableType]]) -> int:
        """What each shard answered: with no shards but ``default`` as if there were none. The exit code: whether all did."""
        if len(found) == 1:
            (only,) = found.values()
            self.answer(only, lambda: view(only))
        else:
            self.answer({"shards": found}, lambda: questions.each_view(found, view))
        return all_told(found)

    def answer(self, data: Any, view: Callable[[], Sequence[RenderableType]]) -> None:
        """The answer, to stdout: ``data`` as JSON if that is wanted, else what ``view`` makes of it."""
        from orchestrator.cli import show

        if self.json:
            print(show.to_json(data), flush=True)
        else:
            show.show(*view())


def all_told(found: dict[str, Any]) -> int:
    """The exit code where one shard's silence hides no other's answer, and is a failure all the same."""
    return FAILED if None in found.values() else 0


def command(
    app: typer.Typer, name: str, *, example: str, panel: str, common: Sequence[str] = BROKER, negative: bool = False
) -> Callable[[Body], Body]:
    """Register a function as the command ``name``. Its first parameter is the Call, the others are its own options.

    ``common``: those that it shares with others; a command that asks no broker need not take where it is. ``negative``: what looks
    like an option and is none may be a number below zero.
    """

    def register(body: Body) -> Body:
        own = list(inspect.signature(body, eval_str=True).parameters.values())[1:]
        shared = [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=getattr(Call, name), annotation=COMMON[name])
            for name in common
        ]
        parameters = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in own] + shared

        def run(**words: Any) -> None:
            call = Call(**{name: words.pop(name) for name in common})
            if "config" in common:  # it reads settings
                _warn_of_unread()
            code = _carry_out(call, body, words)
            if code:
                raise typer.Exit(code)

        run.__doc__ = body.__doc__
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # what `inspect.signature` looks for
        run.__annotations__ = {one.name: one.annotation for one in parameters}
        unknown = {"ignore_unknown_options": True} if negative else None
        app.command(name, epilog=f"Example: {example}", rich_help_panel=panel, context_settings=unknown)(run)
        return body

    return register


def _warn_of_unread() -> None:
    from orchestrator.live.settings import told_unread

    for line in told_unread():
        print(f"warning: {line}", file=sys.stderr, flush=True)


def _carry_out(call: Call, body: Callable[..., int | None], words: dict[str, Any]) -> int:
    try:
        return body(call, **words) or 0
    except (typer.Exit, typer.BadParameter):
        raise
    except Unclear as fault:
        raise typer.BadParameter(str(fault)) from None
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return FAILED
    except Exception as fault:  # the outermost door: nothing goes on after it, a person reads it
        if call.debug:
            raise
        named_by = call.found.source if "found" in vars(call) else ""  # it has been looked for
        text, code = explain(fault, named_by)
        complain(text)
        return code
