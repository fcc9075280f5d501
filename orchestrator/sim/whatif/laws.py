"""What must hold of every run, whatever the policy: checked after each, and told with its figures.

* **Little's law** (Little 1961): tasks in the system, as the coordinator counts them all the time, are the rate of arrivals times
  the time in the system, as the world measures it per task: the area under the one is the sum of the others. To the nanosecond
  without delay; with one, what is on its way counts on one side only.
* **Work is conserved**: machines have done what the tasks take that ended well, what stands in checkpoints of those that did not,
  and what was in vain (lost with a machine, spent on going on from a checkpoint), to the nanosecond: no task was run twice, none in
  part.
* **Nobody idles** while a task waits that would fit: ``idle_while_waiting_s``, without delay 0 unless room is kept for somebody.
"""

from __future__ import annotations

from typing import Any

from orchestrator.sim.whatif.books import Books
from orchestrator.vocabulary import NS_PER_S, Nanos


class LawBroken(AssertionError):
    """A run that cannot be: a mistake in the simulator or in the cores."""


def check(books: Books, delay_ns: Nanos) -> dict[str, Any]:
    """How well the laws hold. Raises LawBroken where one does not."""
    inside_ns = sum(gone - came for came, gone in zip(books.submit_ns, books.gone_ns, strict=True))
    apart_ns = abs(books.present_ns - inside_ns)
    if apart_ns > 2 * delay_ns * len(books.submit_ns):
        raise LawBroken(f"Little's law: {books.present_ns} task-ns in the coordinator's books, {inside_ns} by the clock")
    asked_ns = sum(length for length, done in zip(books.length_ns, books.done, strict=True) if done)
    known_ns = asked_ns + books.vain_ns + sum(books.kept_ns.values())
    if books.work_ns != known_ns:
        raise LawBroken(
            f"work is not conserved: machines did {books.work_ns} ns of it, the trace and what was in vain make {known_ns}"
        )
    return {
        "little_error": apart_ns / inside_ns if inside_ns else 0.0,
        "wasted_s": books.vain_ns / NS_PER_S,
        "idle_while_waiting_s": books.idle_ns / NS_PER_S,
    }
