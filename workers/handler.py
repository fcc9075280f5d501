"""One handler of a service: a function, how it is run, and what holds for its tasks."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from orchestrator.vocabulary import Nanos
from orchestrator.wire import messages as wire
from workers.errors import ServiceError

Kind: TypeAlias = Literal["async", "thread", "process"]
Need: TypeAlias = Mapping[str, float | tuple[float, float]]
"""What a task asks for, by resource: an amount, or ``(least, most)`` for one that can use more."""


@dataclass(frozen=True, slots=True)
class HandlerSpec:
    """A handler as it was declared."""

    service: str
    name: str
    function: Callable[..., Any]
    kind: Kind
    announced: wire.Handler

    @property
    def type(self) -> str:
        """The task type."""
        return f"{self.service}.{self.name}"

    @property
    def timeout_ns(self) -> Nanos | None:
        """Longest run of an attempt unless its task says otherwise."""
        return self.announced.timeout_ns

    @property
    def address(self) -> str:
        """Where another process finds the function: ``module:qualified.name``."""
        return f"{self.function.__module__}:{self.function.__qualname__}"


def kind_of(function: Callable[..., Any], kind: Kind | None, cpu_bound: bool, who: str) -> Kind:
    """How to run it: as asked, else async functions on the loop and others in threads. Raises ``ServiceError``."""
    is_async = inspect.iscoroutinefunction(function)
    chosen: Kind = kind or ("process" if cpu_bound else "async" if is_async else "thread")
    if chosen not in ("async", "thread", "process"):
        raise ServiceError(f'{who} has the kind {chosen!r}; kinds are "async", "thread" and "process".')
    if cpu_bound and chosen != "process":
        raise ServiceError(f"{who} is said to be cpu_bound and of kind {chosen!r}: CPU-bound handlers run in processes.")
    if chosen == "async" and not is_async:
        raise ServiceError(f'{who} is of kind "async" but not an async function: it would block all others. Use "thread".')
    if chosen == "thread" and is_async:
        raise ServiceError(f'{who} is an async function of kind "thread". Leave the kind out, or use "process".')
    if chosen == "process" and "<locals>" in function.__qualname__:
        raise ServiceError(
            f"{who} is to run in a process, but {function.__qualname__} is defined inside another function, "
            "where another process cannot find it. Move it to the top level of its module."
        )
    return chosen


def find(address: str) -> Callable[..., Any]:
    """The function at ``module:qualified.name``. Raises ``ServiceError`` if there is none."""
    module, _, path = address.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for name in path.split("."):
            found = getattr(found, name)
    except Exception as trouble:  # importing runs its author's code
        raise ServiceError(f"The handler {address} cannot be found by another process: {trouble}.") from trouble
    function: Callable[..., Any] = found
    return function


def check_address(spec: HandlerSpec) -> None:
    """Whether other processes can find a handler that runs in one. Raises ``ServiceError``."""
    if spec.kind != "process":
        return
    if spec.function.__module__ == "__main__":
        raise ServiceError(
            f"{spec.type} is to run in a process, but is defined in the program itself, which another process cannot import. "
            "Put the service into a module and start it with: workers run MODULE:SERVICE"
        )
    if find(spec.address) is not spec.function:
        raise ServiceError(
            f"{spec.type} is to run in a process, but {spec.address} is something else than the function that was declared: "
            "another decorator has replaced it. Put @service.task above all other decorators."
        )


def wire_need(need: Need | None, who: str) -> wire.Need:
    """A need as peers say it. Raises ``ServiceError`` for amounts that make no sense."""
    said: dict[str, float | wire.Range] = {}
    for name, amount in (need or {}).items():
        least, most = amount if isinstance(amount, tuple) else (amount, amount)
        if not 0 <= least <= most:
            raise ServiceError(f"{who} needs {name}: {amount!r}. An amount is not negative, and (least, most) rise.")
        said[name] = wire.Range(least, most) if isinstance(amount, tuple) else least
    return said
