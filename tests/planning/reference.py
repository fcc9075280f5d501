"""The reference values under tests/data/theory, and what "agrees" means."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

from orchestrator.planning import heavy, laws

FILES = Path(__file__).parents[1] / "data" / "theory"


def reference(name: str) -> Any:
    """The content of one file."""
    return json.loads((FILES / f"{name}.json").read_text())


def agrees(found: float, expected: float, relative: float, row: object) -> None:
    """Fail, showing the row, unless both are the same to the relative tolerance."""
    assert math.isclose(found, expected, rel_tol=relative), f"{found!r} is not {expected!r} to {relative:g} in {row}"


_NUMBER = re.compile(r"[(=,]\s*([\d.]+(?:e\+?\d+)?)")


def law_named(name: str) -> laws.Law:
    """The law of service times that the files call so: "bounded_pareto(k=1.0,p=100.0,alpha=1.5)", "erlang2(mean=1)" …"""
    numbers = [float(word) for word in _NUMBER.findall(name)]
    match name.partition("(")[0], numbers:
        case "deterministic", [value]:
            return laws.Deterministic(value)
        case "erlang2", [mean]:
            return laws.Erlang(2, mean)
        case "erlang4", [mean]:
            return laws.Erlang(4, mean)
        case "uniform", [low, high]:
            return laws.Uniform(low, high)
        case "exp", [mean]:
            return laws.exponential(mean)
        case "H2_balanced", [mean, scv]:
            return laws.balanced_h2(mean, scv)
        case "lognormal", [mean, scv]:
            return heavy.lognormal(mean, scv)
        case "weibull", [shape, mean]:
            return heavy.weibull(shape, mean)
        case "bounded_pareto", [low, high, alpha]:
            return heavy.BoundedPareto(low, high, alpha)
    raise AssertionError(f"no law is called {name}")


def smooth_law_named(name: str) -> laws.SmoothLaw:
    """The same, where the law has a density."""
    law = law_named(name)
    assert isinstance(law, laws.SmoothLaw)
    return law
