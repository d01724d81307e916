"""What joining and leaving cost the broker, and that no order of events mutes a member."""

import asyncio
import random
from collections.abc import Awaitable, Callable

import pytest
from tcp_broker import Broker, MakeLayer, joined, message, numbers, reached

from fast_channels.exceptions import ChannelLayerUnavailable

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


@pytest.mark.parametrize(("joins", "refusing"), [(10_000, False), (500, True)])
async def test_joining_and_leaving_at_random_never_mutes_a_member(
    broker: Broker, make_layer: MakeLayer, joins: int, refusing: bool
) -> None:
    """Two groups that are always about to lose their last member, and a broker that takes its
    time and refuses now and then."""
    here, there = make_layer(linger=0, send_timeout=2), make_layer()
    await there.new_channel()
    broker.delay = lambda: random.choice((0, 0, 0.0005))
    count = 0
    heard = 0

    async def refuse_now_and_then() -> None:
        while refusing and count < joins:
            broker.refuse(random.choice(("subscribe", "unsubscribe")), 1)
            await asyncio.sleep(0.05)

    async def visit() -> None:
        nonlocal count, heard
        channel = await here.new_channel()
        mailbox = here.nodes[0].table.channels[channel]
        while count < joins:
            count += 1
            group = random.choice(("room.1", "room.2"))
            await here.group_add(group, channel)
            if random.random() < 0.05:
                # Whoever else comes and goes meanwhile: this one is a member.
                await there.group_send(group, message(heard))
                await numbers(here, channel, 1)
                heard += 1
            elif random.random() < 0.3:
                await asyncio.sleep(0)
            await here.group_discard(group, channel)
            if random.random() < 0.3:
                await asyncio.sleep(random.choice((0, 0.0005)))
            mailbox.clear()
        await here.close_channel(channel)

    await asyncio.gather(refuse_now_and_then(), *(visit() for _ in range(4)))
    assert heard > joins / 50
    assert broker.commands["unsubscribe"] > joins / 50
    broker.refuse("unsubscribe", 0)
    await reached(lambda: not broker.groups)
    await reached(lambda: not here.nodes[0].groups)


@pytest.mark.parametrize("cancelled", [0, 1])
async def test_giving_up_on_a_join_leaves_the_same_channel_joined_by_another_call(
    broker: Broker, make_layer: MakeLayer, cancelled: int
) -> None:
    """Also when it is given up in the moment in which the broker confirms."""
    layer = make_layer(linger=0)
    channel = await layer.new_channel()
    for steps in range(30):
        hold = broker.hold("subscribe")
        joins = [asyncio.create_task(layer.group_add("room", channel)) for _ in range(2)]
        await hold.arrived()
        hold.release()
        for _ in range(steps):
            await asyncio.sleep(0)
        joins[cancelled].cancel()
        await joins[1 - cancelled]
        await layer.group_send("room", message(steps))
        assert await numbers(layer, channel, 1) == [steps]
        await layer.group_discard("room", channel)
        await reached(lambda: not broker.groups)


async def test_a_subscription_that_is_refused_for_long_fails_every_join_and_is_undone(
    broker: Broker, make_layer: MakeLayer
) -> None:
    layer = make_layer(send_timeout=0.05, linger=0)
    channels = [await layer.new_channel() for _ in range(2)]
    broker.refuse("subscribe", 1000)
    outcomes = await asyncio.gather(
        *(layer.group_add("room", channel) for channel in channels), return_exceptions=True
    )
    for outcome in outcomes:
        assert isinstance(outcome, ChannelLayerUnavailable)
        assert str(outcome).endswith("within 0.05 s: subscribe was refused")
    # It may be subscribed for all that this process knows.
    await reached(lambda: broker.commands["unsubscribe"] == 1)
    assert layer.nodes[0].groups == []
    broker.refuse("subscribe", 0)
    await layer.group_add("room", channels[0])
    await layer.group_send("room", message(1))
    assert await numbers(layer, channels[0], 1) == [1]
    await layer.send(channels[1], message(2))
    assert await numbers(layer, channels[1], 1) == [2]


async def test_who_joins_late_waits_as_long_as_who_joins_first(
    broker: Broker, make_layer: MakeLayer
) -> None:
    layer = make_layer(send_timeout=0.2)
    channels = [await layer.new_channel() for _ in range(2)]
    broker.refuse("subscribe", 1000)
    first = asyncio.create_task(layer.group_add("room", channels[0]))
    await asyncio.sleep(0.15)
    late = asyncio.create_task(layer.group_add("room", channels[1]))
    with pytest.raises(ChannelLayerUnavailable):
        await first
    assert not late.done()
    broker.refuse("subscribe", 0)
    await late
    await layer.group_send("room", message(1))
    assert await numbers(layer, channels[1], 1) == [1]


async def test_an_unsubscription_without_an_answer_holds_up_nobody_for_ever(
    broker: Broker, make_layer: MakeLayer
) -> None:
    layer = make_layer(send_timeout=0.1, linger=0)
    channel = await joined(layer, "room")
    hold = broker.hold("unsubscribe")
    await layer.group_discard("room", channel)
    await hold.arrived()
    async with asyncio.timeout(5):
        with pytest.raises(ChannelLayerUnavailable):
            while True:
                await layer.group_add("room", channel)
                await layer.group_discard("room", channel)
                # When it was in time, both return at once: only now is it given up again.
                await asyncio.sleep(0)
    hold.release()
    await layer.group_add("room", channel)
    await layer.group_send("room", message(1))
    assert await numbers(layer, channel, 1) == [1]


async def test_an_unsubscription_that_failed_is_made_up_for(
    broker: Broker, make_layer: MakeLayer
) -> None:
    layer = make_layer(linger=0, send_timeout=0.05)
    channel = await joined(layer, "room")
    broker.refuse("unsubscribe", 1)
    await layer.group_discard("room", channel)
    await reached(lambda: not broker.groups)
    assert broker.commands["unsubscribe"] == 2
    await reached(lambda: layer.nodes[0].groups == [])
