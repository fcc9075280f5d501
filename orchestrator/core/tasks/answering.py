"""What producers are told: the results of one step leave together, one message for each of them, and settle what waited for that.

Law: an answer that stands in the ledger is owed until it has arrived (R7). One that does not is kept by its submission, which is
not settled before: if we die meanwhile the next leader is given it, and answers.
"""

from __future__ import annotations

from orchestrator.core.commands import SendResults
from orchestrator.core.custody.records import Owed, unrecorded
from orchestrator.core.desk import Desk, Gate, Posted
from orchestrator.vocabulary import TaskId
from orchestrator.wire.messages import Result, Task


def tell(desk: Desk, result: Result, reply_to: str, gate: Gate) -> None:
    """Answer without a fact, at the end of this step; ``gate`` waits until that has arrived."""
    owed = desk.custody.owed.get(result.task)
    if owed is None or owed.result is not result or reply_to not in owed.queues:
        owed = unrecorded(result)
    desk.results[reply_to].append(owed)
    gates = desk.answers.setdefault(reply_to, [])
    if not gates or gates[-1] is not gate:
        gate.left += 1
        gates.append(gate)


def post_owed(desk: Desk, task: TaskId, refused: Task | None = None) -> None:
    """What is owed about this task leaves (again) at the end of the step. ``refused``: what was asked, if it is known still; the
    ledger has it of accepted tasks alone."""
    owed = desk.custody.owed.get(task)
    if owed is None or desk.phase != "leading":
        return
    for queue, token in owed.queues.items():
        if not token:
            desk.results[queue].append(owed)
    if owed.letter is not None and not owed.letter_token:
        asked = {} if refused is None else {"type": refused.type, "tenant": refused.tenant, "args": refused.args}
        desk.bury({**owed.letter, **asked}, task)


def post(desk: Desk) -> None:
    """All results of this step leave, one message for each producer, or several by size."""
    for reply_to, debts in desk.results.items():
        batches: list[list[Owed]] = [[]]
        size = 0
        for debt in debts:
            if size > desk.config.results_message_bytes_max:
                batches.append([])
                size = 0
            batches[-1].append(debt)
            size += 200 if debt.result.value is None else 200 + len(debt.result.value)
        gates = desk.answers.get(reply_to, [])
        for gate in gates:
            gate.left += len(batches) - 1
        for batch in batches:
            desk.token += 1
            for debt in batch:
                debt.queues[reply_to] = desk.token
            desk.posted[desk.token] = Posted(batch, reply_to, list(gates))
            desk.out.append(SendResults(desk.token, reply_to, tuple([debt.result for debt in batch]), bool(gates)))
    desk.results.clear()
    desk.answers.clear()
