"""SIGTERM and SIGINT, taken over in this process and not in those that it forks.

A handler may fork (``multiprocessing``). What is forked would inherit what we do with signals: nothing, or begin to drain. So there
SIGTERM does again what it did before us, and ``Process.terminate`` ends it. SIGINT does nothing: Ctrl-C goes to the whole group, is
for the agent, and what runs may finish.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_TAKEN = (signal.SIGTERM, signal.SIGINT)

_before: dict[int, Any] = {}
"""What was done with those that are taken."""
_masks = threading.local()


@contextmanager
def taken(heed: Callable[[int, FrameType | None], object]) -> Iterator[None]:
    """Both go to ``heed``. Only in the main thread, and not within itself."""
    _before.update({number: signal.signal(number, heed) for number in _TAKEN})
    try:
        yield
    finally:
        for number, handler in _before.items():
            signal.signal(number, handler)
        _before.clear()


def _hold() -> None:
    """One that comes between the fork and our word there would be lost."""
    _masks.before = signal.pthread_sigmask(signal.SIG_BLOCK, _TAKEN)


def _let_go() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _masks.before)


def _give_back() -> None:
    if _before:
        signal.set_wakeup_fd(-1)  # it wakes the loop of the one that forked
        signal.signal(signal.SIGTERM, _before[signal.SIGTERM])
        signal.signal(signal.SIGINT, lambda *_: None)
    _let_go()


os.register_at_fork(before=_hold, after_in_parent=_let_go, after_in_child=_give_back)
