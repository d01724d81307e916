"""The contract of a serializer."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

from fast_channels.types import Message

__all__ = ["MessageSerializer"]


class MessageSerializer(ABC):
    """Turns messages into bytes and back.

    A layer calls ``encode`` once for each send, however many members receive it, and
    ``decode`` at least once for each process that receives. Both may be called from several
    threads at once, and must not block: they run on the event loop.
    """

    @abstractmethod
    def encode(self, message: Mapping[str, Any]) -> bytes:
        """The message as bytes that ``decode`` of any process turns back into an equal one.

        Raises :class:`InvalidMessageError` when that is not possible.
        """

    @abstractmethod
    def decode(self, data: bytes) -> Message:
        """The message in ``data``: a new dict each time, with a str under ``"type"``.

        Raises :class:`MessageDecodeError` for anything else, whatever the bytes are: they come
        from outside, and must not be able to end the task that reads them.
        """

    def known_decoder(self) -> Callable[[bytes], Message]:
        """As ``decode``, for bytes that ``encode`` gave or ``decode`` has taken before.

        Layers call what this returns once for each receiver in the process. It may leave out
        every check.
        """
        return self.decode
