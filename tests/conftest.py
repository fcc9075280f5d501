"""What all tests share: brokers, and a summary that says how much of it was real."""

from __future__ import annotations

import signal
from collections.abc import Generator

import pytest
from hypothesis import settings

from tests.brokers import BROKER_FIXTURES, amqp_url, broker, own_broker, root_vhost_url, vhosts

__all__ = ["amqp_url", "broker", "own_broker", "root_vhost_url", "vhosts"]

settings.register_profile("patient", deadline=None)  # how long one example takes says more of the machine than of the code
settings.load_profile("patient")

_touched_a_broker = pytest.StashKey[int]()


def pytest_configure(config: pytest.Config) -> None:
    """Nothing is counted yet. Begun by a shell in the background we would be deaf to Ctrl-C, and so would what the tests start."""
    config.stash[_touched_a_broker] = 0
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Who asks for a broker is marked, so that the mark cannot be forgotten."""
    for item in items:
        if isinstance(item, pytest.Function) and BROKER_FIXTURES.intersection(item.fixturenames):
            item.add_marker("broker")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Count broker tests that ran, and let none be skipped: a missing broker must be seen."""
    report = yield
    if item.get_closest_marker("broker") is not None:
        if report.skipped and not hasattr(report, "wasxfail"):
            report.outcome = "failed"
            report.longrepr = f"a broker test may not be skipped: {report.longrepr}"
        elif report.when == "call":
            item.config.stash[_touched_a_broker] += 1
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say how many tests touched a real broker."""
    terminalreporter.write_line(f"{config.stash[_touched_a_broker]} tests ran against a real RabbitMQ")
