"""Where the ledger begins is looked at again and again, whatever came of the last look."""

from __future__ import annotations

from orchestrator.core import commands as c
from orchestrator.core import events as e
from orchestrator.vocabulary import NS_PER_S
from orchestrator.wire.messages import Task
from tests.core.floor import Floor


class Slow(Floor):
    """Its broker does not say where the ledger begins."""

    def __init__(self) -> None:
        self.looks = 0
        super().__init__(lambda task, where: 1.0)

    def _answer(self, command: c.Command) -> list[e.Event]:
        if isinstance(command, c.LookAtLedger):
            self.looks += 1
            return [e.LedgerBegins(None)]
        return super()._answer(command)


def test_a_broker_that_did_not_answer_is_asked_again() -> None:
    """Every ten seconds, if anything was written: a policy that cuts the ledger may come into force at any time."""
    floor = Slow()
    for number in range(12):
        floor.now_ns += 3 * NS_PER_S
        floor.submit(Task(f"t{number}", "s.h"))
    assert floor.looks == 4
    assert floor.machine.desk.keeping.kept_bytes is None
