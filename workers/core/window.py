"""The window in which this incarnation may start work: open until (sending of the last echoed beat) + lease.

Reckoned from the *sending* of the beat, as the leader's lease is reckoned from its hearing, which is later: so
our window closes before the leader gives up on us, whatever the network does between.
"""

from __future__ import annotations

from collections import deque

from orchestrator.vocabulary import Nanos

_SENT_MAX = 1024
"""Unechoed beats remembered (17 minutes of them); older ones could not open a window any more."""


class Window:
    """Owned by one incarnation; a new one starts with a new window."""

    __slots__ = ("_sent", "epoch", "lease_ns", "seq", "until_ns")

    def __init__(self) -> None:
        self.seq = 0
        """Of the last Beat or Held."""
        self.lease_ns: Nanos = 0
        self.until_ns: Nanos = 0
        """0: never opened."""
        self.epoch = 0
        """Whose echo opened it."""
        self._sent: deque[tuple[int, Nanos]] = deque(maxlen=_SENT_MAX)

    def number(self, now_ns: Nanos) -> int:
        """The number of a Beat or Held that is sent now."""
        self.seq += 1
        self._sent.append((self.seq, now_ns))
        return self.seq

    def sync(self, lease_ns: Nanos, now_ns: Nanos) -> None:
        """A leader's lease holds from now on: it may shorten what an earlier leader granted, never lengthen it."""
        self.lease_ns = lease_ns
        if self.until_ns:
            self.until_ns = min(self.until_ns, now_ns + lease_ns)

    def heard(self, seq: int, epoch: int) -> None:
        """The leader of ``epoch`` has heard our beats up to ``seq``.

        Numbers we never said, or said too long ago, mean nothing.
        """
        if seq > self.seq or not self.lease_ns:
            return
        sent_ns = None
        while self._sent and self._sent[0][0] <= seq:
            sent_ns = self._sent.popleft()[1]
        if sent_ns is not None:
            self.until_ns = max(self.until_ns, sent_ns + self.lease_ns)
            self.epoch = epoch
