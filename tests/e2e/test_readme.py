"""What the README shows is what happens."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from orchestrator.client import Client
from orchestrator.policies.guard import check
from orchestrator.policies.ordering import Ordering, Waiting
from tests.e2e.fleet import ROOT, fleet

README = (ROOT / "README.md").read_text()
PYTHON = re.findall(r"```python\n(.*?)```", README, re.DOTALL)

TILL = """
from workers import Service

service = Service("pay")

@service.task("charge")
async def charge(order: int, amount: int) -> str:
    return f"{order}: {amount}"

@service.task("rates")
async def rates(day: str) -> str:
    return day
"""
"""What the block about keys asks."""


def _words() -> list[str]:
    rows = re.findall(r"^\| (`.*?) \|", README, re.MULTILINE)
    return sorted({re.sub(r"^orchestrator ", "", cell).split()[0] for row in rows for cell in re.findall(r"`([^`]+)`", row)})


@pytest.mark.broker
async def test_the_service_and_the_producer_of_the_readme_meet(amqp_url: str, tmp_path: Path) -> None:
    """Its service block, saved as shop.py and run, answers what its producer block asks, and does the workflow."""
    service, producer, workflow, keyed, _ = PYTHON
    (tmp_path / "shop.py").write_text(service)
    (tmp_path / "till.py").write_text(TILL)
    async with fleet(amqp_url, tmp_path, path=tmp_path) as ours:
        await ours.coordinator()
        await ours.worker("shop", "shop:service")
        await ours.worker("till", "till:service")
        body = producer.replace("amqp://user:password@rabbit/", amqp_url).replace("path = await", "return await")
        indented = "\n".join("    " + line for line in body.splitlines())
        scope: dict[str, object] = {}
        exec(f"async def produce():\n{indented}", scope)
        assert await scope["produce"]() == "cat.png at 200"  # type: ignore[operator]
        body = workflow.replace("print(values[page])", "return values[page]")
        indented = "\n".join("    " + line for line in body.splitlines())
        exec(f"async def flow(client):\n{indented}", scope)
        async with Client(amqp_url) as client:
            assert await scope["flow"](client) == "pets: cat.png at 200, dog.png at 200"  # type: ignore[operator]
        indented = "\n".join("    " + line for line in [*keyed.splitlines(), "return receipt, rates"])
        exec(f"async def pay(client):\n{indented}", scope)
        async with Client(amqp_url) as client:
            assert await scope["pay"](client) == ("2041: 12", "2026-01-01")  # type: ignore[operator]


def test_the_policy_of_the_readme_is_one() -> None:
    """Its policy block orders as it says, by the name that its entry point gives it."""
    scope: dict[str, Any] = {"dataclass": dataclass, "Ordering": Ordering, "Waiting": Waiting}
    exec(PYTHON[4], scope)
    policy = scope["NewestFirst"]()
    check("ordering", policy)
    assert policy.key(Waiting(2)) < policy.key(Waiting(1))
    assert 'lifo = "house_policies:NewestFirst"' in README


def test_every_command_of_the_readme_exists() -> None:
    """`orchestrator X --help` answers for each command in the table."""
    words = _words()
    assert len(words) > 8
    for word in words:
        done = subprocess.run(
            [sys.executable, "-m", "orchestrator", word, "--help"], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{word}: {done.stderr}"
        assert "Usage" in done.stdout
