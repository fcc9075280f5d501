"""What coordinators can be told, for who has no source to read: every setting, its name in the environment, default and reason."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from orchestrator.cli.frame import Call, command

if TYPE_CHECKING:
    from rich.console import RenderableType


def register(app: typer.Typer) -> None:
    """Add this command to ``app``."""
    command(app, "settings", example="orchestrator settings", panel="Run", common=("json", "debug"))(settings)


def settings(call: Call) -> None:
    """List the settings of coordinators.

    Each by its name in the settings file (--config FILE, TOML) and in the environment, which goes before the file.
    """
    found = listed()
    call.answer(found, lambda: settings_view(found))


def listed() -> list[dict[str, Any]]:
    """All of them, in the order in which they are declared. A default that depends on the machine has none."""
    from orchestrator.live.settings import PREFIX, Settings

    return [
        {
            "setting": name,
            "environment": f"{PREFIX}{name.upper()}",
            "default": None if one.default_factory is not None else one.get_default(),
            "is": " ".join((one.description or "").split()),
        }
        for name, one in Settings.model_fields.items()
    ]


def settings_view(found: list[dict[str, Any]]) -> list[RenderableType]:
    """For people."""
    from orchestrator.cli.show import table, to_json

    rows = [
        [one["setting"], one["environment"], "" if one["default"] is None else to_json(one["default"]).strip('"'), one["is"]]
        for one in found
    ]
    return [table(["setting", "in the environment", "default", "is"], rows)]
