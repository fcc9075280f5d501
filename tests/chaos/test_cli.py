"""The command, as far as it needs no town."""

from __future__ import annotations

from typer.testing import CliRunner

from tests.chaos.cli import app


def test_a_name_that_nothing_has_is_a_fault() -> None:
    """It does not end well having played nothing; one word of several is enough for that."""
    assert CliRunner().invoke(app, ["--only", "typo"]).exit_code == 2
    assert CliRunner().invoke(app, ["--only", "poison", "--only", "typo", "--list"]).exit_code == 2
    told = CliRunner().invoke(app, ["--only", "poison", "--list"])
    assert (told.exit_code, told.stdout.count("\n")) == (0, 1)
