"""The live chaos suite: real processes, real RabbitMQ nodes, real faults, and a witness that is none of ours.

    python -m tests.chaos --list            what there is, and what each fault imitates
    python -m tests.chaos                   the long form: every fault, several times
    pytest tests/chaos                      the same scenarios, once each and shorter

Law: nobody grades his own work. What ran is what the handlers have written into a file, line by line; what was asked and what was
answered is what the producer says. Our own books are not looked at, except to know when to begin.

``nodes`` and ``door`` are the world (brokers, wires), ``town`` puts everything together, ``faults`` breaks it, ``witness`` and
``judge`` say what came of it, ``scenarios`` are the stories.
"""
