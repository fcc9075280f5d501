"""From any thread to a loop: everything put since the last look is taken in one turn, for one wake-up."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from contextvars import copy_context
from typing import Generic, TypeVar

T = TypeVar("T")


class Mailbox(Generic[T]):
    """``take`` is called on ``loop`` with all that was put, in order."""

    def __init__(self, loop: asyncio.AbstractEventLoop, take: Callable[[list[T]], None]) -> None:
        self._loop = loop
        self._take = take
        self._context = copy_context()
        """In which letters are taken: who puts them, a handler say, has variables of its own, which are not for what follows."""
        self._letters: deque[T] = deque()
        self._woken = False
        self._home = 0
        """The loop's thread, once it has looked: it needs no waking, which costs a turn of the loop and two calls of the system."""

    def put(self, letter: T) -> None:
        """From any thread. Nothing happens once the loop is closed: whoever took letters is gone."""
        # First the letter, then the look at the flag; the other side lowers the flag first and looks for letters then. So either
        # it sees this letter, or we see the lowered flag and wake it again. (Waking once too often is harmless.)
        self._letters.append(letter)
        if not self._woken:
            self._woken = True
            try:
                if threading.get_ident() == self._home:
                    self._loop.call_soon(self._look, context=self._context)
                else:
                    self._loop.call_soon_threadsafe(self._look, context=self._context)
            except RuntimeError:  # closed
                self._letters.clear()

    def leave(self, letter: T) -> None:
        """One that wakes nobody: it is taken with the next, or by ``empty``. From the loop's own thread."""
        self._letters.append(letter)

    def empty(self) -> list[T]:
        """What was put and not taken yet, in order."""
        return [self._letters.popleft() for _ in range(len(self._letters))]

    def _look(self) -> None:
        self._woken = False
        self._home = threading.get_ident()
        if letters := self.empty():  # what comes meanwhile wakes us again
            self._take(letters)
