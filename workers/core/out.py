"""Where one step's commands gather, in the order in which they must be done."""

from __future__ import annotations

from orchestrator.vocabulary import Attempt
from workers.core.commands import Command, Told, Word


class Out:
    """Shared by the parts of one agent; emptied by every step."""

    __slots__ = ("_commands",)

    def __init__(self) -> None:
        self._commands: list[Command] = []

    def do(self, command: Command) -> None:
        """Have this done."""
        self._commands.append(command)

    def tell(self, word: Word, number: int = 0, text: str = "", attempt: Attempt | None = None) -> None:
        """Have a person know."""
        self._commands.append(Told(word, number, text, attempt))

    def take(self) -> list[Command]:
        """Everything gathered; nothing is left."""
        commands, self._commands = self._commands, []
        return commands
