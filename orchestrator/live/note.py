"""The note that a running ``orchestrator up`` leaves in its data directory: how others on this machine find it.

It holds the broker's password, so its owner alone may read it. Apart from ``up``, for whoever only looks for it need not load what
runs a broker.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path

UP_FILE = "up.json"


def running_url(data_dir: Path) -> str | None:
    """The broker of an ``up`` that runs on this data directory; none if there is none (a stale note is ignored)."""
    try:
        note = json.loads((data_dir / UP_FILE).read_text())
        url, pid = str(note["url"]), int(note["pid"])
        with suppress(PermissionError):  # it lives, and is another user's
            os.kill(pid, 0)
    except (OSError, ValueError, KeyError, TypeError):  # also one that is not for us to read
        return None
    return url


def write_private(path: Path, content: dict[str, object]) -> None:
    """Readable by its owner alone from the first byte, and never half written."""
    fresh = path.with_suffix(f".{os.getpid()}")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump(content, file)
    fresh.replace(path)
