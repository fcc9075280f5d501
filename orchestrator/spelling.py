"""What a word that nobody knows may have meant, and which variables of the environment are such words."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator

_NEAR = 0.75
"""How alike (0…1) a variable must be to one of those that are read, where there may be others that are not ours to judge."""
_KUBERNETES = re.compile(r"(SERVICE_(HOST|PORT)(_.*)?|PORT(_\d+_.*)?)")
"""What a cluster puts into every environment for a service of our name."""


def nearest(word: str, known: Iterable[str]) -> str:
    """The word that is most like it, if any is."""
    return next(iter(difflib.get_close_matches(word, list(known), n=1)), "")


def unknown(environment: Iterable[str], prefix: str, known: Iterable[str]) -> list[str]:
    """The variables that begin like ours and that nothing reads."""
    names = {prefix + name.upper() for name in known}
    ours = (name for name in sorted(environment) if name.upper().startswith(prefix) and name.upper() not in names)
    return [name for name in ours if not _KUBERNETES.fullmatch(name[len(prefix) :].upper())]


def misspelt(environment: Iterable[str], prefix: str, known: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Those of them that are so like one that is read that it must be meant, with that one."""
    names = [name.upper() for name in known]
    for name in unknown(environment, prefix, names):
        if near := difflib.get_close_matches(name[len(prefix) :].upper(), names, n=1, cutoff=_NEAR):
            yield name, prefix + near[0]
