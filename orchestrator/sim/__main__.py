"""``python -m orchestrator.sim swarm --seeds 1000 --jobs 2``: many worlds; ``--seed 52 --story t7``: the life of one task in one.

Ends with 1 if a law was broken.
"""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser, Namespace
from os import cpu_count

from orchestrator.sim.swarm import Swarm, swarm
from orchestrator.sim.world import Outcome, World

LINE = 400


def arguments() -> Namespace:
    """What was typed."""
    parser = ArgumentParser(prog="python -m orchestrator.sim", description="The real cores in an imagined world.")
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("swarm", help="run worlds with the faults that their seeds draw, and watch the laws")
    command.add_argument("--seeds", type=int, default=100, help="how many worlds (100)")
    command.add_argument("--first-seed", type=int, default=0, help="the first of them (0)")
    command.add_argument("--jobs", type=int, default=cpu_count() or 1, help="processes (as many as there are cores)")
    command.add_argument("--json", action="store_true", help="answer in JSON")
    command.add_argument("--seed", type=int, help="run this one world, and say how it went")
    command.add_argument("--story", metavar="TASK", help="with --seed: tell all that happened to this task")
    command.add_argument("--wide", action="store_true", help="with --story: whole lines")
    return parser.parse_args()


def one(seed: int, story: str | None, wide: bool, as_json: bool) -> int:
    """One world, again."""
    world = World(seed)
    outcome = world.run()
    if story:
        for line in world.journal.story(story):
            print(line if wide else line[:LINE])
    if as_json:
        print(json.dumps(told(outcome, world.journal.digest()), indent=2))
    else:
        for name, value in told(outcome, world.journal.digest()).items():
            print(f"{name:12} {value}")
    return 1 if outcome.broken else 0


def told(outcome: Outcome, digest: str) -> dict[str, object]:
    """A run as plain data."""
    return {
        "seed": outcome.seed,
        "broken": outcome.broken or None,
        "where": outcome.trace or None,
        "events": outcome.events,
        "virtual_s": round(outcome.virtual_s, 3),
        "faults": dict(sorted(outcome.faults.items())),
        "counts": dict(sorted(outcome.counts.items())),
        "journal": digest,
    }


def many(first: int, seeds: int, jobs: int, as_json: bool) -> int:
    """A swarm."""
    total = Swarm()
    for total in swarm(first, seeds, jobs):
        if not as_json and sys.stderr.isatty():
            print(f"\r{total.seeds} worlds, {len(total.broken)} broken", end="", file=sys.stderr, flush=True)
    if as_json:
        print(json.dumps(total.told(), indent=2))
        return 1 if total.broken else 0
    answer = total.told()
    print(f"{answer['seeds']} worlds, {answer['events']} events, {answer['virtual_s'] / 3600:.1f} virtual hours")
    print("faults: " + ", ".join(f"{name} {count}" for name, count in answer["faults"].items()))
    print("seen:   " + ", ".join(f"{name} {count}" for name, count in answer["counts"].items()))
    print(f"rows of the lifecycle tables walked: {answer['rows_walked']} of {answer['rows']}")
    if answer["rows_missed"]:
        print("not walked: " + ", ".join(answer["rows_missed"]))
    for seed, what in answer["violations"].items():
        print(f"BROKEN in seed {seed}: {what}")
    return 1 if total.broken else 0


def main() -> int:
    """The door."""
    typed = arguments()
    if typed.seed is not None:
        return one(typed.seed, typed.story, typed.wide, typed.json)
    return many(typed.first_seed, typed.seeds, typed.jobs, typed.json)


if __name__ == "__main__":
    sys.exit(main())
