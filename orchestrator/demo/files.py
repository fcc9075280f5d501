"""Which files: the standard library of this Python, then what is installed beside it."""

from __future__ import annotations

import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_INSTALLED = frozenset({"site-packages", "dist-packages"})


class SourceFile(NamedTuple):
    """A Python file."""

    root: str
    """The directory from which it is imported."""
    name: str
    """Its path below that, with slashes."""


def source_files(limit: int) -> list[SourceFile]:
    """At most ``limit`` Python files, always the same ones in the same order: first the standard library, then installed packages.

    (Some distributions leave the larger half of the standard library away, its tests; then the packages fill up.)
    """
    paths = sysconfig.get_paths()
    found: dict[str, SourceFile] = {}
    for root in dict.fromkeys(Path(paths[key]).resolve() for key in ("stdlib", "platstdlib", "purelib", "platlib")):
        for path in _below(root):
            if len(found) == limit:
                return list(found.values())
            name = path.relative_to(root).as_posix()
            found.setdefault(name, SourceFile(str(root), name))
    return list(found.values())


def _below(root: Path) -> Iterator[Path]:
    for path in sorted(root.iterdir()) if root.is_dir() else ():
        if path.is_symlink():
            continue  # a link may lead in circles
        if path.is_dir():
            if path.name not in _INSTALLED:
                yield from _below(path)
        elif path.suffix == ".py":
            yield path


def module_of(name: str) -> str:
    """The dotted name under which a file is imported: ``json/__init__.py`` -> ``json``."""
    parts = name.removesuffix(".py").split("/")
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)
