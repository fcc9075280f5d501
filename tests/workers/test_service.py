"""Declaring a service: what is announced, and which mistakes are found before anything begins."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from functools import wraps

import pytest

from orchestrator.vocabulary import NS_PER_S
from orchestrator.wire.codec import CannotPack, unpack
from orchestrator.wire.messages import Dependency, Range
from workers import Context, Service, ServiceError
from workers.live import Options
from workers.packing import packed


def top_level() -> None:
    """Another process can find this."""


def test_handlers_stay_ordinary_functions() -> None:
    """They can be called and tested without any of this."""
    service = Service("maths")

    @service.task
    def double(number: int) -> int:
        """Twice the number.

        And more words.
        """
        return 2 * number

    @service.task("half", timeout="90s", retries=5, backoff="500ms", need={"slots": 1, "cpu": (1, 4)}, estimate=2)
    async def halve(number: int) -> float:
        return number / 2

    assert double(4) == 8
    doubled, halved = (spec.announced for spec in service.handlers.values())
    assert (doubled.name, doubled.doc, doubled.retries, doubled.timeout_ns) == ("double", "Twice the number.", 2, None)
    assert (halved.name, halved.timeout_ns, halved.retries, halved.backoff_ns) == ("half", 90 * NS_PER_S, 5, NS_PER_S // 2)
    assert halved.need == {"slots": 1, "cpu": Range(1, 4)}
    assert [spec.kind for spec in service.handlers.values()] == ["thread", "async"]
    assert list(service.signatures()) == ["double", "half"]


def test_capacity_has_slots_by_default() -> None:
    """One for each CPU we may use; or as said."""
    assert Service("a").capacity["slots"] >= 1
    assert Service("a", slots=7, capacity={"gpu": 1}).capacity == {"slots": 7, "gpu": 1}
    assert Service("a", capacity={"slots": 3}).capacity == {"slots": 3}


def test_devices_count_as_capacity() -> None:
    """As many as are named, unless said otherwise; numbers are names too."""
    service = Service("a", slots=2, devices={"gpu": ["GPU-0", "GPU-1"], "fpga": [7]})
    assert service.capacity == {"slots": 2, "gpu": 2, "fpga": 1}
    assert service.devices == {"gpu": ("GPU-0", "GPU-1"), "fpga": ("7",)}
    assert Service("a", slots=2, capacity={"gpu": 1}, devices={"gpu": [0, 1]}).capacity["gpu"] == 1
    for devices in ({"gpu": []}, {"gpu": [0, 0]}, {"gpu": ["a b"]}, {"slots": ["s"]}, {"a gpu": [0]}):
        with pytest.raises(ServiceError, match="cannot have"):
            Service("a", devices=devices)


def test_an_instance_may_have_devices_of_its_own() -> None:
    """Over those of the service, and announced."""
    service = Service("a", slots=2, devices={"gpu": [0, 1]})
    service.task("look")(top_level)
    said = Options(broker="amqp://here/", devices={"gpu": [2, 3, 4]}).profile(service).announcement("i")
    assert (said.devices, said.capacity) == ({"gpu": ["2", "3", "4"]}, {"slots": 2, "gpu": 3})


def test_dependencies() -> None:
    """A text means from the start."""
    assert Service("a", depends_on=["db", Dependency("mail", "dispatch")]).depends_on == (
        Dependency("db"),
        Dependency("mail", "dispatch"),
    )


def test_mistakes_are_found_when_they_are_made() -> None:
    """Each says what is wrong with which handler."""
    service = Service("s")
    service.task("taken")(top_level)
    with pytest.raises(ServiceError, match="cannot be called 'a service'"):
        Service("a service")
    with pytest.raises(ServiceError, match="slots twice"):
        Service("s", slots=1, capacity={"slots": 2})
    with pytest.raises(ServiceError, match="cannot have 'gpu': -1"):
        Service("s", capacity={"gpu": -1})
    with pytest.raises(ServiceError, match=r"s\.taken is declared twice"):
        service.task("taken")(top_level)
    with pytest.raises(ServiceError, match="A handler cannot be called 'two words'"):
        service.task("two words")(top_level)
    with pytest.raises(ServiceError, match=r"timeout of s\.x is 'soon'"):
        service.task("x", timeout="soon")(top_level)
    with pytest.raises(ServiceError, match="retries is -1"):
        service.task("x", retries=-1)(top_level)
    with pytest.raises(ServiceError, match="would block all others"):
        service.task("x", kind="async")(top_level)
    with pytest.raises(ServiceError, match="CPU-bound handlers run in processes"):
        service.task("x", kind="thread", cpu_bound=True)(top_level)
    with pytest.raises(ServiceError, match="An amount is not negative"):
        service.task("x", need={"cpu": (4, 1)})(top_level)
    with pytest.raises(ServiceError, match="defined inside another function"):
        service.task("x", cpu_bound=True)(lambda: None)
    with pytest.raises(ServiceError, match="has no handlers"):
        Service("empty").signatures()


def test_a_process_handler_hidden_by_another_decorator_is_refused() -> None:
    """The other process would call something else than was declared."""
    service = Service("s")

    @wraps(top_level)
    def other() -> None:
        """Pretends to be ``top_level``."""

    service.task("x", cpu_bound=True)(other)
    with pytest.raises(ServiceError, match=r"Put @service\.task above all other decorators"):
        service.signatures()


def test_all_faults_of_a_service_are_told_at_once() -> None:
    """Not one per try."""
    service = Service("s")

    @service.task
    def one(*a: int) -> None:
        """Wrong."""

    @service.task
    def two(link: Context | object) -> None:
        """Wrong."""

    with pytest.raises(ServiceError) as caught:
        service.signatures()
    assert "s.one" in str(caught.value)
    assert "s.two" in str(caught.value)


@dataclass
class Point:
    """A point."""

    x: int
    y: int


def test_results_of_many_kinds_can_be_returned() -> None:
    """Dataclasses, sets and the like arrive as plain values; what cannot travel is named with its place."""
    assert unpack(packed({"at": Point(1, 2), "raw": b"\x00"}, "result")) == {"at": {"x": 1, "y": 2}, "raw": b"\x00"}
    assert unpack(packed({1, 2}, "result")) == [1, 2]
    with pytest.raises(CannotPack, match=r"result\.deep\[1\]"):
        packed({"deep": [1, object()]}, "result")


def test_importing_the_library_is_light() -> None:
    """A service's module is imported in tests, tools and pool processes: no broker client, no command line, no loop."""
    heavy = {"asyncio", "aio_pika", "aiormq", "pydantic", "rich", "typer", "structlog"}
    code = "import workers, sys; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ, check=True)
    assert not heavy & set(run.stdout.split())
