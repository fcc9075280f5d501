"""Errors, for people: what happened, to whom; what it means for the work; what to do. No tracebacks.

Law: everything that we raise on purpose reads like that already and is shown as it is. Whatever else comes is a bug of ours, and is
called one.
"""

from __future__ import annotations

import sys

FAILED = 1
BAD_USAGE = 2

_USAGE_KINDS = frozenset({"bad_argument", "unknown_op", "unknown_policy", "bad_limit"})
"""Refusals of the coordinator that mean: you typed something that makes no sense."""


class Fault(Exception):
    """A command cannot do its work. ``code`` is the exit code of the process."""

    def __init__(self, what: str, means: str = "", do: str = "", *, code: int = FAILED) -> None:
        super().__init__(" ".join(part for part in (what, means, do) if part))
        self.code = code


def explain(fault: Exception, named_by: str = "") -> tuple[str, int]:
    """The sentences to show for an error, and the exit code. ``named_by``: who named the broker."""
    from orchestrator.amqp.errors import CannotConnect, LinkError
    from orchestrator.client.errors import AskRefused, OrchestratorError
    from orchestrator.live.embedded.errors import EmbeddedBrokerError
    from orchestrator.live.settings import SettingsError
    from orchestrator.shards import UnreadableRule
    from orchestrator.traces import BadTrace

    match fault:
        case Fault():
            return str(fault), fault.code
        case SettingsError() | BadTrace():
            return str(fault), BAD_USAGE
        case AskRefused():
            return str(fault), BAD_USAGE if fault.error.kind in _USAGE_KINDS else FAILED
        case CannotConnect():
            source = f" (The address was {named_by}.)" if named_by else ""
            return f"{fault.what} Nothing was submitted, asked or changed. {fault.do}{source}", FAILED
        case OrchestratorError() | LinkError() | EmbeddedBrokerError() | UnreadableRule():
            return str(fault), FAILED
        case OSError(filename=str() as name):
            what = f"The file or directory {name} cannot be used ({fault.strerror})."
            return f"{what} The command was broken off. Make it yours and writable, or name another one.", FAILED
        case _:
            return (
                f"{type(fault).__name__}: {fault}. This is a mistake in the orchestrator, not in what you typed; what was accepted "
                "before is safe in the ledger. Run it again with --debug and report what it prints.",
                FAILED,
            )


def complain(text: str) -> None:
    """An error, to stderr."""
    print(f"error: {text}", file=sys.stderr, flush=True)
