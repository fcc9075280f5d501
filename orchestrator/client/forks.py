"""Whether we are still in the process in which something was opened.

Law: a fork tells its child, so nobody asks the system (a call into the kernel for each task, a microsecond of each). ``here`` is
another object in every child that Python forks.
"""

from __future__ import annotations

import os

here = object()
"""This process. Keep it, and compare it with what stands here later."""


def _born() -> None:
    global here
    here = object()


os.register_at_fork(after_in_child=_born)
