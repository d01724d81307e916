"""What messages carry, and what is refused before it reaches the server."""

import secrets

import pytest
from redis_layers import AnyLayer, LayerFactory, member, nothing_waits, receive, soon
from redis_servers import RedisServer

from fast_channels.exceptions import MessageTooLarge
from fast_channels.types import Message


async def test_a_megabyte_is_the_limit_unless_another_is_set(
    make_layer: LayerFactory, layer: AnyLayer, redis_server: RedisServer
) -> None:
    channel = await member(layer, "news")
    large = {"type": "large", "data": secrets.token_bytes(1024 * 1024 - 100)}
    too_large = {"type": "large", "data": secrets.token_bytes(1024 * 1024)}
    received = redis_server.info("stats")["total_net_input_bytes"]
    for attempt in (
        layer.group_send("news", too_large),
        layer.send(channel, too_large),
        layer.send("jobs", too_large),
    ):
        with pytest.raises(MessageTooLarge):
            await attempt
    grown = int(redis_server.info("stats")["total_net_input_bytes"]) - int(received)
    assert grown < 100_000
    await make_layer().group_send("news", large)
    assert await receive(layer, channel, 1) == [large]

    roomy = make_layer(max_message_bytes=4 * 1024 * 1024)
    await roomy.group_send("news", too_large)
    assert await receive(layer, channel, 1) == [too_large]
    strict = make_layer(max_message_bytes=50)
    with pytest.raises(MessageTooLarge):
        await strict.group_send("news", {"type": "small", "text": "x" * 50})


async def test_json_as_serializer(make_layer: LayerFactory, redis_server: RedisServer) -> None:
    layer, other = make_layer(serializer_format="json"), make_layer(serializer_format="json")
    channel = await member(layer, "news")
    message: Message = {"type": "text", "text": "ü", "list": [1, 0.5, None, {"a": True}]}
    await other.group_send("news", message)
    await other.send(channel, message)
    await other.send("jobs", message)
    ((_, fields),) = redis_server.execute("XRANGE", "asgi:general:jobs", "-", "+")
    assert fields[1].startswith("{")
    assert await receive(layer, channel, 2) == [message] * 2
    assert await receive(layer, "jobs", 1) == [message]


async def test_what_is_encrypted_cannot_be_read_at_the_server(
    make_layer: LayerFactory, redis_server: RedisServer
) -> None:
    await make_layer(symmetric_encryption_keys=["key"]).send(
        "jobs", {"type": "secret", "text": "attack at dawn"}
    )
    ((_, fields),) = redis_server.execute("XRANGE", "asgi:general:jobs", "-", "+")
    assert "dawn" not in fields[1]


async def test_layers_with_other_prefixes_do_not_meet(make_layer: LayerFactory) -> None:
    one, two = make_layer(prefix="one"), make_layer(prefix="two")
    mine, theirs = await member(one, "news"), await member(two, "news")
    await one.group_send("news", {"type": "for one"})
    await one.send("jobs", {"type": "for one"})
    await two.group_send("news", {"type": "for two"})
    await two.send("jobs", {"type": "for two"})
    for layer, channel, kind in ((one, mine, "for one"), (two, theirs, "for two")):
        assert await receive(layer, channel, 1) == [{"type": kind}]
        assert await soon(layer.receive("jobs")) == {"type": kind}
        await nothing_waits(layer, layer, channel)
