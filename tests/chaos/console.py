"""An operator's console at the nodes: one Erlang machine that stays and asks them what it is told.

Law: what an operator does costs the town nothing but the doing. `rabbitmqctl` starts a machine for each word: half a second of work
in peace, a minute where others work too, and nobody could say what of a silence was the fault and what the tool.
"""

from __future__ import annotations

import asyncio
from asyncio.subprocess import PIPE, Process
from pathlib import Path

ANSWERS_WITHIN_S = 120.0
ENDS_WITHIN_S = 10.0
PROGRAM = """\
Loop = fun(Loop) ->
    case io:get_line("") of
        eof -> halt(0);
        Line ->
            [Node, Text] = string:split(string:trim(Line), " "),
            {ok, Tokens, _} = erl_scan:string(Text),
            {ok, Words} = erl_parse:parse_exprs(Tokens),
            Said = case rpc:call(list_to_atom(Node), erl_eval, exprs, [Words, []]) of
                {value, Value, _} -> {ok, Value};
                Fault -> {fault, Fault}
            end,
            io:format("~0tp~n", [Said]),
            Loop(Loop)
    end
end,
Loop(Loop)."""
"""Reads a node's name and what is to be evaluated there from each line, and writes one line of what came of it. It ends with its
input, so with whoever started it."""


class Console:
    """Started when it is first asked. ``erl`` and ``environment`` are those of the nodes, ``name`` is its own among theirs."""

    def __init__(self, erl: Path, name: str, environment: dict[str, str]) -> None:
        self._command = [
            str(erl), "-noshell", "-hidden", "-start_epmd", "false", "-dist_listen", "false", "-sname", name, "-eval", PROGRAM,
        ]  # fmt: skip
        self._environment = environment
        self._process: Process | None = None
        self._turn = asyncio.Lock()

    async def ask(self, node: str, expression: str) -> str:
        """What this expression (with its full stop, on one line) is at a node. Raises AssertionError with its complaint."""
        assert "\n" not in expression
        async with self._turn, asyncio.timeout(ANSWERS_WITHIN_S):
            process = self._process or await self._start()
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(f"{node} {expression}\n".encode())
            said = (await process.stdout.readline()).decode().strip()
        assert said.startswith("{ok,"), f"{expression} at {node}: {said or 'the console has ended'}"
        return said[4:-1]

    async def _start(self) -> Process:
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            env=self._environment,
            cwd="/",
            stdin=PIPE,
            stdout=PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            limit=1 << 20,
        )
        return self._process

    async def close(self) -> None:
        """Its input ends, and so does it."""
        if self._process is None:
            return
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), ENDS_WITHIN_S)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
