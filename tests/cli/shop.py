"""A small service for the command line's tests: one handler that works, one that fails, one that waits to be let go."""

from __future__ import annotations

from pathlib import Path

from workers import Context, Service

thumbs = Service("thumbs", slots=2, capacity={"gpu": 2}, version="1.4")


@thumbs.task
def resize(path: str, width: int = 100) -> dict[str, object]:
    """Make it small."""
    return {"path": path, "width": width, "thumb": f"{path}@{width}"}


@thumbs.task
def frame(thumb: dict[str, object], colour: str) -> str:
    """Takes what ``resize`` returns."""
    return f"{thumb['thumb']} in {colour}"


@thumbs.task(retries=1, backoff="1ms")
def fail(why: str) -> None:
    """Never works."""
    raise ValueError(why)


@thumbs.task
def hold(ctx: Context) -> str:
    """Runs until it is told to stop."""
    ctx.progress(0.25, "holding")
    while not ctx.wait(60):
        pass
    return "let go"


@thumbs.task
def wait_for(gate: str, done: str) -> str:
    """Runs until somebody opens the named pipe ``gate``, heeding nothing else; leaves ``done`` behind."""
    word = Path(gate).read_text(encoding="utf-8")
    Path(done).write_text(word, encoding="utf-8")
    return word
