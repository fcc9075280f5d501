"""Between traces and a living system: what the ledger saw becomes a trace, and a trace is lived through once more.

``recorder`` turns facts into tasks of a trace (pure), ``ledger`` reads them from the broker; ``pace`` says when each task of a
trace is due (pure), ``sleepers`` are agents that sleep as long as a task ran, ``play`` submits and waits, ``account`` counts.
"""
