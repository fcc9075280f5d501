"""What an operator may set of a policy: each setting has a name, a form, a default, limits and a reason.

Law: a policy is a frozen dataclass whose fields are its settings (``setting(…)``); its defaults are a policy that works. A policy
with its settings is written as one *spec*, the same on the command line, in a settings file, in the ledger and in answers:
``sjf``, ``sjf:ageing=10m``, ``dps:ageing=1h,priority=2``. A field ``ageing_ns`` is called ``ageing``: people write lengths of time
with their unit. Whatever is not right raises ``BadPolicy``, which says what there is.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import lru_cache
from typing import Any, Protocol, TypeVar, cast

from orchestrator.vocabulary import Nanos, ns, span_ns, span_text

P = TypeVar("P")

SPEC_MAX = 8_000
"""Characters of a spec: it is carried in the ledger and shown on a terminal."""
WEIGHTS_MAX = 500


class BadPolicy(ValueError):
    """A policy or a setting of it that cannot be meant; the text says what there is."""


class Form(Protocol):
    """What a setting's values look like."""

    def read(self, text: str) -> Any:
        """The value that ``text`` means. Raises ValueError."""
        ...

    def show(self, value: Any) -> str:
        """The text that means ``value``."""
        ...

    @property
    def says(self) -> str:
        """What may be written, in words."""
        ...


@dataclass(frozen=True, slots=True)
class Span:
    """A length of time in ns, or one of a few words that stand for none."""

    least_ns: Nanos
    most_ns: Nanos
    words: tuple[str, ...] = ()

    def read(self, text: str) -> Nanos | str:
        if text in self.words:
            return text
        span = ns(float(text)) if text.replace(".", "", 1).isdecimal() else span_ns(text)  # a plain number is seconds
        if not self.least_ns <= span <= self.most_ns:
            raise ValueError
        return span

    def show(self, value: Nanos | str) -> str:
        return value if isinstance(value, str) else span_text(value)

    @property
    def says(self) -> str:
        words = "".join(f"{word}, or " for word in self.words)
        return f"{words}a length of time from {span_text(self.least_ns)} to {span_text(self.most_ns)}"


@dataclass(frozen=True, slots=True)
class Number:
    """A number within limits."""

    least: float
    most: float

    def read(self, text: str) -> float:
        value = float(text)
        if not (math.isfinite(value) and self.least <= value <= self.most):
            raise ValueError
        return value

    def show(self, value: float) -> str:
        return f"{value:.6g}"

    @property
    def says(self) -> str:
        return f"a number from {self.least:g} to {self.most:g}"


@dataclass(frozen=True, slots=True)
class Weights:
    """A number for each of some tenants, ``gold=3;silver=1.5``; who is not named has 1. Kept sorted, as pairs."""

    least: float = 0.001
    most: float = 1000.0

    def read(self, text: str) -> tuple[tuple[str, float], ...]:
        found: dict[str, float] = {}
        for pair in filter(None, text.replace(",", ";").split(";")):
            name, equals, number = pair.rpartition("=")
            weight = float(number)
            if not equals or not name or name in found or len(name) > 64 or not self.least <= weight <= self.most:
                raise ValueError
            found[name] = weight
        if len(found) > WEIGHTS_MAX:
            raise ValueError
        return tuple(sorted(found.items()))

    def show(self, value: tuple[tuple[str, float], ...]) -> str:
        return ";".join(f"{name}={weight:.6g}" for name, weight in value)

    @property
    def says(self) -> str:
        return f"weights by tenant, like gold=3;silver=1.5 (each from {self.least:g} to {self.most:g}, at most {WEIGHTS_MAX})"


@lru_cache(maxsize=64)
def _table(weights: tuple[tuple[str, float], ...]) -> dict[str, float]:
    return dict(weights)


def weight_of(weights: tuple[tuple[str, float], ...], tenant: str) -> float:
    """The weight of this tenant; 1, if nothing is said of it."""
    return _table(weights).get(tenant, 1.0) if weights else 1.0


def setting(default: Any, form: Form, why: str) -> Any:
    """A field of a policy that operators may set. ``why``: what it does, and why its default is what it is."""
    return field(default=default, metadata={"form": form, "why": why})


@dataclass(frozen=True, slots=True)
class About:
    """One setting of a policy, for people."""

    name: str
    field: str
    form: Form
    default: str
    why: str


def settings_of(policy: object) -> Iterator[About]:
    """The settings that this policy has."""
    for one in fields(cast(Any, policy)):
        if (form := one.metadata.get("form")) is not None:
            yield About(one.name.removesuffix("_ns"), one.name, form, form.show(one.default), one.metadata["why"])


def with_settings(name: str, policy: P, texts: Mapping[str, str]) -> P:
    """``policy`` with some of its settings as ``texts`` say. Raises BadPolicy, for all that is wrong at once."""
    known = {one.name: one for one in settings_of(policy)}
    found: dict[str, Any] = {}
    wrong: list[str] = []
    for word, text in texts.items():
        one = known.get(word)
        if one is None:
            there = f"it has: {', '.join(known)}" if known else "it has none"
            wrong.append(f"policy {name!r} has no setting {word!r}; {there}")
            continue
        try:
            found[one.field] = one.form.read(text)
        except ValueError:
            wrong.append(f"{word} of policy {name!r} is {one.form.says}, not {text!r}")
    if wrong:
        raise BadPolicy("; ".join(wrong))
    return replace(cast(Any, policy), **found) if found else policy


def spec_of(name: str, policy: object) -> str:
    """The spec that means this policy: only what differs from the defaults is said."""
    said = [(one.name, one.form.show(getattr(policy, one.field)), one.default) for one in settings_of(policy)]
    changed = [f"{word}={text}" for word, text, default in said if text != default]
    return f"{name}:{','.join(changed)}" if changed else name


def parse_spec(spec: str) -> tuple[str, dict[str, str]]:
    """``sjf:ageing=10m`` -> ``("sjf", {"ageing": "10m"})``. Raises BadPolicy."""
    if len(spec) > SPEC_MAX:
        raise BadPolicy(f"a policy with its settings takes at most {SPEC_MAX} characters, not {len(spec)}")
    name, colon, rest = spec.partition(":")
    found: dict[str, str] = {}
    for pair in rest.split(",") if colon else ():
        word, equals, text = pair.partition("=")
        if not equals or not word.strip():
            raise BadPolicy(f"{spec!r} is no policy with settings; write NAME or NAME:SETTING=VALUE,SETTING=VALUE")
        if word.strip() in found:
            raise BadPolicy(f"{spec!r} says {word.strip()!r} twice")
        found[word.strip()] = text.strip()
    return name.strip(), found
