"""Encryption around another serializer."""

import base64
import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from fast_channels.exceptions import MessageDecodeError
from fast_channels.types import Message

from ._base import MessageSerializer

__all__ = ["EncryptedSerializer"]


class EncryptedSerializer(MessageSerializer):
    """Fernet (AES-128-CBC with HMAC-SHA256) around what ``inner`` encodes.

    A key is any non-empty str or bytes; its SHA-256 is the Fernet key, as in channels_redis.
    No work is added to that, so a short key can be guessed: take 32 random bytes.

    The first key encrypts and every key decrypts. To rotate without losing a message: add the
    new key at the end everywhere, then move it to the front everywhere, then take the old one
    out.

    An attacker who can write to the broker cannot forge a message, but can repeat an old one.

    Raises :class:`ModuleNotFoundError` when the ``encryption`` extra is not installed.
    """

    def __init__(self, inner: MessageSerializer, keys: Iterable[str | bytes]) -> None:
        derived = [_fernet_key(key) for key in _checked(keys)]
        try:
            from cryptography.fernet import Fernet, InvalidToken, MultiFernet
        except ModuleNotFoundError as exc:
            if exc.name != "cryptography":
                raise  # it is there; something that it needs itself is not
            raise ModuleNotFoundError(
                "encryption needs the cryptography package; "
                "install it with: pip install 'fast-channels-core[encryption]'",
                name="cryptography",
            ) from None
        self.inner = inner
        self._fernet = MultiFernet([Fernet(key) for key in derived])
        self._invalid_token = InvalidToken

    def encode(self, message: Mapping[str, Any]) -> bytes:
        return self._fernet.encrypt(self.inner.encode(message))

    def encrypted_size(self, size: int) -> int:
        """How many bytes :meth:`encode` makes of ``size`` bytes of ``inner``."""
        # The Fernet specification: version, time, IV and HMAC are 57 bytes, the data is padded to
        # whole blocks of 16 (one byte at least), and all of it is in base64.
        return (57 + 16 * (size // 16 + 1) + 2) // 3 * 4

    def decode(self, data: bytes) -> Message:
        return self.inner.decode(self.decrypt(data))

    def decrypt(self, data: bytes) -> bytes:
        """What ``inner`` encoded. Raises :class:`MessageDecodeError`."""
        try:
            return self._fernet.decrypt(data)
        except self._invalid_token as exc:
            raise MessageDecodeError(
                "none of the keys decrypts the message: it was encrypted with another key, "
                "not encrypted at all, or altered"
            ) from exc


def _checked(keys: Iterable[object]) -> list[str | bytes]:
    if isinstance(keys, str | bytes):
        # It is iterable: every character would become a key.
        raise TypeError(
            f"the keys are a list of str or bytes; put the single {type(keys).__name__} in one"
        )
    checked: list[str | bytes] = []
    for index, key in enumerate(keys):
        if not isinstance(key, str | bytes):
            raise TypeError(f"key {index} is a {type(key).__name__}; a key is a str or bytes")
        if not key:
            raise ValueError(f"key {index} is empty")
        checked.append(key)
    if not checked:
        raise ValueError("at least one key is needed to encrypt")
    return checked


def _fernet_key(key: str | bytes) -> bytes:
    secret = key.encode() if isinstance(key, str) else key
    return base64.urlsafe_b64encode(hashlib.sha256(secret).digest())
