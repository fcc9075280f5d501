"""``MODULE:SERVICE``: where a service is, as it is written on a command line."""

from __future__ import annotations

import importlib.util
import os
import sys
from importlib.machinery import PathFinder

from workers.errors import ServiceError

OURS = ("orchestrator", "workers")


def parse(spec: str) -> tuple[str, str]:
    """Its module and its name there. Raises ``ServiceError``, which says what to write instead."""
    module, _, name = spec.partition(":")
    if not module or not name:
        raise ServiceError(f"{spec!r} does not say where the service is. Write MODULE:SERVICE, like shop.thumbs:service")
    if os.sep in module or module.endswith(".py"):
        meant = module.removesuffix(".py").removeprefix(f".{os.sep}").strip(os.sep).replace(os.sep, ".")
        raise ServiceError(f"{spec!r} names a file, not a module. Write {meant}:{name}")
    return module, name


def look_here() -> None:
    """Modules of the current directory are found too."""
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())


def check(spec: str) -> None:
    """Whether there is such a module, before anything is started for it; nothing of it is imported. Raises ``ServiceError``."""
    module, _ = parse(spec)
    look_here()
    top, *parts = module.split(".")
    try:
        found = importlib.util.find_spec(top)
        for part in parts:
            if found is None:
                break
            top = f"{top}.{part}"
            # By its last name: of a namespace package within another the full one is looked up among what is imported.
            found = PathFinder.find_spec(part, list(found.submodule_search_locations or ()))
    except (ImportError, ValueError):
        found = None
    if found is None:
        raise no_module(top)


def no_module(name: str) -> ServiceError:
    """It is nowhere."""
    top = name.partition(".")[0]
    if top in OURS:
        return ServiceError(
            f"There is no module {name!r}: {top!r} is a package of the orchestrator's own, and hides yours of that name. "
            "Give your package another name."
        )
    return ServiceError(
        f"There is no module {name!r}. It is looked for in {os.getcwd()} and where Python's packages are. "
        "Go to the directory that contains it, or set PYTHONPATH."
    )
