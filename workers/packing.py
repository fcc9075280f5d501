"""What handlers return and save, as bytes."""

from __future__ import annotations

from typing import Any

import msgspec

from orchestrator.wire.codec import CannotPack, pack


def packed(value: Any, what: str) -> bytes:
    """``value`` as every peer can read it: plain values as they are; dataclasses, models, sets, enums as plain ones.

    Raises ``CannotPack``, which names the place that cannot be packed.
    """
    try:
        return _packed(value, what)
    except CannotPack:
        raise
    except Exception as trouble:  # of the value's own code: a property, a model
        raise CannotPack(f"{what} cannot be packed: {type(trouble).__name__}: {trouble}") from None


def _packed(value: Any, what: str) -> bytes:
    try:
        return pack(value, what)
    except CannotPack as trouble:
        plain = _plain(value)
        if plain is value:
            raise
        try:
            return pack(plain, what)
        except CannotPack:
            raise trouble from None


def _plain(value: Any) -> Any:
    try:
        return msgspec.to_builtins(value, builtin_types=(bytes, bytearray), enc_hook=_model)
    except (TypeError, ValueError, NotImplementedError, RecursionError):
        return value


def _model(value: Any) -> Any:
    """Pydantic models tell themselves."""
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    raise NotImplementedError(type(value).__name__)
