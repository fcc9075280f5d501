"""Hypothesis strategies for messages and facts, made from their types: every limit is met, and reached."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import strategies as st
from msgspec import inspect as look

from orchestrator.vocabulary import Attempt
from orchestrator.wire.facts import Entry
from orchestrator.wire.messages import Message

MANY = 4
"""Lists and maps are no longer than that: what matters is what is in them."""

anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
"""Values of open fields."""


def of(kind: type[msgspec.Struct]) -> st.SearchStrategy[Any]:
    """Instances of a struct of the wire."""
    return _any_of(look.type_info(kind))


def messages() -> list[type[Message]]:
    """All kinds."""
    return Message.__subclasses__()


def entries() -> st.SearchStrategy[Entry]:
    """Entries of the ledger with facts of all kinds."""
    return of(Entry)


def _any_of(shape: look.Type) -> st.SearchStrategy[Any]:
    match shape:
        case look.Metadata():
            return _any_of(shape.type)
        case look.AnyType():
            return anything
        case look.NoneType():
            return st.none()
        case look.BoolType():
            return st.booleans()
        case look.IntType(ge=low, le=high):
            return st.integers(0 if low is None else low, 2**63 - 1 if high is None else high)
        case look.FloatType(ge=low, le=high):
            return st.floats(low, high, allow_nan=False, allow_infinity=False)
        case look.StrType(pattern=str(pattern)):
            return st.from_regex(pattern)
        case look.StrType(min_length=least, max_length=most):
            return st.text(min_size=least or 0, max_size=min(most or 8, 8))
        case look.BytesType():
            return st.binary(max_size=8)
        case look.LiteralType(values=values):
            return st.sampled_from(values)
        case look.ListType(item_type=item, min_length=least):
            return st.lists(_any_of(item), min_size=least or 0, max_size=MANY)
        case look.VarTupleType(item_type=item, min_length=least):
            return st.lists(_any_of(item), min_size=least or 0, max_size=MANY).map(tuple)
        case look.DictType(key_type=key, value_type=value):
            return st.dictionaries(_any_of(key), _any_of(value), max_size=MANY)
        case look.NamedTupleType():
            return st.builds(Attempt, st.integers(0, 2**53), st.integers(0, 2**53))
        case look.UnionType(types=types):
            return st.one_of([_any_of(one) for one in types])
        case look.StructType(cls=cls, fields=fields):
            required = {field.name: _any_of(field.type) for field in fields if field.required}
            optional = {field.name: _any_of(field.type) for field in fields if not field.required}
            return st.fixed_dictionaries(required, optional=optional).map(lambda said: cls(**said))
    raise AssertionError(f"no strategy for {shape}")
