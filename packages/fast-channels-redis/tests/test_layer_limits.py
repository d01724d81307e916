"""Capacity and expiry."""

import asyncio

import pytest
from redis_layers import AnyLayer, LayerFactory, member, receive, soon, until
from redis_servers import Proxy, RedisServer

from fast_channels.exceptions import ChannelFull
from fast_channels.statistics import statistics
from fast_channels_redis import RedisChannelLayer, RedisPubSubChannelLayer


async def test_a_full_member_misses_group_messages_and_that_is_counted(
    make_layer: LayerFactory, other: AnyLayer
) -> None:
    layer = make_layer(capacity=3)
    slow, quick = await member(layer, "news"), await member(layer, "news")
    counted = statistics.snapshot().get("event.full", 0)
    for number in range(5):
        await other.group_send("news", {"type": "n", "n": number})
        assert await receive(layer, quick, 1) == [{"type": "n", "n": number}]
    assert statistics.snapshot()["event.full"] == counted + 2
    assert [each["n"] for each in await receive(layer, slow, 3)] == [0, 1, 2]


async def test_a_full_channel_of_another_process_misses_messages_and_that_is_counted(
    make_layer: LayerFactory, other: AnyLayer
) -> None:
    layer = make_layer(capacity=3)
    slow, quick = await layer.new_channel(), await layer.new_channel()
    counted = statistics.snapshot().get("event.full", 0)
    for number in range(5):
        await other.send(slow, {"type": "n", "n": number})
    await other.send(quick, {"type": "last"})
    await receive(layer, quick, 1)
    assert statistics.snapshot()["event.full"] == counted + 2
    assert [each["n"] for each in await receive(layer, slow, 3)] == [0, 1, 2]


async def test_a_message_that_somebody_holds_does_not_wait(
    make_layer: LayerFactory, other: AnyLayer
) -> None:
    layer = make_layer(capacity=2)
    for number in range(2):
        await layer.send("jobs", {"type": "n", "n": number})
    async with other.claim("jobs") as message:
        assert message["n"] == 0
        await layer.send("jobs", {"type": "n", "n": 2})
        with pytest.raises(ChannelFull):
            await layer.send("jobs", {"type": "n", "n": 3})
    with pytest.raises(ChannelFull):
        await layer.send("jobs", {"type": "n", "n": 3})
    assert [each["n"] for each in await receive(other, "jobs", 2)] == [1, 2]


async def test_expired_messages_take_no_room_in_a_general_channel(
    make_layer: LayerFactory, redis_server: RedisServer
) -> None:
    layer, slow = make_layer(capacity=3, expiry=1), make_layer(capacity=3, expiry=1)
    # One that was taken and never acknowledged, as by a process that died.
    await layer.send("jobs", {"type": "old"})
    redis_server.execute("XGROUP", "CREATE", "asgi:general:jobs", "receivers", 0)
    read = ("XREADGROUP", "GROUP", "receivers", "gone", "COUNT", 1, "STREAMS")
    assert redis_server.execute(*read, "asgi:general:jobs", ">")
    for _ in range(3):
        await layer.send("jobs", {"type": "old"})
    with pytest.raises(ChannelFull):
        await layer.send("jobs", {"type": "too much"})
    await asyncio.sleep(1.05)
    for number in range(3):
        await layer.send("jobs", {"type": "new", "n": number})
    with pytest.raises(ChannelFull):
        await layer.send("jobs", {"type": "too much"})
    assert redis_server.execute("XPENDING", "asgi:general:jobs", "receivers")[0] == 0
    assert (await soon(slow.receive("jobs")))["type"] == "new"


@pytest.mark.parametrize("layer_class", [RedisChannelLayer])
async def test_the_time_in_the_stream_counts(
    connect_layer: LayerFactory, redis_server: RedisServer
) -> None:
    other = connect_layer([redis_server.url])
    with Proxy(redis_server.address) as link:
        layer = connect_layer([link.url], expiry=0.5)
        channel = await member(layer, "news")
        link.blackhole(requests=False)
        await other.group_send("news", {"type": "old"})
        await asyncio.sleep(0.6)
        await other.group_send("news", {"type": "new"})
        link.heal()
        assert await receive(layer, channel, 1) == [{"type": "new"}]
        await layer.close()


@pytest.mark.parametrize("layer_class", [RedisPubSubChannelLayer])
async def test_nothing_of_the_pub_sub_layer_stays_at_the_server(
    make_layer: LayerFactory, redis_server: RedisServer
) -> None:
    layer = make_layer(linger=0)
    channel = await member(layer, "news")
    await layer.group_send("news", {"type": "a"})
    await receive(layer, channel, 1)
    await layer.close_channel(channel)
    await until(
        lambda: redis_server.execute("PUBSUB", "NUMSUB", "asgi__group__news")[1] == 0,
        "the group is unsubscribed",
    )
    assert redis_server.execute("KEYS", "*") == []


async def test_every_key_ends_by_itself(layer: AnyLayer, redis_server: RedisServer) -> None:
    await member(layer, "news")
    await layer.send("jobs", {"type": "a"})
    keys = redis_server.execute("KEYS", "*")
    assert "asgi:general:jobs" in keys
    assert [key for key in keys if redis_server.execute("PTTL", key) < 0] == []
