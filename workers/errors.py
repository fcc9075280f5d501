"""What handlers raise to say something, and what a service raises when it is written wrongly."""

from __future__ import annotations


class Fatal(Exception):
    """Raised by a handler: this task cannot succeed, do not try it again. Any other exception is tried again."""


class Stopped(BaseException):
    """Raised by a handler that was asked to stop (``ctx.should_stop``) and does: neither a result nor a failure.

    The task goes on elsewhere, from its last checkpoint. Not an ``Exception``, so that ``except Exception``
    lets it through.
    """


class BadArguments(Exception):
    """The arguments of a task do not fit its handler. Never tried again."""


class ServiceError(Exception):
    """A service is written wrongly, or cannot be loaded; the text says what, where, and how to put it right."""
