"""Services that need services: who has what it needs, and who closes a circle.

Law: a service is *there* while it has a ready instance, and needs are looked at directly, never through others: were readiness
transitive, one outage would empty the registry. A need ``at: start`` holds an instance back until all such have been there
once, one ``at: dispatch`` whenever it is not there.

Needs at start must not run in a circle, for then nobody could begin. They are laid down in the order in which the instances
joined (which the ledger knows, so every leader judges alike), and an instance with a need that would close a circle is not
made ready: it counts for nobody and gets no work, and says why, until it announces something else or the others have left.
So a careless release of one service never stops those that already run.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from orchestrator.core.desk import Desk
from orchestrator.core.registry.registry import Instance
from orchestrator.vocabulary import Service

Needs: TypeAlias = Mapping[Service, Mapping[Service, None]]
"""Which services each service needs to start."""


def missing(desk: Desk, instance: Instance) -> list[Service]:
    """Services that this instance needs now and that are not there."""
    if instance.announced is None or not instance.announced.depends_on:
        return []
    absent = {need.service: need.at for need in instance.announced.depends_on if not desk.registry.ready(need.service)}
    return [service for service, at in absent.items() if at == "dispatch" or not instance.started]


def obstacle(desk: Desk, instance: Instance) -> str | None:
    """What of its needs keeps this instance from work, in words; none: nothing."""
    if instance.circle:
        return f"would close a circle with what it needs to start: {arrows(instance.circle)}"
    if instance.announced is None or not instance.announced.depends_on:
        return None
    absent = missing(desk, instance)
    if not absent:
        return None
    barred = [one for name in absent if (pool := desk.registry.pools.get(name)) for one in pool.members.values() if one.circle]
    why = f" ({barred[0].name} {obstacle(desk, barred[0])})" if barred else ""
    return f"needs service {', '.join(absent)}, which has no ready instance{why}"


def heed(desk: Desk, service: Service) -> None:
    """An instance of this service became ready: those that depend on it may have what they need, to start or at dispatch."""
    for instance in desk.registry.dependents.get(service, {}).values():
        heed_start(desk, instance)
        instance.offers = None  # what it offers counts from now on, as if it had just come
        desk.retouch(instance)


def heed_start(desk: Desk, instance: Instance) -> None:
    """It may have everything that it needs to start; once is enough."""
    if not instance.started and not instance.circle and instance.announced is not None:
        instance.started = all(map(desk.registry.ready, starts(instance)))


def starts(instance: Instance) -> list[Service]:
    """What this instance needs to start."""
    return [need.service for need in instance.announced.depends_on if need.at == "start"] if instance.announced else []


def tell(desk: Desk, instance: Instance) -> None:
    """Let an instance that obeys us know why it gets no work: its people look into its log first."""
    if not desk.leading or instance.answered != desk.epoch or (why := obstacle(desk, instance)) is None:
        return
    asked = (desk.registry.pools.get(name) for name in missing(desk, instance))
    if instance.circle or not any(pool is not None and pool.unanswered for pool in asked):  # not just for the time of a takeover
        desk.order(instance).notice = why


# --- circles ------------------------------------------------------------------------------------------------------------


def judge(desk: Desk) -> None:
    """Find anew who closes a circle: somebody with needs at start came, left, or says something else."""
    laid: dict[Service, dict[Service, None]] = {}
    present = (one for one in desk.registry.instances.values() if one.state != "gone")
    for instance in sorted(present, key=lambda one: _seniority(desk, one)):
        needs = starts(instance)
        circle = next((found for need in needs if (found := closes(laid, instance.service, need))), ())
        if not circle:
            laid.setdefault(instance.service, {}).update(dict.fromkeys(needs))
        if circle != instance.circle:
            _judged(desk, instance, circle)


def _judged(desk: Desk, instance: Instance, circle: tuple[Service, ...]) -> None:
    before, instance.circle = instance.circle, circle
    desk.retouch(instance)
    fields = {"instance": instance.name, "service": instance.service, "circle": arrows(circle or before)}
    if desk.leading:
        desk.note("circle" if circle else "circle_open", **fields)
    if circle:
        tell(desk, instance)
    else:
        heed_start(desk, instance)
        heed(desk, instance.service)


def _seniority(desk: Desk, instance: Instance) -> tuple[int, int, str]:
    """Who joined earlier, by the ledger; whose joining is not read yet comes after."""
    known = desk.custody.joined.get(instance.incarnation)
    return (0, known[0].at_ns, instance.incarnation) if known is not None else (1, 0, instance.incarnation)


def closes(needs: Needs, service: Service, needed: Service) -> tuple[Service, ...]:
    """The circle that ``service`` would close by needing ``needed`` beside ``needs``: it stands first and last. None: empty."""
    came_from: dict[Service, Service] = {needed: service}
    ahead = [needed]
    while ahead:
        here = ahead.pop()
        if here == service:
            break
        for after in needs.get(here, ()):
            if after not in came_from:
                came_from[after] = here
                ahead.append(after)
    else:
        return ()
    path = [service]
    while (before := came_from[path[-1]]) != service:
        path.append(before)
    return (service, *reversed(path))


def arrows(circle: tuple[Service, ...]) -> str:
    """A circle in words."""
    return " → ".join(circle)
