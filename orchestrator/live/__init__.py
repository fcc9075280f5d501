"""The live shell: clock, settings, log, session and loop around the quiet core; and the embedded broker.

``daemon`` is the main loop (a page), ``session`` carries commands out and brings events in, ``up`` puts a broker, a coordinator and
agents together for one machine.
"""
