"""Planning: what queueing theory says about a fleet before one is paid for.

Law of this room: pure functions of numbers. No clock, no dice, no broker, nothing of the rest of the project; the same question has
the same answer everywhere. ``orchestrator plan`` is its face on the command line.

Units. A *rate* is per second, a time (``_s``) is in seconds; whoever gives rates per hour gets hours back, everywhere alike.
``rho`` is the share of its time that a server works, ``offered load`` (Erlang) the mean number of servers at work, arrival rate
times mean service time. *Queue wait* is the time before service starts, *response* is wait and service together.

On a formula that is often quoted for the wait in M/M/1, ``E[W] = arrival_rate / (service_rate · (1 - rho))``: it equals
``rho / (1 - rho)``, which is L, the mean *number* of tasks in the system. It has no unit, so it is not a time: 90 arrivals against
100 services a second give 9, and 9 also per hour. The wait is ``rho / (service_rate - arrival_rate)`` (0.09 s), the response
``1 / (service_rate - arrival_rate)`` (0.1 s). ``queues.mm1`` gives each under its own name.

No numerical library is used. What is needed of one (an adaptive quadrature, an incomplete gamma function, four Bessel functions, a
bisection) is 200 lines in ``numerics.py`` with 1e-10 or better, tested against exact values; scipy would bring 100 MB to every
machine that has the command line, and a second of import to every call.

What cannot be answered raises ``CannotPlan`` (a ``ValueError``): a number that makes no sense, or more work than servers can do.

    queues.py        M/M/1, Erlang B and C, M/M/c, M/M/c/K             availability.py   one, a chain, k of n, repair crews
    laws.py          service time laws: exponential, uniform, …        staffing.py       how many servers for a target
    heavy.py         the same with long tails: Pareto, Weibull, …      dispatch.py       random, the best of d
    general.py       M/G/1, GI/M/1, G/G/c, M/D/c                       sharing.py        sums, max-min, elastic ranges
    sizes.py         M/G/1 under FIFO, SJF, PSJF, SRPT, PS, LAS        dominant.py       several resources: DRF, its rivals
    predictions.py   the same when sizes are only predicted            elastic.py        what a grant does to response times
    priorities.py    classes: strict, preemptive, ageing               graphs.py         ranks and schedules of task graphs
    ageing.py        the static key of dynamic priority                numerics.py       integrals, special functions, roots
    errors.py        what cannot be planned, and why
"""
