"""The imagined world: the real coordinator and the real agent, with only broker, network, clock and jobs imagined.

Law: everything that happens follows from a seed. Time is a heap of moments in virtual nanoseconds; chance is a set of dice,
each named after what it decides; nothing is born from a clock, from ``hash()`` or from the order of a set. So a seed that
finds a bug is a bug report: the same seed tells the same story, byte for byte.

    timeline      moments, one after another                        faults, chaos   what goes wrong, how often, and when it ends
    network       hosts, connections, lanes that keep order          workload        tasks, and how long each of their tries takes
    broker        what RabbitMQ does, no kinder than the real one    journal         everything that happened, to be told
    coordinators, agents, jobs, producers    who lives here          laws            what must never be untrue, seen from above

``world`` puts them together and runs them; ``swarm`` runs many; ``python -m orchestrator.sim swarm --seeds 100`` is its door.
"""
