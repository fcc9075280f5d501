"""The client's exceptions travel between processes: a pool's worker whose task fails tells its parent so, instead of ending it."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
from typing import Any

import pytest

from orchestrator.amqp.errors import Broken, BrokenBy, CannotConnect, Fault, LedgerRewound, LinkLost, Missing, TopologyMismatch
from orchestrator.client import errors
from orchestrator.client.events import Cause, Problem
from orchestrator.wire.messages import Error, Result

PROBLEM = Problem(Cause.BACKLOG_FULL, "the queue is full", may_run=True)
RESULT = Result("t1", "failed", error=Error("ValueError", "no", "line 7"), attempts=3, instance="thumbs-1")
TASK_ERRORS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.TaskError)]
FAULTS: list[Exception] = [
    *(kind("Task t1 (a.b) did not", "t1", RESULT) for kind in TASK_ERRORS),
    errors.not_done("t1", "a.b", RESULT),
    errors.SubmitTimeout("not confirmed", "t1", PROBLEM),
    errors.BacklogFull("full", "t1", PROBLEM),
    errors.ShardsDiffer("two shards"),
    errors.ResultTimeout("not ended", "t1"),
    errors.NoCoordinator("nobody answered", PROBLEM),
    errors.AskRefused("no", Error("unknown_op", "there is no such")),
    errors.ClientClosed("closed"),
    errors.ClientMisused("not open"),
    CannotConnect(Fault.AUTH, "amqp://me@host/", "ACCESS_REFUSED"),
    LinkLost(Broken(BrokenBy.CONNECTION, "publish", "reset"), "a publish"),
    Missing("orchestrator.tasks", "it does not exist"),
    TopologyMismatch("orchestrator.tasks", "another type"),
    LedgerRewound("orchestrator.ledger", 7, 3),
]


def seen(fault: Exception) -> tuple[type, str, tuple[Any, ...], dict[str, Any]]:
    """All that a caller can see of it."""
    return type(fault), str(fault), fault.args, vars(fault)


def test_every_kind_is_tried() -> None:
    """A new kind of error joins the list."""
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.OrchestratorError)]
    assert {*kinds} - {errors.OrchestratorError} == {type(fault) for fault in FAULTS if isinstance(fault, errors.OrchestratorError)}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: type(fault).__name__)
def test_an_error_arrives_with_its_words_and_fields(fault: Exception) -> None:
    """Pickled and copied it is the same: kind, message, fields, notes; and it can be raised."""
    for again in (pickle.loads(pickle.dumps(fault)), copy.copy(fault)):
        assert seen(again) == seen(fault)
        with pytest.raises(type(fault)) as caught:
            raise again
        assert caught.value is again


def fail(name: str) -> None:
    """What a pool's worker does whose task failed."""
    raise errors.not_done(name, "a.b", RESULT)


def test_a_pool_hears_that_a_task_failed() -> None:
    """Its parent's thread that takes results died of such an error, and whoever waited hung for ever."""
    with multiprocessing.get_context("spawn").Pool(1) as pool, pytest.raises(errors.TaskFailed, match="after 3 attempts") as caught:
        pool.apply_async(fail, ("t1",)).get(60)
    assert (caught.value.task, caught.value.result) == ("t1", RESULT)
