"""The command, as far as it needs no town."""

from __future__ import annotations

from typer.testing import CliRunner

from orchestrator.amqp.errors import ASTRAY, broker_refused
from orchestrator.live.embedded.streams import COORDINATION, READ_IN
from tests.chaos.cli import app
from tests.chaos.town import ROOT


def test_a_name_that_nothing_has_is_a_fault() -> None:
    """It does not end well having played nothing; one word of several is enough for that."""
    assert CliRunner().invoke(app, ["--only", "typo"]).exit_code == 2
    assert CliRunner().invoke(app, ["--only", "poison", "--only", "typo", "--list"]).exit_code == 2
    told = CliRunner().invoke(app, ["--only", "poison", "--list"])
    assert (told.exit_code, told.stdout.count("\n")) == (0, 1)


def test_what_the_operator_of_a_full_disk_does_stands_in_the_readme() -> None:
    """He is told of that section by the coordinators."""
    readme = (ROOT / "README.md").read_text()
    assert f"/{COORDINATION} " in readme
    assert READ_IN in readme
    assert "### A ledger that its broker does not find" in readme
    assert "A ledger that its broker does not find" in str(broker_refused(404, ASTRAY, "Declaring it", "orchestrator.ledger"))
