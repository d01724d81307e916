"""What a message may hold.

msgspec takes more than a message may hold (datetime, UUID, dataclasses, sets) and those values
would come out of the other end as something else, so every message is looked at before it is
encoded. :func:`fits` does that for the usual message in a few hundred nanoseconds and gives no
reasons. :func:`plain_copy` is for the rest: it turns subclasses into the plain values they stand
for, or says what is wrong and where.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import isfinite
from types import NoneType
from typing import Any, TypeGuard

from fast_channels.exceptions import InvalidMessageError

from ._describe import hint, kind, location

__all__ = ["JSON", "MSGPACK", "Format", "fits", "plain_copy"]

MAX_DEPTH = 200
"""Containers within each other. Encoders and decoders everywhere recurse; the ``msgpack``
library gives up at 511, and the reader may have less stack left than the writer."""

_MIN_INT, _MAX_INT = -(2**63), 2**64 - 1
_all_str = frozenset({str}).issuperset
_class_of: Callable[[object], type] = type  # of an Any, type() is unknown to pyright


@dataclass(frozen=True, slots=True)
class Format:
    """What a format can carry."""

    name: str
    scalars: frozenset[type]
    """Types of which every value can be carried, or refused by the encoder itself."""
    carries_bytes: bool
    carries_nan: bool


MSGPACK = Format(
    "MessagePack",
    frozenset({str, bytes, int, float, bool, NoneType}),
    carries_bytes=True,
    carries_nan=True,
)
# msgspec writes NaN as null and any int as it is, so numbers are looked at one by one.
JSON = Format("JSON", frozenset({str, bool, NoneType}), carries_bytes=False, carries_nan=False)


def fits(values: Iterable[Any], scalars: frozenset[type], depth: int = MAX_DEPTH) -> bool:
    """Whether all values are exactly of plain types, with at most ``depth`` nested containers."""
    for value in values:
        cls = _class_of(value)
        if cls in scalars:
            continue
        if cls is dict:
            if not (depth and _all_str(map(type, value))):
                return False
            values = value.values()
            # Most messages are flat, and this is one call.
            if not (scalars.issuperset(map(_class_of, values)) or fits(values, scalars, depth - 1)):
                return False
        elif cls is list or cls is tuple:
            if not (depth and fits(value, scalars, depth - 1)):
                return False
        elif cls is int:
            if not _MIN_INT <= value <= _MAX_INT:
                return False
        elif not (cls is float and isfinite(value)):
            return False
    return True


def plain_copy(message: object, form: Format) -> dict[str, Any]:
    """An equal message that :func:`fits`, or :class:`InvalidMessageError`."""
    if not _is_dict(message):
        raise InvalidMessageError(f"a message is a dict, this is {kind(message)}")
    try:
        plain = _Copier(form).mapping(message)
    except RecursionError as exc:
        # Only when the caller is deep in recursion itself: MAX_DEPTH is far below the usual limit.
        raise InvalidMessageError(
            "the message is nested too deeply for the stack that is left"
        ) from exc
    if "type" not in plain:
        raise InvalidMessageError(
            'the message has no "type": give it one that names the handler, such as "chat.message"'
        )
    if not isinstance(plain["type"], str):
        raise InvalidMessageError(f'message["type"] is {kind(plain["type"])}; it must be a str')
    if not plain["type"]:
        raise InvalidMessageError('message["type"] is empty; it must name the handler')
    return plain


class _Copier:
    """One walk over one message, which knows where it is."""

    def __init__(self, form: Format) -> None:
        self._form = form
        self._path: list[str | int] = []
        self._open: set[int] = set()  # ids of the containers that the walk is inside of

    def value(self, value: object) -> object:
        # The unbound methods give exact copies of the base value, whatever a subclass made of
        # str(), int() and the like. bool and None have no subclasses.
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, int):
            number = int.__index__(value)
            if not _MIN_INT <= number <= _MAX_INT:
                raise self._fault("is an int outside of -2**63 to 2**64 - 1; send it as a str")
            return number
        if isinstance(value, float):
            if not (self._form.carries_nan or isfinite(value)):
                raise self._fault("is a float that is not finite, which JSON has no number for")
            return float.__float__(value)
        if isinstance(value, bytes):
            if not self._form.carries_bytes:
                raise self._fault("is bytes, which JSON has not; send a str or use MessagePack")
            return bytes.__bytes__(value)
        if _is_dict(value):
            return self.mapping(value)
        if _is_sequence(value):
            return self._sequence(value)
        raise self._fault(f"is {kind(value)}; {hint(value)}")

    def mapping(self, value: dict[Any, Any]) -> dict[str, Any]:
        self._enter(value)
        plain: dict[str, Any] = {}
        for key, item in value.items():
            if not isinstance(key, str):
                raise self._fault(f"has a key that is {kind(key)}; keys are str")
            name = self._text(key, "has a key")
            self._path.append(name)
            plain[name] = self.value(item)
            self._path.pop()
        self._open.discard(id(value))
        return plain

    def _sequence(self, value: list[Any] | tuple[Any, ...]) -> list[Any]:
        self._enter(value)
        plain: list[Any] = []
        for index, item in enumerate(value):
            self._path.append(index)
            plain.append(self.value(item))
            self._path.pop()
        self._open.discard(id(value))
        return plain

    def _text(self, value: str, what: str = "is a str") -> str:
        try:
            value.encode()
        except UnicodeEncodeError as exc:
            raise self._fault(
                f"{what} with a lone surrogate at index {exc.start}, which is not text"
            ) from exc
        return str.__str__(value)

    def _enter(self, value: object) -> None:
        if id(value) in self._open:
            raise self._fault("contains itself")
        if len(self._open) >= MAX_DEPTH:
            raise self._fault(f"is nested deeper than {MAX_DEPTH} levels")
        self._open.add(id(value))

    def _fault(self, why: str) -> InvalidMessageError:
        return InvalidMessageError(f"{location(self._path)} {why}")


# pyright takes the contents of a container that isinstance() found for unknown.
def _is_dict(value: object) -> TypeGuard[dict[Any, Any]]:
    return isinstance(value, dict)


def _is_sequence(value: object) -> TypeGuard[list[Any] | tuple[Any, ...]]:
    return isinstance(value, list | tuple)
