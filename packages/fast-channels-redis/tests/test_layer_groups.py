"""Groups and channels: what they cost the server, and what is special about it."""

import asyncio

from redis_layers import AnyLayer, LayerFactory, member, receive, soon, until
from redis_servers import RedisServer


async def test_what_is_sent_at_once_from_one_task_keeps_its_order(
    layer: AnyLayer, other: AnyLayer
) -> None:
    channel = await member(layer, "news")
    await soon(
        asyncio.gather(*(other.group_send("news", {"type": "n", "n": n}) for n in range(100)))
    )
    assert [message["n"] for message in await receive(layer, channel, 100)] == list(range(100))


async def test_a_message_to_a_process_that_never_was_is_dropped(layer: AnyLayer) -> None:
    await layer.send("specific.0123456789abcdef!1", {"type": "to nobody"})


async def test_a_group_is_forgotten_when_the_linger_is_over(
    make_layer: LayerFactory, redis_server: RedisServer
) -> None:
    layer, other = make_layer(linger=0), make_layer()
    channel = await member(layer, "news")
    await layer.group_discard("news", channel)
    await until(
        lambda: (
            redis_server.execute("PUBSUB", "NUMSUB", "asgi__group__news")[1] == 0
            and redis_server.execute("SCARD", "asgi:members:news") == 0
        ),
        "the group is unknown",
    )
    await other.group_send("news", {"type": "to nobody"})
    await layer.group_add("news", channel)
    await other.group_send("news", {"type": "welcome"})
    assert await receive(layer, channel, 1) == [{"type": "welcome"}]


async def test_opening_a_channel_and_joining_beside_a_member_ask_the_server_nothing(
    layer: AnyLayer, other: AnyLayer, redis_server: RedisServer
) -> None:
    await member(layer, "news")
    with redis_server.counting() as counts:
        for _ in range(50):
            await layer.close_channel(await member(layer, "news"))
    # The queue's heartbeat goes on.
    for name in ("evalsha", "xread", "zadd", "zrangebyscore", "xinfo", "exists", "xtrim"):
        counts.pop(name, None)
    assert sum(counts.values()) < 50
    assert not counts.keys() & {"subscribe", "sadd"}
