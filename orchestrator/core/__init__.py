"""The quiet room: the coordinator as a machine. Events in, commands out; no clock, no loop, no log, no dice.

Read in this order: ``events`` and ``commands`` (the door), ``lifecycle`` (what may follow what), ``rules`` (the law of custody, one
function each), ``desk`` (the books, and what is about to leave), then ``coordinator``, which brings together what the rooms know:

    custody      what the ledger says, who may write it, and how it is kept short
    tasks        a task's way: taken in, joined to others by keys and edges, reported, ended, answered
    scheduler    who goes next, and where
    resources    what can be given: devices, elastic shares, limits of the whole cluster
    estimates    how long things take, learned from what ended
    registry     who is there, how long they are believed, and what services need of each other
    answers      what people ask: what goes on, why a task waits, when it will start

``invariants`` says what must never be untrue.
"""
