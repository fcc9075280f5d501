"""``python -m tests.chaos``."""

from tests.chaos.cli import app

app()
