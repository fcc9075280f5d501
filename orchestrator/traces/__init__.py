"""Traces: what was asked of a system, when, and how long it took. Read, written, rescaled, invented.

Law: a trace is data about the past and nothing else: tasks with their arrivals and run times, no decisions. So the same trace can
be asked "what if" in virtual time, and be submitted again to a live system. Two forms, each also ``.gz``:

* ``*.csv``, independent tasks (or tasks with a ``depends_on`` column), one a row: ``submit_s, runtime_s, cpus, mem_mb, gpus, user,
  priority, estimate_s, name``, and where they are wanted ``id, type, depends_on, size, workflow, deadline_s, need`` (demands for
  which there is no column). Only ``submit_s`` and ``runtime_s`` must be there; a blank says nothing; columns that are not known are
  left alone. This form loses nothing.
* ``*.jsonl``, workflows, one a line: ``{"name", "submit_s"?, "tasks": [{"id", "name", "runtime_s", "cpus", "mem_mb", "instances"?,
  "depends_on"}]}``.
"""

from orchestrator.traces.errors import BadTrace
from orchestrator.traces.files import read, write
from orchestrator.traces.load import capped, load_of, rescaled, span_s, spread
from orchestrator.traces.task import Trace, TraceTask, trace_of

__all__ = ["BadTrace", "Trace", "TraceTask", "capped", "load_of", "read", "rescaled", "span_s", "spread", "trace_of", "write"]
