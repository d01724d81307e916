"""From messages to bytes and to envelopes, within the limits of a layer."""

import math
import time
from collections.abc import Mapping
from typing import Any

from fast_channels.exceptions import MessageTooLarge
from fast_channels.layers._mailbox import Envelope
from fast_channels.serializers import EncryptedSerializer, MessageSerializer

DEFAULT_MAX_MESSAGE_BYTES = 1024 * 1024


class MessageCodec:
    """Encodes once for all receivers, and refuses what the layer may not carry."""

    __slots__ = ("_decode_known", "_encrypted", "_expiry", "_max_bytes", "_plain", "_serializer")

    def __init__(
        self, serializer: MessageSerializer, *, expiry: float, max_message_bytes: int
    ) -> None:
        if type(max_message_bytes) is not int or max_message_bytes < 1:
            raise ValueError(
                f"max_message_bytes is {max_message_bytes!r}, expected a whole number of bytes"
            )
        self._serializer = serializer
        # Receivers of this process share the plain bytes: what arrives is decrypted once.
        self._encrypted = serializer if isinstance(serializer, EncryptedSerializer) else None
        self._plain = serializer if self._encrypted is None else self._encrypted.inner
        self._decode_known = self._plain.known_decoder()
        self._expiry = expiry
        self._max_bytes = max_message_bytes

    def encode(self, message: Mapping[str, Any]) -> bytes:
        payload = self._serializer.encode(message)
        self._check_size(len(payload))
        return payload

    def seal(self, message: Mapping[str, Any]) -> Envelope:
        """An envelope for receivers of this process, which need no encryption."""
        payload = self._plain.encode(message)
        size = len(payload)
        # What is too large for a receiver elsewhere is so here, too.
        self._check_size(size if self._encrypted is None else self._encrypted.encrypted_size(size))
        return Envelope(payload, self._decode_known, time.monotonic() + self._expiry, message)

    def arrived(self, data: bytes, age: float = 0, *, for_one: bool = False) -> Envelope:
        """An envelope for bytes from a broker, sent ``age`` seconds ago; ``for_one`` receiver.

        Raises :class:`MessageDecodeError` here, once, instead of at every receiver.
        """
        payload = data if self._encrypted is None else self._encrypted.decrypt(data)
        message = self._plain.decode(payload)
        expires_at = time.monotonic() + self._expiry - age
        spare = message if for_one else None
        return Envelope(payload, self._decode_known, expires_at, message, spare)

    def notice(self, message: Mapping[str, Any]) -> Envelope:
        """An envelope of the layer's own, which is never too large nor too old."""
        return Envelope(self._plain.encode(message), self._decode_known, math.inf, message)

    def _check_size(self, size: int) -> None:
        if size > self._max_bytes:
            raise MessageTooLarge(size, self._max_bytes)
