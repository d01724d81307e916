"""What the pub/sub layer puts on the wire is what channels_redis' pub/sub layer does."""

import json
import socket

import msgspec
import pytest
from redis_layers import LayerFactory, member, nothing_waits, receive
from redis_servers import RedisServer

from fast_channels.serializers import create_serializer
from fast_channels.statistics import statistics
from fast_channels_redis import RedisPubSubChannelLayer

pytestmark = pytest.mark.parametrize("layer_class", [RedisPubSubChannelLayer])

MESSAGE = {
    "type": "chat",
    "text": "grüße",
    "data": b"\x00\xff",
    "n": [1, -(2**40), 0.5, None, True],
}


class RawSubscriber:
    """Any other client."""

    def __init__(self, server: RedisServer, channel: str) -> None:
        self._socket = socket.create_connection(server.address, 10)
        self._stream = self._socket.makefile("rb")
        name = channel.encode()
        self._socket.sendall(b"*2\r\n$9\r\nSUBSCRIBE\r\n$%d\r\n%b\r\n" % (len(name), name))
        assert self._words() == [b"subscribe", name]

    def _words(self) -> list[bytes]:
        words: list[bytes] = []
        for _ in range(int(self._stream.readline()[1:])):
            line = self._stream.readline()
            if line[:1] == b"$":
                words.append(self._stream.read(int(line[1:]) + 2)[:-2])
        return words

    def message(self) -> bytes:
        return self._words()[-1]

    def close(self) -> None:
        self._stream.close()
        self._socket.close()


@pytest.mark.parametrize("prefix", ["asgi", "chat-7"])
async def test_a_group_message_is_the_serialized_message_and_nothing_else(
    make_layer: LayerFactory, redis_server: RedisServer, prefix: str
) -> None:
    layer = make_layer(prefix=prefix)
    subscriber = RawSubscriber(redis_server, f"{prefix}__group__news")
    try:
        await layer.group_send("news", MESSAGE)
        assert msgspec.msgpack.decode(subscriber.message()) == MESSAGE
    finally:
        subscriber.close()


async def test_json_is_json(make_layer: LayerFactory, redis_server: RedisServer) -> None:
    layer = make_layer(serializer_format="json")
    subscriber = RawSubscriber(redis_server, "asgi__group__news")
    try:
        await layer.group_send("news", {"type": "chat", "text": "grüße"})
        assert json.loads(subscriber.message()) == {"type": "chat", "text": "grüße"}
    finally:
        subscriber.close()


async def test_members_get_what_other_clients_publish(
    make_layer: LayerFactory, redis_server: RedisServer
) -> None:
    layer = make_layer()
    channel = await member(layer, "news")
    assert redis_server.execute("PUBLISH", "asgi__group__news", msgspec.msgpack.encode(MESSAGE))
    assert await receive(layer, channel, 1) == [MESSAGE]


async def test_what_is_no_message_is_dropped_and_counted(
    make_layer: LayerFactory, redis_server: RedisServer
) -> None:
    layer = make_layer()
    channel = await member(layer, "news")
    await nothing_waits(layer, layer, channel)
    counted = statistics.snapshot().get("event.undecodable", 0)
    for junk in (b"", b"\xc1", b"\x80", b"[]", msgspec.msgpack.encode({"no": "type"})):
        redis_server.execute("PUBLISH", "asgi__group__news", junk)
    await layer.group_send("news", {"type": "good"})
    assert await receive(layer, channel, 1) == [{"type": "good"}]
    assert statistics.snapshot()["event.undecodable"] == counted + 5


async def test_encrypted_messages_of_other_clients_with_the_same_key(
    make_layer: LayerFactory, redis_server: RedisServer
) -> None:
    layer = make_layer(symmetric_encryption_keys=["key"])
    channel = await member(layer, "news")
    data = create_serializer("msgpack", symmetric_encryption_keys=["key"]).encode(MESSAGE)
    redis_server.execute("PUBLISH", "asgi__group__news", data)
    assert await receive(layer, channel, 1) == [MESSAGE]
