"""The agent in the world: its shell on a thread of its own, the user's handlers on the main loop."""

from workers.live.agency import Agency, run, serve
from workers.live.options import Options

__all__ = ["Agency", "Options", "run", "serve"]
