"""What is said to an agency from other threads and from signal handlers."""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any

from tests.workers.live.services import service
from workers.core.events import DrainAsked, Event
from workers.live import Agency, Options


def agency() -> Agency:
    """One that was not started."""
    return Agency(service, Options(broker="amqp://127.0.0.1:1/"))


def test_a_signal_that_comes_while_the_agent_begins_is_heard_once() -> None:
    """Whichever line the one of the two has come to: what is in between was lost, and nothing would ever have drained."""
    lines = 0
    for first, second in ((True, False), (False, True)):
        stop = 0
        while True:
            stop += 1
            one, heard = agency(), list[Event]()
            acts = {True: lambda one=one: one.drain("SIGTERM"), False: lambda one=one, heard=heard: one._begin(heard.append)}
            if not _interrupted(acts[first], acts[second], stop):
                break
            lines += 1
            assert [type(event) for event in heard] == [DrainAsked], f"line {stop}"
    assert lines > 8


def _interrupted(act: Any, other: Any, stop: int) -> bool:
    """``act``, with ``other`` done before its ``stop``-th line. Whether there was one."""
    left = stop

    def look(frame: FrameType, event: str, arg: Any) -> Any:
        nonlocal left
        if event == "line" and frame.f_code.co_filename.endswith("agency.py"):
            left -= 1
            if left == 0:
                sys.settrace(None)
                other()
        return look

    before = sys.gettrace()
    sys.settrace(look)
    try:
        act()
    finally:
        sys.settrace(before)
    return left <= 0
