"""What members of a group in several processes get, and what single channels do."""

import asyncio
import random

import pytest
from redis_layers import AnyLayer, LayerFactory, member, nothing_waits, receive, soon, until
from redis_servers import RedisServer

from fast_channels.exceptions import ChannelClosed


async def test_a_group_over_two_processes(layer: AnyLayer, other: AnyLayer) -> None:
    here, there = await member(layer, "news"), await member(other, "news")
    await layer.group_send("news", {"type": "news", "from": "here"})
    await other.group_send("news", {"type": "news", "from": "there"})
    for home, channel in ((layer, here), (other, there)):
        messages = await receive(home, channel, 2)
        assert sorted(message["from"] for message in messages) == ["here", "there"]


async def test_a_member_gets_each_message_once_however_often_it_was_added(
    layer: AnyLayer, other: AnyLayer
) -> None:
    channel = await member(layer, "news")
    for _ in range(3):
        await layer.group_add("news", channel)
        await other.group_add("news", channel)
    await other.group_send("news", {"type": "once"})
    assert await receive(layer, channel, 1) == [{"type": "once"}]
    await nothing_waits(other, layer, channel)


async def test_joining_is_a_barrier_for_every_process(layer: AnyLayer, other: AnyLayer) -> None:
    for number in range(100):
        group = f"room-{number}"
        channel = await member(layer, group)
        await other.group_send(group, {"type": "first", "number": number})
        assert await receive(layer, channel, 1) == [{"type": "first", "number": number}]
        await layer.close_channel(channel)


async def test_who_has_left_gets_nothing_more(layer: AnyLayer, other: AnyLayer) -> None:
    channel, stays = await member(layer, "news"), await member(layer, "news")
    await layer.group_discard("news", channel)
    await layer.group_discard("news", channel)
    await other.group_send("news", {"type": "late"})
    assert await receive(layer, stays, 1) == [{"type": "late"}]
    await nothing_waits(layer, layer, channel)


async def test_channels_of_another_process_join_and_leave(layer: AnyLayer, other: AnyLayer) -> None:
    channel = await other.new_channel()
    await soon(layer.group_add("news", channel))
    await layer.group_send("news", {"type": "first"})
    assert await receive(other, channel, 1) == [{"type": "first"}]

    witness = await member(other, "news")
    await layer.group_discard("news", channel)
    # On the same way as the request to leave, so behind it.
    await layer.send(witness, {"type": "left"})
    assert await receive(other, witness, 1) == [{"type": "left"}]
    await layer.group_send("news", {"type": "second"})
    assert await receive(other, witness, 1) == [{"type": "second"}]
    await nothing_waits(layer, other, channel)


async def test_a_channel_gets_what_others_send_to_it_in_order(
    layer: AnyLayer, other: AnyLayer
) -> None:
    channel = await layer.new_channel("mine")
    for number in range(90):
        await other.send(channel, {"type": "direct", "number": number})
    messages = await receive(layer, channel, 90)
    assert [message["number"] for message in messages] == list(range(90))


async def test_several_senders_to_one_group_each_in_order(
    make_layer: LayerFactory, layer: AnyLayer
) -> None:
    senders = [make_layer() for _ in range(3)]
    homes = [layer, *senders]
    channels = [await member(home, "news") for home in homes]

    async def publish(index: int) -> None:
        for number in range(30):
            await senders[index].group_send("news", {"type": "n", "of": index, "n": number})

    await soon(asyncio.gather(*map(publish, range(3))))
    orders: list[list[tuple[int, int]]] = []
    for home, channel in zip(homes, channels, strict=True):
        messages = await receive(home, channel, 90)
        orders.append([(message["of"], message["n"]) for message in messages])
    for order in orders:
        for index in range(3):
            assert [n for of, n in order if of == index] == list(range(30))
    # One total order for all members.
    assert all(order == orders[0] for order in orders)


async def test_what_is_sent_at_once_from_one_task_keeps_its_order(
    layer: AnyLayer, other: AnyLayer
) -> None:
    channel = await member(layer, "news")
    await soon(
        asyncio.gather(*(other.group_send("news", {"type": "n", "n": n}) for n in range(100)))
    )
    assert [message["n"] for message in await receive(layer, channel, 100)] == list(range(100))


async def test_a_message_to_a_closed_channel_is_dropped(layer: AnyLayer, other: AnyLayer) -> None:
    channel = await layer.new_channel()
    waiting = asyncio.ensure_future(layer.receive(channel))
    await asyncio.sleep(0)
    await layer.close_channel(channel)
    with pytest.raises(ChannelClosed):
        await soon(waiting)
    await other.send(channel, {"type": "late"})
    await other.send("specific.0123456789abcdef!1", {"type": "to nobody"})


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


async def test_members_that_come_and_go_at_random_miss_nothing_while_they_are_there(
    layer: AnyLayer, other: AnyLayer
) -> None:
    chance = random.Random(4)
    stays = await member(layer, "news")

    async def visit() -> None:
        for _ in range(15):
            channel = await member(layer, "news")
            await other.send(channel, {"type": "hello"})
            while (await soon(layer.receive(channel)))["type"] != "hello":
                pass
            if chance.random() < 0.5:
                await layer.group_discard("news", channel)
            await layer.close_channel(channel)

    async def publish() -> None:
        for number in range(200):
            await other.group_send("news", {"type": "n", "n": number})

    received: list[int] = []

    async def read() -> None:
        while len(received) < 200:
            received.append((await layer.receive(stays))["n"])

    await soon(asyncio.gather(read(), publish(), *(visit() for _ in range(5))))
    assert received == list(range(200))


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
