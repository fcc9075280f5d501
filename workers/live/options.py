"""How one process is to be an instance of a service."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from orchestrator.vocabulary import Nanos, is_id, is_name
from orchestrator.wire.codec import Malformed, decode, encode
from workers.core.profile import Limits, Profile
from workers.durations import Duration, duration_ns
from workers.errors import ServiceError
from workers.jobs import lanes
from workers.live.logbook import Level, Style
from workers.service import Service, checked_devices, cpus

_HOST_CHARS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Where the broker is, and what differs from one instance to another."""

    broker: str = field(repr=False)
    """AMQP URL. With its password, so it is never shown."""
    instance: str = ""
    """Name of the instance; empty: ``service@host-pid``."""
    shard: str = ""
    """Whose tasks it takes; empty: those of the shard that the coordinators' rule gives for its service."""
    capacity: Mapping[str, float] = field(default_factory=dict)
    """Resources of this instance, over those that the service declares."""
    devices: Mapping[str, Iterable[str | int]] = field(default_factory=dict)
    """Single devices of this instance by resource, over those that the service declares: ``{"gpu": [2, 3]}``."""
    processes: int = 0
    """How many CPU-bound handlers run at once; 0: one for each CPU that this process may use."""
    grace: Duration = 10.0
    """When told to end: how long running handlers may take to finish."""
    log: Style = "console"
    log_level: Level = "info"

    @property
    def grace_ns(self) -> Nanos:
        """``grace`` in nanoseconds. Raises ``ServiceError``."""
        try:
            return duration_ns(self.grace, "the grace period")
        except ValueError as trouble:
            raise ServiceError(str(trouble)) from None

    def limits(self) -> Limits:
        """The core's numbers."""
        return Limits(grace_ns=self.grace_ns)

    def profile(self, service: Service) -> Profile:
        """Who the agent is. Raises ``ServiceError`` for a name or an amount that peers would refuse."""
        instance = self.instance or _default_name(service.name)
        if not is_id(instance):
            raise ServiceError(f"An instance cannot be called {instance!r}: use letters, digits and . _ : @ - (at most 128).")
        own = checked_devices(self.devices, f"Instance {instance}")
        counts = {name: float(len(names)) for name, names in own.items()}
        capacity = {**service.capacity, **counts, **self.capacity}
        for name, amount in capacity.items():
            if not is_name(name) or not 0 <= amount <= 1e12:
                raise ServiceError(f"An instance cannot have {name!r}: {amount!r}.")
        if self.shard and not is_name(self.shard):
            raise ServiceError(f"A shard cannot be called {self.shard!r}: one word of letters, digits, _ and -.")
        if self.processes < 0:
            raise ServiceError(f"processes is {self.processes}; it must be 1 or more (0: one for each CPU).")
        profile = Profile(
            instance=instance,
            service=service.name,
            capacity=capacity,
            handlers=tuple(spec.announced for spec in service.handlers.values()),
            version=service.version,
            depends_on=service.depends_on,
            labels=service.labels,
            devices={**service.devices, **own},
            lanes=lanes(self.processes or cpus()),
            lane_of={spec.name: spec.kind for spec in service.handlers.values()},
        )
        said = decode(encode(profile.announcement("sample")))
        if isinstance(said, Malformed):
            raise ServiceError(
                f"Service {service.name} cannot be announced: {said.detail}. It is not started: no coordinator would take it in."
            )
        return profile


def _default_name(service: str) -> str:
    host = re.sub(r"[^A-Za-z0-9_.-]", "-", socket.gethostname())[:_HOST_CHARS]
    return f"{service}@{host}-{os.getpid()}"
