"""MessagePack and JSON, both by msgspec."""

from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import msgspec

from fast_channels.exceptions import InvalidMessageError, MessageDecodeError
from fast_channels.types import Message

from ._base import MessageSerializer
from ._walk import JSON, MSGPACK, Format, fits, plain_copy

__all__ = ["JsonSerializer", "MsgpackSerializer"]


class _MsgspecSerializer(MessageSerializer):
    """What the formats have in common."""

    def __init__(
        self,
        form: Format,
        encode: Callable[[Any], bytes],
        decode: Callable[[bytes], Message],
    ) -> None:
        self._form = form
        self._scalars = form.scalars
        self._encode = encode
        self._decode = decode

    def encode(self, message: Mapping[str, Any]) -> bytes:
        # The common case, within a microsecond. Whatever is unusual, or refused by the encoder
        # (numbers out of range, lone surrogates), is for the slow way to put right or explain.
        cls = type(message)
        if cls is dict and message.get("type"):
            try:
                if fits((message,), self._scalars) and type(message["type"]) is str:
                    return self._encode(message)
            except (ValueError, OverflowError, RecursionError):
                pass
        try:
            return self._encode(plain_copy(message, self._form))
        except (ValueError, OverflowError, RecursionError) as exc:
            raise InvalidMessageError(f"{self._form.name} cannot carry the message: {exc}") from exc

    def known_decoder(self) -> Callable[[bytes], Message]:
        # Straight to msgspec, unless a subclass decodes in its own way.
        ours = type(self).decode is _MsgspecSerializer.decode
        return self._decode if ours else self.decode

    def decode(self, data: bytes) -> Message:
        try:
            message = self._decode(data)
        # TypeError comes from old releases of msgspec, for a map whose key is a map.
        except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError, TypeError) as exc:
            raise MessageDecodeError(f"not a {self._form.name} message: {exc}") from exc
        if type(message.get("type")) is not str:
            raise MessageDecodeError(f'a {self._form.name} map, but without a str under "type"')
        return message


class MsgpackSerializer(_MsgspecSerializer):
    """MessagePack, readable by the ``msgpack`` library with its default settings, and the reverse.

    Tuples arrive as lists, and subclasses of the plain types as the plain value.
    """

    def __init__(self) -> None:
        decoder = msgspec.msgpack.Decoder(Message, ext_hook=_refuse_extension)
        super().__init__(MSGPACK, msgspec.msgpack.Encoder().encode, decoder.decode)


class JsonSerializer(_MsgspecSerializer):
    """JSON, for layers that other programs read; it carries no bytes and only finite floats.

    Tuples arrive as lists, and subclasses of the plain types as the plain value.
    """

    def __init__(self) -> None:
        super().__init__(JSON, msgspec.json.Encoder().encode, msgspec.json.Decoder(Message).decode)


def _refuse_extension(code: int, _data: memoryview) -> NoReturn:
    raise MessageDecodeError(f"it uses extension type {code}, which no message holds")
