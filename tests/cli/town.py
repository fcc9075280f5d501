"""Services that need each other, for the command line: ``market`` needs ``mill``, and one release of ``mill`` needs it back."""

from __future__ import annotations

from orchestrator.wire.messages import Dependency
from workers import Service

market = Service("market", slots=1, depends_on=["mill", Dependency("post", "dispatch")])
mill = Service("mill", slots=1)
post = Service("post", slots=1)
careless_mill = Service("mill", slots=1, version="2", depends_on=["market"])


def grind(corn: str = "rye") -> str:
    """Works at once."""
    return f"{corn} flour"


for service in (market, mill, post, careless_mill):
    service.task(grind)
