from collections.abc import Mapping
from typing import Any

import pytest

from fast_channels.serializers import (
    EncryptedSerializer,
    JsonSerializer,
    MessageSerializer,
    MsgpackSerializer,
    create_serializer,
    register_serializer,
)
from fast_channels.types import Message


class Upper(MessageSerializer):
    def encode(self, message: Mapping[str, Any]) -> bytes:
        return str(message["type"]).upper().encode()

    def decode(self, data: bytes) -> Message:
        return {"type": data.decode().lower()}


def test_built_in_formats() -> None:
    assert isinstance(create_serializer("msgpack"), MsgpackSerializer)
    assert isinstance(create_serializer("json"), JsonSerializer)


@pytest.mark.parametrize("keys", [None, (), []])
def test_no_keys_no_encryption(keys: list[str] | None) -> None:
    serializer = create_serializer("msgpack", symmetric_encryption_keys=keys)
    assert isinstance(serializer, MsgpackSerializer)


@pytest.mark.parametrize("keys", ["", "key", b""])
def test_a_string_for_the_keys_never_turns_encryption_off(keys: str) -> None:
    with pytest.raises(TypeError, match="a list of str or bytes"):
        create_serializer("msgpack", symmetric_encryption_keys=keys)


def test_keys_encrypt() -> None:
    pytest.importorskip("cryptography")
    serializer = create_serializer("json", symmetric_encryption_keys=["key"])
    assert isinstance(serializer, EncryptedSerializer)
    data = serializer.encode({"type": "a"})
    assert b"type" not in data
    assert serializer.decode(data) == {"type": "a"}


def test_unknown_names_list_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"no serializer 'mspack', only .*'json'.*'msgpack'"):
        create_serializer("mspack")


def test_a_format_of_ones_own() -> None:
    register_serializer("test-upper", Upper)
    serializer = create_serializer("test-upper")
    assert serializer.encode({"type": "a"}) == b"A"
    assert create_serializer("test-upper") is not serializer

    shared = Upper()
    register_serializer("test-upper", lambda: shared)
    assert create_serializer("test-upper") is shared


def test_built_in_names_are_taken() -> None:
    with pytest.raises(ValueError, match="'msgpack' is built in"):
        register_serializer("msgpack", Upper)
    assert isinstance(create_serializer("msgpack"), MsgpackSerializer)


def test_a_factory_is_called() -> None:
    instance: Any = Upper()
    with pytest.raises(TypeError, match="'test-instance' cannot be called"):
        register_serializer("test-instance", instance)


def test_a_factory_has_to_make_a_serializer() -> None:
    wrong: Any = dict
    register_serializer("test-wrong", wrong)
    with pytest.raises(TypeError, match="'test-wrong' made a dict"):
        create_serializer("test-wrong")
