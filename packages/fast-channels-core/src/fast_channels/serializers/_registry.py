"""Serializers by name, for the configuration of layers."""

from collections.abc import Callable, Iterable

from ._base import MessageSerializer
from ._encrypted import EncryptedSerializer
from ._formats import JsonSerializer, MsgpackSerializer

__all__ = ["create_serializer", "register_serializer"]

_BUILT_IN: dict[str, Callable[[], MessageSerializer]] = {
    "json": JsonSerializer,
    "msgpack": MsgpackSerializer,
}
_factories: dict[str, Callable[[], object]] = dict(_BUILT_IN)


def register_serializer(name: str, factory: Callable[[], MessageSerializer]) -> None:
    """Lets layers be configured with the format ``name``; the serializer class is a factory.

    A later registration replaces an earlier one, for serializers created from then on.
    Raises :class:`ValueError` for the names of the built-in formats: replaced in one process,
    they would no longer be what other processes read.
    """
    if name in _BUILT_IN:
        raise ValueError(f"the serializer name {name!r} is built in; choose another")
    if not callable(factory):
        raise TypeError(
            f"the factory of serializer {name!r} cannot be called; "
            "give the class, or a function without arguments"
        )
    _factories[name] = factory


def create_serializer(
    name: str, *, symmetric_encryption_keys: Iterable[str | bytes] | None = ()
) -> MessageSerializer:
    """The serializer registered as ``name``; encrypting, if there are keys.

    Raises :class:`ValueError` for an unknown name.
    """
    factory = _factories.get(name)
    if factory is None:
        known = ", ".join(repr(known) for known in sorted(_factories))
        raise ValueError(
            f"there is no serializer {name!r}, only {known}; add yours with register_serializer()"
        )
    serializer = factory()
    if not isinstance(serializer, MessageSerializer):
        raise TypeError(
            f"the factory of serializer {name!r} made a {type(serializer).__name__}, "
            "which is not a MessageSerializer"
        )
    keys = symmetric_encryption_keys
    if keys is None or (not keys and not isinstance(keys, str | bytes)):
        return serializer
    # An empty str is refused there: a variable that is not set must not turn encryption off.
    return EncryptedSerializer(serializer, keys)
