"""From the map of values that a task brings to the arguments that a handler declares; checked before the handler runs.

Strict: a text is no number. Who submits from a command line has them converted there, where it is known that
all is text. What annotations may say: everything that msgspec can check (built-in types, ``list[int]``,
``dict``, ``Literal``, unions, dataclasses, ``TypedDict``, ``msgspec.Struct``, enums, ``datetime``, ``UUID`` …),
and pydantic models. No annotation means anything.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from orchestrator.wire.codec import CannotUnpack, unpack
from workers.context import Context, Given
from workers.errors import BadArguments, ServiceError


class _Argument(NamedTuple):
    name: str
    type: Any
    required: bool


class Signature:
    """What a handler takes. Made once, when the service starts."""

    def __init__(self, function: Callable[..., Any], who: str) -> None:
        """``who`` is the task type, for messages. Raises ``ServiceError`` for a signature that no task could meet."""
        self.who = who
        self.arguments: dict[str, _Argument] = {}
        self.context: str | None = None
        """Name of the parameter that wants the ``Context``."""
        self.takes_any = False
        """``**others``: names that are not declared are handed over as they came."""
        self._required: set[str] = set()
        try:
            hints = typing.get_type_hints(function, include_extras=True)
        except Exception as trouble:  # texts are evaluated, and that may raise anything
            raise ServiceError(
                f"An annotation of {who} cannot be read: {trouble}. The service is not started. "
                "Import what it names at the top of the module (not only for type checkers)."
            ) from None
        for parameter in inspect.signature(function).parameters.values():
            self._take(parameter, hints.get(parameter.name, Any))
        self._required = {one.name for one in self.arguments.values() if one.required}

    def _take(self, parameter: inspect.Parameter, annotation: Any) -> None:
        name = parameter.name
        if annotation is Context:
            self.context = name
        elif parameter.kind is inspect.Parameter.VAR_KEYWORD:
            self.takes_any = True
        elif parameter.kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.POSITIONAL_ONLY):
            raise ServiceError(
                f"{self.who} has the parameter {name!r}, which cannot be given by name. The service is not started. "
                "Arguments of tasks have names: make it an ordinary parameter."
            )
        else:
            annotation = Any if annotation is object else annotation
            _judge_type(annotation, name, self.who)
            self.arguments[name] = _Argument(name, annotation, parameter.default is inspect.Parameter.empty)

    def bind(self, blob: bytes, parents: Sequence[Given] = ()) -> dict[str, Any]:
        """The arguments in ``blob`` and those that are values of ``parents``, by name, converted to what is declared.

        Raises ``BadArguments``.
        """
        try:
            given = unpack(blob)
        except CannotUnpack as trouble:
            raise BadArguments(f"{self.who}: the arguments cannot be read: {trouble}.") from None
        if not isinstance(given, dict):
            raise BadArguments(f"{self.who}: the arguments must be a map of names to values, not {_kind(given)}.")
        if parents:
            given |= self._inherited(parents, given)
        self._judge_names(given)
        return {name: self._convert(name, value) for name, value in given.items()} if given else given

    def _inherited(self, parents: Sequence[Given], given: Mapping[str, Any]) -> dict[str, Any]:
        """Arguments that are values of parents; of those that are lists (``rows[]``) each parent adds one."""
        found: dict[str, Any] = {}
        for parent in parents:
            for into in parent.into:
                name = into.removesuffix("[]")
                if name in given or (name in found and name == into):
                    raise BadArguments(f"{self.who}: argument {name!r} is given by its parent {parent.task}, and otherwise too.")
                if name == into:
                    found[name] = self._value(parent)
                else:
                    found.setdefault(name, []).append(self._value(parent))
        return found

    def _value(self, parent: Given) -> Any:
        try:
            return parent.read()
        except CannotUnpack as trouble:
            raise BadArguments(f"{self.who}: what its parent {parent.task} returned cannot be read: {trouble}.") from None

    def _judge_names(self, given: Mapping[Any, Any]) -> None:
        if self._required <= given.keys() and (self.takes_any or given.keys() <= self.arguments.keys()):
            return
        missing = [one.name for one in self.arguments.values() if one.required and one.name not in given]
        unknown = [] if self.takes_any else [str(name) for name in given if name not in self.arguments]
        faults = [f"{_names(missing)} {'is' if len(missing) == 1 else 'are'} missing"] if missing else []
        faults += [f"{_names(unknown)} {'is' if len(unknown) == 1 else 'are'} unknown"] if unknown else []
        takes = ", ".join(self.arguments) or "nothing"
        raise BadArguments(f"{self.who}: {'; '.join(faults)}. It takes: {takes}.")

    def _convert(self, name: str, value: Any) -> Any:
        argument = self.arguments.get(name)
        if argument is None or argument.type is Any:
            return value
        try:
            return msgspec.convert(value, argument.type, dec_hook=_model)
        except msgspec.ValidationError as trouble:
            raise BadArguments(f"{self.who}: argument {name!r} does not fit: {_plain(trouble)}.") from None
        except Exception as trouble:  # a class that checks itself raises what its author likes
            raise BadArguments(f"{self.who}: argument {name!r} does not fit: {type(trouble).__name__}: {trouble}.") from None


def _judge_type(annotation: Any, name: str, who: str) -> None:
    """Raises ``ServiceError`` for a type that no value of a message can become."""
    try:
        kind = msgspec.inspect.type_info(annotation)
    except Exception as trouble:  # msgspec says in many ways that it does not know a type; all mean the same to the author
        raise _unusable(annotation, name, who) from trouble
    if isinstance(kind, msgspec.inspect.CustomType) and not hasattr(kind.cls, "model_validate"):
        raise _unusable(annotation, name, who)


def _unusable(annotation: Any, name: str, who: str) -> ServiceError:
    shown = getattr(annotation, "__qualname__", str(annotation))
    return ServiceError(
        f"{who} declares the argument {name!r} as {shown}, which no message can carry. The service is not started. "
        "Take plain values (or dataclasses, TypedDicts, msgspec or pydantic models) and build the object in the handler."
    )


def _model(wanted: type, value: Any) -> Any:
    """Pydantic models check themselves; ``object`` within another type (``dict[str, object]``) is anything."""
    if wanted is object:
        return value
    validate = getattr(wanted, "model_validate", None)
    if validate is None:  # deep within another type: ``_judge_type`` looks at the outermost alone
        raise ValueError(f"no message can carry a {wanted.__qualname__}")
    try:
        return validate(value)
    except ValueError as trouble:
        raise ValueError(str(trouble)) from None


def _plain(trouble: msgspec.ValidationError) -> str:
    """``Expected `int`, got `str` - at `$.x` `` without its decoration."""
    text = str(trouble).replace("`", "")
    head, _, where = text.partition(" - at $")
    head = head[:1].lower() + head[1:]
    return f"{head} (at {where.lstrip('.')})" if where else head


def _names(names: list[str]) -> str:
    return ", ".join(repr(name) for name in names[:20]) + (" …" if len(names) > 20 else "")


def _kind(value: Any) -> str:
    return "nothing" if value is None else f"a {type(value).__name__}"
