"""What a piece of work costs, whatever else this process holds and whatever else the machine does."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass
class Cost:
    """Set when the work is over."""

    ms: float = 0.0
    """CPU time of this process."""


@contextmanager
def cost() -> Iterator[Cost]:
    """Of what is done within. What was there before is left out of the search for garbage meanwhile: after thousands of tests that
    would be most of the time, and says nothing of the work."""
    found = Cost()
    gc.freeze()
    began = time.process_time()
    try:
        yield found
    finally:
        found.ms = (time.process_time() - began) * 1000
        gc.unfreeze()
