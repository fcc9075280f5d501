"""Write a service, run it as an instance that the orchestrator gives work to. Begin with ``workers.Service``."""

from workers.context import Context, Parent
from workers.errors import Fatal, ServiceError, Stopped
from workers.service import Service

__all__ = ["Context", "Fatal", "Parent", "Service", "ServiceError", "Stopped"]
