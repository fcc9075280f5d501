"""The live shell: clock, settings, log, session and loop around the quiet core; and the embedded broker.

``daemon`` is the main loop (a page), ``session`` carries commands out and brings events in, ``up`` puts a broker, a coordinator and
agents together for one machine. Where there are shards ``rule`` publishes which, ``shards`` keeps a coordinator for each, and
``balancer`` spreads their leaders.
"""
