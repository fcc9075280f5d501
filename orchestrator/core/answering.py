"""What producers are told: the results of one step leave together, one message for each of them, and settle what waited for that.

Law: an answer that stands in the ledger is owed until it has arrived (R7). One that does not is kept by its submission, which is
not settled before: if we die meanwhile the next leader is given it, and answers.
"""

from __future__ import annotations

from orchestrator.core.commands import SendResults
from orchestrator.core.desk import Desk, Gate, Posted
from orchestrator.vocabulary import TaskId
from orchestrator.wire.messages import Result


def tell(desk: Desk, result: Result, reply_to: str, gate: Gate) -> None:
    """Answer without a fact, at the end of this step; ``gate`` waits until that has arrived."""
    desk.results.setdefault(reply_to, []).append(result)
    gates = desk.answers.setdefault(reply_to, [])
    if not gates or gates[-1] is not gate:
        gate.left += 1
        gates.append(gate)


def post(desk: Desk) -> None:
    """All results of this step leave, one message for each producer, or several by size."""
    for reply_to, results in desk.results.items():
        batches: list[list[Result]] = [[]]
        size = 0
        for result in results:
            if size > desk.config.results_message_bytes_max:
                batches.append([])
                size = 0
            batches[-1].append(result)
            size += len(result.value or b"") + 200
        gates = desk.answers.get(reply_to, [])
        for gate in gates:
            gate.left += len(batches) - 1
        for batch in batches:
            desk.token += 1
            desk.posted[desk.token] = Posted(_owed(desk, reply_to, batch), list(gates))
            desk.out.append(SendResults(desk.token, reply_to, tuple(batch)))
    desk.results.clear()
    desk.answers.clear()


def _owed(desk: Desk, reply_to: str, batch: list[Result]) -> list[TaskId]:
    """Those of them that are owed there, until the message that leaves now has arrived."""
    tasks: list[TaskId] = []
    for result in batch:
        owed = desk.custody.owed.get(result.task)
        if owed is not None and reply_to in owed.queues and owed.result is result:
            owed.queues[reply_to] = desk.token
            tasks.append(result.task)
    return tasks
