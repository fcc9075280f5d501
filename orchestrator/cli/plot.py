"""What came of a question, drawn: how slow tasks were, and how many were there, over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.cli.faults import BAD_USAGE, Fault

if TYPE_CHECKING:
    from orchestrator.sim.whatif.asking import Answer
    from orchestrator.traces import Trace

FORMS = (".png", ".svg")
POINTS_MAX = 2000
"""Of a curve: more than a screen is wide shows nothing new, and an SVG would be megabytes."""


def can_draw(path: Path) -> None:
    """Before anything is simulated: is this a form that can be drawn, and is what draws it installed? Raises Fault."""
    from importlib.util import find_spec

    if path.suffix not in FORMS:
        raise Fault(
            f"{path} cannot be drawn.", "Nothing was simulated.", f"Name a file that ends in {' or '.join(FORMS)}.", code=BAD_USAGE
        )
    if find_spec("matplotlib") is None:
        raise Fault(
            "What draws (matplotlib) is not installed.", "Nothing was simulated.",
            "Install it (pip install matplotlib), or leave --plot out: --tasks writes the times as a table.",
        )  # fmt: skip


def draw(path: Path, trace: Trace, answers: Mapping[str, Answer]) -> None:
    """Draw it. The same answers give the same file."""
    import matplotlib
    from matplotlib.figure import Figure

    matplotlib.rcParams["svg.hashsalt"] = "orchestrator"
    figure = Figure(figsize=(11, 4.5), layout="constrained")
    slow, there = figure.subplots(1, 2)
    figure.suptitle(f"{trace.name}: {len(trace.tasks):,} tasks")
    for name, answer in answers.items():
        _curve(slow, name, *_slowdowns(trace, answer))
        _curve(there, name, *_present(trace, answer))
    slow.set(xscale="log", xlabel="slowdown (response / run time)", ylabel="share of tasks", title="how many are no slower")
    there.set(xlabel="time, h", ylabel="tasks in the system", title="who is there")
    for axes in (slow, there):
        axes.grid(visible=True, alpha=0.3)
        axes.legend()
    figure.savefig(path, dpi=130, metadata={"Date": None} if path.suffix == ".svg" else {"Software": None})


def _curve(axes: Any, name: str, xs: Sequence[float], ys: Sequence[float]) -> None:
    step = max(1, len(xs) // POINTS_MAX)
    axes.step([*xs[::step], *xs[-1:]], [*ys[::step], *ys[-1:]], where="post", label=name, linewidth=1.2)


def _slowdowns(trace: Trace, answer: Answer) -> tuple[list[float], list[float]]:
    """The distribution: slowdowns, and the share of tasks that is no slower."""
    slow = sorted(
        (finish_ns / 1e9 - task.submit_s) / task.runtime_s
        for task, finish_ns in zip(trace.tasks, answer.finish_ns, strict=True)
        if finish_ns >= 0 and task.runtime_s
    )
    return slow, [rank / len(slow) for rank in range(1, len(slow) + 1)]


def _present(trace: Trace, answer: Answer) -> tuple[list[float], list[int]]:
    """Hours, and how many tasks are in the system from then on."""
    steps = [(task.submit_s, 1) for task in trace.tasks] + [(at_ns / 1e9, -1) for at_ns in answer.finish_ns if at_ns >= 0]
    hours, count, counts = [], 0, []
    for at_s, change in sorted(steps):
        count += change
        hours.append(at_s / 3600)
        counts.append(count)
    return hours, counts
