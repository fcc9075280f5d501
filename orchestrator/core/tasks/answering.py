"""What producers are told: the results of one step leave together, one message for each of them, and settle what waited for that.

Law: an answer that stands in the ledger is owed until it has arrived (R7). One that does not is kept by its submission, which is
not settled before: if we die meanwhile the next leader is given it, and answers.
"""

from __future__ import annotations

from itertools import islice

from msgspec.structs import replace

from orchestrator.core.commands import SendResults
from orchestrator.core.custody.records import Owed, unrecorded
from orchestrator.core.desk import Desk, Gate, Posted
from orchestrator.vocabulary import NS_PER_S, Nanos, TaskId
from orchestrator.wire.messages import Result, Task

AGAIN_NS: Nanos = 30 * NS_PER_S
AGAIN_MAX = 16
"""So many messages, at most, are said again in a second: a link that is only slow must not be given all of it once more."""


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
            said = SendResults(desk.token, reply_to, tuple([debt.result for debt in batch]), bool(gates))
            desk.posted[desk.token] = Posted(said, desk.now_ns, batch, list(gates))
            desk.out.append(said)
    desk.results.clear()
    desk.answers.clear()


def post_again(desk: Desk, now: Nanos) -> None:
    """What a broker has not answered for so long, though it is not alarmed, it never will: say it again, as something new. Or it
    would be owed for the whole reign, every result that came later with it, and the ledger be full of them in the end."""
    if desk.blocked or now < desk.calm_ns:
        return
    for token, posted in list(islice(desk.posted.items(), AGAIN_MAX)):
        if now - posted.at_ns < AGAIN_NS:
            return  # they stand in the order in which they were posted
        del desk.posted[token]
        desk.token += 1
        for debt in posted.owed:
            if debt.queues.get(posted.queue) == token:
                debt.queues[posted.queue] = desk.token
            if debt.letter_token == token:
                debt.letter_token = desk.token
        posted.said, posted.at_ns = replace(posted.said, token=desk.token), now
        desk.posted[desk.token] = posted
        desk.out.append(posted.said)
        desk.counts["posted_again"] += 1
