"""What can go wrong with a broker of our own, said in parts a person can act on."""

from __future__ import annotations

__all__ = ["BrokerDirectoryInUse", "BrokerNotObtainable", "BrokerNotStarted", "EmbeddedBrokerError"]


class EmbeddedBrokerError(Exception):
    """Base of all errors of the embedded broker.

    `what` happened and to whom, what it `means` for the work, what to `do`; `str()` joins the three.
    """

    def __init__(self, what: str, means: str, do: str) -> None:
        super().__init__(what, means, do)
        self.what = what
        self.means = means
        self.do = do

    def __str__(self) -> str:
        return f"{self.what} {self.means} {self.do}"


class BrokerNotObtainable(EmbeddedBrokerError):
    """No RabbitMQ is installed and none could be fetched."""


class BrokerNotStarted(EmbeddedBrokerError):
    """A RabbitMQ is there, but its node did not come to serve, or not with these credentials."""


class BrokerDirectoryInUse(EmbeddedBrokerError):
    """Another process of ours already runs a broker on the same data directory."""
