"""The command line: what a person or a script types.

Law: commands ask and show, they never decide. What a command needs to do its work is imported when it runs, so that help comes at
once. ``--json`` writes one JSON value to stdout and nothing else; whatever is not the answer (hints, progress, errors) goes to
stderr. Exit codes: 0 done; 1 failed, interrupted, or not all that was asked is known (a shard is silent); 2 bad usage: what was
typed, or a file that it names, cannot be meant.

    app.py       the commands and their help          words.py     what is typed: k=v, 30s, gpu=1..4
    frame.py     what all commands share              where.py     which broker is meant
    faults.py    errors, for people                   show.py      tables and numbers, for people
    questions.py to all shards, one answer back       letters.py   what lies in dead letters
    look.py      services, tasks, why, …              act.py       cancel, drain, policy     limit.py   limits
    overview.py  the whole, for people                closeup.py   one task, for people
    submit.py    work in, results out                 story.py     the life of a task        flow.py    workflows
    settings.py  what coordinators can be told
    graph.py     which service needs which            demo.py      the demo                  bench.py   beside others
    serve.py     up, coordinator                      doctor.py    what is wrong here?       dead.py    dead letters
    plan.py      queueing formulas                    simulate.py  a trace, what if          plot.py    pictures of that
    record.py    the ledger as a trace                replay.py    a trace, live             asked.py   which trace, on what fleet
"""

from __future__ import annotations


def main() -> None:
    """Run the command line of this process. Never returns: exits with the command's code."""
    import logging
    import sys

    try:
        from orchestrator.cli.app import app
    except KeyboardInterrupt:  # it is told as in any command, though none is known yet
        print("interrupted", file=sys.stderr)
        sys.exit(1)

    if "--debug" in sys.argv:
        logging.basicConfig(level=logging.DEBUG, format="%(name)s: %(message)s")
    else:  # libraries that complain on stderr would talk over our own words, which say the same in full
        logging.getLogger().addHandler(logging.NullHandler())
    app(prog_name="orchestrator")
