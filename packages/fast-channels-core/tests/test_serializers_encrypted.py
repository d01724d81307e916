import base64
import hashlib
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from itertools import pairwise
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fast_channels.exceptions import InvalidMessageError, MessageDecodeError
from fast_channels.serializers import (
    EncryptedSerializer,
    JsonSerializer,
    MsgpackSerializer,
    create_serializer,
)

MESSAGE = {"type": "chat.message", "text": "the secret"}
INNER = MsgpackSerializer()


class NotInstalled(MetaPathFinder):
    """Makes a package as good as not installed."""

    def __init__(self, package: str) -> None:
        self.package = package

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> None:
        if fullname.partition(".")[0] == self.package:
            raise ModuleNotFoundError(f"No module named {self.package!r}", name=self.package)


class TestWithoutTheExtra:
    @pytest.fixture(autouse=True)
    def no_cryptography(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in list(sys.modules):
            if name.partition(".")[0] == "cryptography":
                monkeypatch.delitem(sys.modules, name)
        monkeypatch.setattr(sys, "meta_path", [NotInstalled("cryptography"), *sys.meta_path])

    def test_the_pip_line_is_told(self) -> None:
        with pytest.raises(ModuleNotFoundError) as caught:
            EncryptedSerializer(INNER, ["key"])
        assert "pip install 'fast-channels-core[encryption]'" in str(caught.value)
        assert caught.value.name == "cryptography"

    def test_nothing_else_needs_it(self) -> None:
        assert isinstance(create_serializer("msgpack"), MsgpackSerializer)


def test_a_broken_installation_is_not_called_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("cryptography")
    monkeypatch.setitem(sys.modules, "cryptography.fernet", None)
    with pytest.raises(ModuleNotFoundError) as caught:
        EncryptedSerializer(INNER, ["key"])
    assert "pip install" not in str(caught.value)


@pytest.mark.parametrize(
    ("keys", "error", "text"),
    [
        ("a key", TypeError, "put the single str in one"),
        (b"a key", TypeError, "put the single bytes in one"),
        ("", TypeError, "put the single str in one"),
        ([], ValueError, "at least one key"),
        (["good", ""], ValueError, "key 1 is empty"),
        ([b""], ValueError, "key 0 is empty"),
        ([5], TypeError, "key 0 is a int"),
        ([None], TypeError, "key 0 is a NoneType"),
    ],
)
def test_bad_keys(keys: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text) as caught:
        EncryptedSerializer(INNER, keys)
    assert "a key'" not in str(caught.value)
    if keys:
        with pytest.raises(error, match=text):
            create_serializer("msgpack", symmetric_encryption_keys=keys)


class TestEncryption:
    @pytest.fixture(autouse=True)
    def needs_cryptography(self) -> None:
        pytest.importorskip("cryptography")

    def test_round_trip(self) -> None:
        serializer = EncryptedSerializer(INNER, ["key"])
        data = serializer.encode(MESSAGE)
        assert b"secret" not in data
        assert data != serializer.encode(MESSAGE)
        assert serializer.decode(data) == MESSAGE

    def test_any_serializer_can_be_inside(self) -> None:
        serializer = EncryptedSerializer(JsonSerializer(), (key for key in (b"\x00\xff", b"2")))
        assert serializer.decode(serializer.encode(MESSAGE)) == MESSAGE

    def test_str_and_bytes_are_the_same_key(self) -> None:
        data = EncryptedSerializer(INNER, ["clé"]).encode(MESSAGE)
        assert EncryptedSerializer(INNER, ["clé".encode()]).decode(data) == MESSAGE

    def test_rotation(self) -> None:
        old = EncryptedSerializer(INNER, ["old"])
        accepts_new = EncryptedSerializer(INNER, ["old", "new"])
        sends_new = EncryptedSerializer(INNER, ["new", "old"])
        new = EncryptedSerializer(INNER, ["new"])

        def reads(reader: EncryptedSerializer, writer: EncryptedSerializer) -> bool:
            try:
                return reader.decode(writer.encode(MESSAGE)) == MESSAGE
            except MessageDecodeError:
                return False

        # Any two neighbours of the rotation understand each other, both ways.
        steps = [old, accepts_new, sends_new, new]
        for one, next_one in pairwise(steps):
            assert reads(one, next_one)
            assert reads(next_one, one)
        assert not reads(old, sends_new)
        assert not reads(new, accepts_new)

    def test_the_key_is_derived_as_others_do(self) -> None:
        from cryptography.fernet import Fernet

        fernet = Fernet(base64.urlsafe_b64encode(hashlib.sha256(b"shared").digest()))
        serializer = EncryptedSerializer(INNER, ["shared"])
        assert serializer.decode(fernet.encrypt(INNER.encode(MESSAGE))) == MESSAGE
        assert INNER.decode(fernet.decrypt(serializer.encode(MESSAGE))) == MESSAGE

    def test_an_encrypted_message_that_is_none(self) -> None:
        from cryptography.fernet import Fernet

        fernet = Fernet(base64.urlsafe_b64encode(hashlib.sha256(b"k").digest()))
        with pytest.raises(MessageDecodeError, match="MessagePack"):
            EncryptedSerializer(INNER, ["k"]).decode(fernet.encrypt(b"\xc0"))

    def test_encoding_checks_the_message(self) -> None:
        with pytest.raises(InvalidMessageError, match=r'message\["when"\] is a set'):
            EncryptedSerializer(INNER, ["k"]).encode({"type": "a", "when": set()})

    def test_undecryptable(self) -> None:
        serializer = EncryptedSerializer(INNER, ["one", "two"])
        data = serializer.encode(MESSAGE)
        altered = data[:-4] + bytes([data[-4] ^ 1]) + data[-3:]
        foreign = EncryptedSerializer(INNER, ["three"]).encode(MESSAGE)
        for bad in (b"", b"\xff" * 200, INNER.encode(MESSAGE), data[:-1], altered, foreign):
            with pytest.raises(MessageDecodeError, match="none of the keys decrypts"):
                serializer.decode(bad)

    @given(st.binary(max_size=200))
    def test_anything_is_a_message_or_one_error(self, data: bytes) -> None:
        with pytest.raises(MessageDecodeError):
            EncryptedSerializer(INNER, ["k"]).decode(data)
