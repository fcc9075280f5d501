"""The live chaos suite: real processes, real RabbitMQ nodes, real faults, and a witness that is none of ours.

    python -m tests.chaos --list            what there is, and what each fault imitates
    python -m tests.chaos                   all of it: every fault several times and long, on one node and on three; many kills
    pytest tests/chaos                      what is short and needs one node: once each; a few kills of each kind

A cluster of three and what takes a minute to pass (``THREE_NODES``, ``short=False``) are played by the command only.

Law: nobody grades his own work. What ran is what the handlers have written into a file, line by line; what was asked and what was
answered is what the producer says. Our own books are not looked at, except to know when to begin.

``nodes`` and ``door`` are the world (brokers, wires), ``town`` puts everything together, ``faults`` breaks it, ``witness`` and
``judge`` say what came of it, ``scenarios`` are the stories.
"""
