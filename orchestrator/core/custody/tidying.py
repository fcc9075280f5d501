"""Once a second: what nobody needs any more is forgotten, so that whatever passes through leaves nothing behind.

Law: every table has a bound that does not depend on how long we have run or on how many names peers have invented. What is dropped
here is soft, or is met again when it is needed.
"""

from __future__ import annotations

from orchestrator.core.desk import Desk
from orchestrator.core.timers import Timer
from orchestrator.vocabulary import service_of

SPARE_TIMERS = 10_000
SPARE_SERVICES = 1_000
"""So many more than are needed may be there before somebody looks through all of them."""
TYPES_MAX = 20_000
"""Types whose instances are gone and of which is remembered what their tasks asked for by default."""


def tidy(desk: Desk) -> None:
    """Look whether there is too much of anything. O(1) while there is not."""
    custody, registry, backlog = desk.custody, desk.registry, desk.backlog
    if len(desk.timers) > SPARE_TIMERS + 8 * (len(custody.live) + len(registry.instances)):
        desk.timers.sweep(lambda timer: _stands(desk, timer))
    if len(backlog.queues) > SPARE_SERVICES + len(registry.pools):
        for service in [one for one, queue in backlog.queues.items() if not queue.size and one not in registry.pools]:
            del backlog.queues[service]
            desk.stirred.pop(service, None)
    if len(registry.pools) > SPARE_SERVICES + len(registry.instances):
        for service, pool in list(registry.pools.items()):
            queue = backlog.queues.get(service)
            if pool.deserted and not (queue is not None and queue.size):
                del registry.pools[service]
    if len(backlog.needs) > TYPES_MAX:
        for type_ in [one for one in backlog.needs if service_of(one) not in registry.pools]:
            del backlog.needs[type_]
    desk.estimates.tidy()


def _stands(desk: Desk, timer: Timer) -> bool:
    reason, whom, _ = timer
    if reason in ("due", "deadline", "saved"):
        return whom in desk.custody.live
    if reason in ("lease", "fence", "backstop", "yield", "return"):
        return whom in desk.registry.instances
    return True
