"""The quiet room: the coordinator as a machine. Events in, commands out; no clock, no loop, no log, no dice.

Read in this order: ``events`` and ``commands`` (the door), ``lifecycle`` (what may follow what), ``rules`` (the law of
custody, one function each), ``records`` and ``custody`` (what the ledger says), ``registry`` and ``backlog`` (who is there,
who waits), then ``coordinator``, which brings them together. ``views`` answers questions, ``invariants`` says what must
never be untrue.
"""
