"""What joining and leaving cost the broker, and that no order of events mutes a member."""

import asyncio
from collections.abc import Awaitable, Callable

from tcp_broker import Broker, MakeLayer, joined, message, numbers, reached

Settle = Callable[[], Awaitable[None]]


async def test_only_the_first_and_the_last_member_cost_the_broker_anything(
    broker: Broker, make_layer: MakeLayer
) -> None:
    layer = make_layer(linger=0)
    first = await joined(layer, "room")
    assert broker.commands == {"hello": 1, "subscribe": 1}
    for _ in range(100):
        channel = await joined(layer, "room")
        await layer.send(channel, message(1))
        await layer.group_discard("room", channel)
        await layer.group_add("room", channel)
        await layer.close_channel(channel)
    assert broker.commands == {"hello": 1, "subscribe": 1}
    await layer.close_channel(first)
    await reached(lambda: broker.commands["unsubscribe"])
    assert broker.commands == {"hello": 1, "subscribe": 1, "unsubscribe": 1}
    assert not broker.groups


async def test_many_who_join_a_group_at_once_are_one_subscription(
    broker: Broker, make_layer: MakeLayer
) -> None:
    layer = make_layer()
    channels = await asyncio.gather(*(joined(layer, "room") for _ in range(100)))
    assert broker.commands == {"hello": 1, "subscribe": 1}
    await layer.group_send("room", message(1))
    for channel in channels:
        assert await numbers(layer, channel, 1) == [1]


async def test_a_member_that_comes_back_within_the_linger_costs_nothing(
    broker: Broker, make_layer: MakeLayer
) -> None:
    layer = make_layer(linger=60)
    for number in range(100):
        channel = await joined(layer, "room")
        await layer.group_send("room", message(number))
        assert await numbers(layer, channel, 1) == [number]
        await layer.close_channel(channel)
    assert broker.commands == {"hello": 1, "subscribe": 1, "publish": 100}
    # What comes for a group that only lingers is dropped.
    await layer.group_send("room", message(-1))


async def test_groups_are_given_up_one_linger_after_each_lost_its_last_member(
    broker: Broker, make_layer: MakeLayer
) -> None:
    layer = make_layer(linger=0.1)
    loop = asyncio.get_running_loop()
    channels = [await joined(layer, f"room.{number}") for number in range(3)]
    left = loop.time()
    for channel in channels:
        await layer.close_channel(channel)
    back = await joined(layer, "room.1")
    await reached(lambda: broker.commands["unsubscribe"] == 2)
    assert loop.time() - left >= 0.1
    assert list(broker.groups) == layer.nodes[0].groups == ["room.1"]
    await layer.close_channel(back)
    await reached(lambda: not broker.groups)
    assert broker.commands["unsubscribe"] == 3


async def test_giving_up_on_a_join_leaves_the_others_joined(
    broker: Broker, make_layer: MakeLayer, settle: Settle
) -> None:
    layer = make_layer()
    channels = [await layer.new_channel() for _ in range(3)]
    hold = broker.hold("subscribe")
    joins = [asyncio.create_task(layer.group_add("room", channel)) for channel in channels]
    await hold.arrived()
    joins[0].cancel()
    joins[2].cancel()
    await settle()
    hold.release()
    await joins[1]
    assert [join.cancelled() for join in joins] == [True, False, True]
    await layer.group_send("room", message(1))
    assert await numbers(layer, channels[1], 1) == [1]
    assert broker.commands["subscribe"] == 1
    await layer.send(channels[0], message(2))
    assert await numbers(layer, channels[0], 1) == [2]


async def test_leaving_while_a_join_is_under_way_wins(
    broker: Broker, make_layer: MakeLayer
) -> None:
    layer = make_layer(linger=0)
    channel = await layer.new_channel()
    hold = broker.hold("subscribe")
    join = asyncio.create_task(layer.group_add("room", channel))
    await hold.arrived()
    await layer.group_discard("room", channel)
    hold.release()
    await join
    await layer.group_send("room", message(1))
    await layer.send(channel, message(2))
    assert await numbers(layer, channel, 1) == [2]
    await reached(lambda: not broker.groups)
    assert layer.nodes[0].groups == []


async def test_a_channel_that_closes_while_it_joins_leaves_nothing(
    broker: Broker, make_layer: MakeLayer
) -> None:
    layer = make_layer(linger=0)
    channel = await layer.new_channel()
    hold = broker.hold("subscribe")
    join = asyncio.create_task(layer.group_add("room", channel))
    await hold.arrived()
    await layer.close_channel(channel)
    hold.release()
    await join
    await reached(lambda: broker.commands["unsubscribe"])
    assert not broker.groups
    assert layer.nodes[0].groups == []


async def test_groups_that_are_left_while_the_broker_is_away_stay_left(
    broker: Broker, make_layer: MakeLayer
) -> None:
    layer = make_layer(linger=0)
    channel = await joined(layer, "left", "kept")
    await broker.stop()
    await layer.group_discard("left", channel)
    await broker.start()
    await reached(lambda: list(broker.groups) == ["kept"])
    await reached(lambda: layer.nodes[0].groups == ["kept"])
