"""A small service for the command line's tests: one handler that works, one that fails, one that waits to be let go."""

from __future__ import annotations

from workers import Context, Service

thumbs = Service("thumbs", slots=2, capacity={"gpu": 2}, version="1.4")


@thumbs.task
def resize(path: str, width: int = 100) -> dict[str, object]:
    """Make it small."""
    return {"path": path, "width": width, "thumb": f"{path}@{width}"}


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
