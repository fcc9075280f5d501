"""The agent as a pure machine: see ``agent``. Nothing in this package touches the world."""

from workers.core.agent import Agent
from workers.core.profile import Lane, Limits, Profile

__all__ = ["Agent", "Lane", "Limits", "Profile"]
