"""Whether a machine idles while somebody waits who would fit: looked at between moments, by the core's own filter."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.core.desk import Desk
from orchestrator.core.scheduler.placing import able

if TYPE_CHECKING:
    from orchestrator.sim.whatif.world import World

LOOKS_MAX = 500
"""Kinds of demand times machines that are looked at after each moment; where there are more, after every 64th only."""
SELDOM = 64


class Idling:
    """Looks whether the moment that has just ended leaves anybody idle."""

    def __init__(self, world: World) -> None:
        self.seen = False
        """At the last look a machine had room for one who waits."""
        self._world = world
        self._desk: Desk = world.leader.machine.desk
        self._moments = 0
        self._counted = False

    def look(self) -> None:
        """Now that all is quiet."""
        self._moments += 1
        if self._world.all_came and not self._counted:
            self._counted = True
            self._world.books.backlog_end = len(self._desk.backlog)
        self.seen = False
        for service, queue in self._desk.backlog.queues.items():
            if not queue.size or not (pool := self._desk.registry.pools[service]).open:
                continue
            groups = [group for group in queue.classes.values() if group.size]
            if len(groups) * pool.open > LOOKS_MAX and self._moments % SELDOM:
                continue
            machines = [pool.opened(index) for index in range(pool.open)]
            if any(able(self._desk, one, group.type, group.demand) for group in groups for one in machines):
                self.seen = True
                return
