"""A real RabbitMQ of our own, so that trying the orchestrator needs no server and no administrator.

`orchestrator up` without `--broker`, `orchestrator demo` and the tests run on it. It is the same RabbitMQ that a
company runs, not an imitation: the same guarantees, the same failures. `EmbeddedBroker` is the door:

    node.py          one node: start, stop, kill, restart, its URL
    local.py         the node as a child process; container.py: the node in a container
    distribution.py  where the server comes from; apt.py: Debian packages without root
    streams.py       that a node finds every stream it keeps
    memory.py        what a data directory remembers: ports, password, who runs
    processes.py     nothing of it outlives us unnoticed
    handshake.py     how we know that it serves

`python -m orchestrator.live.embedded` fetches a server if there is none, and says which one will be used.
"""

from .errors import BrokerDirectoryInUse, BrokerNotObtainable, BrokerNotStarted, EmbeddedBrokerError
from .node import EmbeddedBroker

__all__ = ["BrokerDirectoryInUse", "BrokerNotObtainable", "BrokerNotStarted", "EmbeddedBroker", "EmbeddedBrokerError"]
