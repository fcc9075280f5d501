"""What if? - a trace, a fleet and policies, run through the real cores in virtual time, without any fault but those asked for.

Law: nothing here decides. Which task goes next, where, and with how much is said by the coordinator's core, what becomes of it
there by the agents' cores, both unchanged; this package imagines a broker that loses nothing, machines that run as long as the
trace says, and a clock that jumps to the next moment at which anything happens. Everything that happens in one moment is known
before anything is decided in it. The same question with the same seed gives the same answer, byte for byte.

    fleet      the machines          question   what is asked: policies, estimates, delay, seed
    machines   agents at work        leader     the one coordinator            world    time, and who hears whom when
    books      what happened to each task and resource, kept apart from the cores' own books; ``laws`` compares the two
    figures    what came of it, as numbers

What is stretched: liveness. Beats, echoes, ticks, leases and windows last for ever (``forever`` below), or a trace of 34 days would
be 34 days of beats; a machine that fails is known at once from its deleted queue, as live with the event exchange. What is left
out: a second coordinator, a broker that restarts, results to producers. ``orchestrator.sim.world`` has all of these, and no
figures.
"""
