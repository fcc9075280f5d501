"""What stands in a dead letter, as the coordinator writes it. Data only."""

from __future__ import annotations

from msgspec import Struct

from orchestrator.vocabulary import Attempt


class Trouble(Struct, frozen=True, omit_defaults=True):
    """Why something did not work."""

    kind: str
    message: str
    trace: str = ""


class Failed(Struct, frozen=True):
    """One attempt that failed."""

    attempt: Attempt
    cause: str
    instance: str
    at_ns: int
    error: Trouble


class Letter(Struct, frozen=True, omit_defaults=True):
    """A task that failed for good; or, from the quarantine (with ``where``), what a peer must not send."""

    task: str
    type: str
    error: Trouble | None = None
    tenant: str = ""
    args: bytes = b""
    outcome: str = ""
    accepted_ns: int = 0
    ended_ns: int = 0
    story: list[Failed] = []
    where: str = ""
    sample: bytes = b""
    at_ns: int = 0
    user: str = ""
    digest: str = ""
    count: int = 0
