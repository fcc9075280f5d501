"""Who is measured: a file each, all behind one door (``door.Peer``).

    ours.py       the orchestrator: a coordinator, agents, the client library
    relay.py      the floor: the same AMQP hops through plain aio-pika, and nothing decided
    bare.py       the floor for CPU-bound work: plain processes and no broker
    celery.py  dramatiq.py  taskiq.py  faststream.py  dask.py  ray.py      each with its recommended *reliable* settings

A file imports its library at the top, because it is only ever imported by a process that plays that peer, in an environment that
has it (``environment.py``).
"""
