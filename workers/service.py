"""A service: a name, handlers, and what an instance of it has to offer.

    from workers import Context, Service

    service = Service("thumbs", slots=4)

    @service.task(timeout="30s", retries=3)
    async def resize(url: str, width: int, ctx: Context) -> str:
        ...

    # in a shell:  workers run my.module:service

Handlers stay ordinary functions: they can be called, tested and imported like any other.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar, overload

from orchestrator.vocabulary import NS_PER_S, is_id, is_name
from orchestrator.wire import messages as wire
from workers.arguments import Signature
from workers.durations import Duration, duration_ns
from workers.errors import ServiceError
from workers.handler import HandlerSpec, Kind, Need, check_address, kind_of, wire_need

F = TypeVar("F", bound=Callable[..., Any])
Hook = Callable[[], Any]


class Service:
    """Declares handlers; ``run`` or ``serve`` makes this process an instance of it."""

    def __init__(
        self,
        name: str,
        *,
        slots: float | None = None,
        capacity: Mapping[str, float] | None = None,
        version: str = "",
        depends_on: Iterable[str | wire.Dependency] = (),
        labels: Mapping[str, str] | None = None,
        devices: Mapping[str, Iterable[str | int]] | None = None,
    ) -> None:
        """``slots``: how many tasks that ask for nothing else run at once; by default the number of CPUs we may use.

        ``capacity``: other resources by name, such as ``{"cpu": 2, "gpu": 1}`` (it may name ``slots`` too).
        ``depends_on``: services that must be there; a text means from the start.
        ``devices``: resources that come in single devices, by name: ``{"gpu": ["GPU-0", "GPU-1"]}``. A task that asks for one
        gets a whole device, one that asks for 0.3 a part of a single device, shared with others; ``Context.devices`` tells which.
        There are as many of the resource as devices, if ``capacity`` does not say otherwise. Raises ``ServiceError``.
        """
        if not is_name(name):
            raise ServiceError(f"A service cannot be called {name!r}: use letters, digits, - and _ (at most 64).")
        has = dict(capacity or {})
        if slots is not None and has.setdefault("slots", slots) != slots:
            raise ServiceError(f"Service {name} is given slots twice: {slots} and {has['slots']}.")
        has.setdefault("slots", cpus())
        for resource, amount in has.items():
            if not is_name(resource) or not 0 <= amount <= 1e12:
                raise ServiceError(f"Service {name} cannot have {resource!r}: {amount!r}.")
        self.devices = checked_devices(devices or {}, f"Service {name}")
        for resource, names in self.devices.items():
            has.setdefault(resource, len(names))
        self.name = name
        self.capacity: dict[str, float] = has
        self.version = version
        self.depends_on = tuple(wire.Dependency(one) if isinstance(one, str) else one for one in depends_on)
        self.labels = dict(labels or {})
        self.handlers: dict[str, HandlerSpec] = {}
        self.start_hooks: list[Hook] = []
        self.stop_hooks: list[Hook] = []

    def __repr__(self) -> str:
        return f"Service({self.name!r}, handlers={list(self.handlers)})"

    # --- declaring --------------------------------------------------------------------------------

    @overload
    def task(self, name: F, /) -> F: ...

    @overload
    def task(
        self,
        name: str | None = None,
        /,
        *,
        kind: Kind | None = None,
        cpu_bound: bool = False,
        timeout: Duration | None = None,
        retries: int = 2,
        backoff: Duration = 1.0,
        backoff_max: Duration = 300.0,
        need: Need | None = None,
        estimate: Duration | None = None,
        preemptible: bool = False,
    ) -> Callable[[F], F]: ...

    def task(
        self,
        name: Any = None,
        /,
        *,
        kind: Kind | None = None,
        cpu_bound: bool = False,
        timeout: Duration | None = None,
        retries: int = 2,
        backoff: Duration = 1.0,
        backoff_max: Duration = 300.0,
        need: Need | None = None,
        estimate: Duration | None = None,
        preemptible: bool = False,
    ) -> Any:
        """Declare a handler: ``@service.task`` or ``@service.task("resize", timeout="30s")``. The function
        stays as it is.

        ``name``: of the handler; the function's own by default. ``kind``: ``async`` (on the loop), ``thread``,
        or ``process`` (can be killed; ``cpu_bound=True`` means the same); by default what the function is.
        ``timeout``: longest run of one attempt. ``retries``: further attempts after failures, the first after
        ``backoff``, then twice as long each time up to ``backoff_max``. ``need``: what a task asks for, an
        amount or ``(least, most)`` by resource; by default one slot. ``estimate``: how long a run takes, until
        it has been seen. ``preemptible``: while it runs it may be asked to make room for something more urgent; it
        then saves a checkpoint, raises ``Stopped``, and goes on later from ``ctx.resumed``, perhaps on another
        instance (see ``Context.checkpoint_or_stop``). A stop or a timeout kills the process of a handler of kind
        ``process`` and nothing else: programs and processes that it has started (those of a pool) run on, unless they
        notice that it is gone. Raises ``ServiceError``.
        """

        def declare(function: F, handler: str | None = None) -> F:
            called = handler or str(getattr(function, "__name__", ""))
            who = f"{self.name}.{called}"
            if not is_name(called):
                raise ServiceError(f"A handler cannot be called {called!r}: use letters, digits, - and _ (at most 64).")
            if called in self.handlers:
                raise ServiceError(f"{who} is declared twice. Give one of the two another name.")
            if not 0 <= retries <= 1000:
                raise ServiceError(f"{who}: retries is {retries!r}; it must lie between 0 and 1000.")
            try:
                announced = wire.Handler(
                    name=called,
                    timeout_ns=None if timeout is None else duration_ns(timeout, f"timeout of {who}"),
                    retries=retries,
                    backoff_ns=duration_ns(backoff, f"backoff of {who}"),
                    backoff_max_ns=duration_ns(backoff_max, f"backoff_max of {who}"),
                    need=wire_need(need, who),
                    estimate_ns=None if estimate is None else duration_ns(estimate, f"estimate of {who}"),
                    preemptible=preemptible,
                    doc=(function.__doc__ or "").strip().partition("\n")[0][:4096],
                )
            except ValueError as trouble:
                raise ServiceError(str(trouble)) from None
            if announced.timeout_ns is not None and announced.timeout_ns < NS_PER_S // 1000:
                raise ServiceError(f"timeout of {who} is shorter than a millisecond: no attempt could succeed.")
            chosen = kind_of(function, kind, cpu_bound, who)
            self.handlers[called] = HandlerSpec(self.name, called, function, chosen, announced)
            return function

        if callable(name):
            return declare(name)
        return lambda function: declare(function, name)

    def on_start(self, hook: F) -> F:
        """Call this function, async or not, before the first task; what it raises keeps the instance from starting.

        It runs in the agent's process: handlers of kind ``process`` load what they need when their module is imported.
        """
        self.start_hooks.append(hook)
        return hook

    def on_stop(self, hook: F) -> F:
        """Call this function, async or not, when the instance ends: after the last task, if the grace period sufficed.

        Threads that were told to stop and did not may still run then; told twice, or cut off at once, what runs is not waited for.
        """
        self.stop_hooks.append(hook)
        return hook

    def signatures(self) -> dict[str, Signature]:
        """What each handler takes, checked. Raises ``ServiceError`` that lists everything that is wrong."""
        faults: list[str] = []
        found: dict[str, Signature] = {}
        if not self.handlers:
            faults.append(f"Service {self.name} has no handlers. Declare one with @service.task.")
        for spec in self.handlers.values():
            try:
                found[spec.name] = Signature(spec.function, spec.type)
                check_address(spec)
            except ServiceError as trouble:
                faults.append(str(trouble))
        if faults:
            raise ServiceError("\n".join(faults))
        return found

    # --- running ----------------------------------------------------------------------------------

    def run(self, broker: str, **options: Any) -> None:
        """Be an instance of this service until SIGTERM or Ctrl-C.

        Blocks. For ``options`` see ``workers.live.Options``.
        """
        from workers.live import Options, run  # not at the top: importing a service must not cost a broker's client

        run(self, Options(broker=broker, **options))

    async def serve(self, broker: str, **options: Any) -> None:
        """The same within a running loop.

        Leaves signals alone; cancel it to end at once, or see ``workers.live.Agency``.
        """
        from workers.live import Options, serve

        await serve(self, Options(broker=broker, **options))


def checked_devices(devices: Mapping[str, Iterable[str | int]], who: str) -> dict[str, tuple[str, ...]]:
    """Devices by resource, with their names as texts. Raises ``ServiceError`` for what no message can say."""
    found: dict[str, tuple[str, ...]] = {}
    for resource, names in devices.items():
        found[resource] = tuple(map(str, names))
        if not is_name(resource) or not found[resource] or len(set(found[resource])) < len(found[resource]):
            raise ServiceError(f"{who} cannot have the devices {resource!r}: {list(found[resource])}. Name each once.")
        if resource == "slots":
            raise ServiceError(f"{who} cannot have slots as devices: a slot is as good as any other.")
        for name in found[resource]:
            if not is_id(name):
                raise ServiceError(
                    f"{who} cannot have a {resource} called {name!r}: use letters, digits and . _ : @ - (at most 128)."
                )
    return found


def cpus() -> int:
    """CPUs that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1
