"""Groups and channels of several layers on one broker, each of which stands for a process."""

import asyncio
import random
from collections.abc import Awaitable, Callable

import pytest
from tcp_broker import Broker, MakeLayer, joined, message, numbers, reached, take

from fast_channels.exceptions import (
    ChannelClosed,
    ChannelFull,
    ChannelLayerUnavailable,
    InvalidNameError,
    MessageTooLarge,
)

Counted = Callable[[], dict[str, int]]
PassTime = Callable[[float], None]
Settle = Callable[[], Awaitable[None]]


async def test_direct_messages_arrive_from_any_process_in_order(make_layer: MakeLayer) -> None:
    here, there = make_layer(), make_layer()
    channel = await here.new_channel()
    for number in range(40):
        await here.send(channel, message(number))
    assert await numbers(here, channel, 40) == list(range(40))
    for number in range(40):
        await there.send(channel, message(number))
    assert await numbers(here, channel, 40) == list(range(40))


async def test_group_add_is_a_barrier_while_others_send(
    broker: Broker, make_layer: MakeLayer
) -> None:
    here, there = make_layer(linger=0, capacity=10_000), make_layer()
    broker.delay = lambda: random.uniform(0, 0.0002)
    sent = 0
    stop = False

    async def send_on() -> None:
        nonlocal sent
        while not stop:
            sent += 1
            await there.group_send("room", message(sent))

    sending = asyncio.create_task(send_on())
    try:
        for _ in range(1000):
            channel = await joined(here, "room")
            first_after = sent + 1
            await asyncio.gather(
                here.group_send("room", message(-1)), there.group_send("room", message(-2))
            )
            received: list[int] = []
            while not {-1, -2} <= set(received):
                received += await numbers(here, channel, 1)
            from_sender = [number for number in received if number > 0]
            if from_sender:
                assert from_sender == list(range(from_sender[0], from_sender[-1] + 1))
                assert from_sender[0] <= first_after
            await here.close_channel(channel)
    finally:
        stop = True
        await sending


async def test_a_group_has_one_order_for_all_its_members(
    broker: Broker, make_layer: MakeLayer
) -> None:
    broker.delay = lambda: random.uniform(0, 0.0005)
    layers = [make_layer(capacity=1000) for _ in range(3)]
    channels = [(layer, await joined(layer, "room")) for layer in layers for _ in range(2)]

    async def send_many(sender: int) -> None:
        for number in range(100):
            await layers[sender].group_send("room", message(number, sender=sender))

    await asyncio.gather(*map(send_many, range(3)))
    seen = [
        [(each["sender"], each["number"]) for each in await take(layer, channel, 300)]
        for layer, channel in channels
    ]
    assert all(order == seen[0] for order in seen)
    for sender in range(3):
        assert [number for who, number in seen[0] if who == sender] == list(range(100))


async def test_adding_twice_is_adding_once(make_layer: MakeLayer) -> None:
    layer = make_layer()
    channel = await joined(layer, "room", "room")
    await asyncio.gather(*(layer.group_add("other", channel) for _ in range(3)))
    await layer.group_send("room", message(1))
    await layer.group_send("other", message(2))
    await layer.send(channel, message(3))
    assert sorted(await numbers(layer, channel, 3)) == [1, 2, 3]
    await layer.group_discard("room", channel)
    await layer.group_discard("room", channel)
    await layer.group_send("room", message(4))
    await layer.group_send("other", message(5))
    assert await numbers(layer, channel, 1) == [5]


async def test_receivers_share_no_mutable_value(make_layer: MakeLayer) -> None:
    layer = make_layer()
    channels = [await joined(layer, "room") for _ in range(2)]
    sent = message(1, items=[1])
    await layer.group_send("room", sent)
    first, second = [(await take(layer, channel, 1))[0] for channel in channels]
    first["items"].append(2)
    assert second == sent == message(1, items=[1])


async def test_a_full_member_misses_a_message_and_the_others_get_it(
    make_layer: MakeLayer, counted: Counted
) -> None:
    layer = make_layer(channel_capacity={"small.*": 1})
    small, large = await layer.new_channel("small"), await layer.new_channel()
    for channel in (small, large):
        await layer.group_add("room", channel)
    for number in range(3):
        await layer.group_send("room", message(number))
    assert await numbers(layer, large, 3) == [0, 1, 2]
    assert await numbers(layer, small, 1) == [0]
    assert counted() == {"event.full": 2}


async def test_a_full_channel_of_this_process_is_an_error_and_elsewhere_counted(
    make_layer: MakeLayer, counted: Counted
) -> None:
    here, there = make_layer(capacity=1), make_layer()
    channel = await here.new_channel()
    await here.send(channel, message(1))
    with pytest.raises(ChannelFull, match=channel):
        await here.send(channel, message(2))
    assert counted() == {}
    await there.send(channel, message(3))
    await reached(lambda: counted() == {"event.full": 1})
    assert await numbers(here, channel, 1) == [1]


async def test_messages_to_closed_channels_are_counted(
    make_layer: MakeLayer, counted: Counted
) -> None:
    here, there = make_layer(), make_layer()
    channel = await here.new_channel()
    await here.close_channel(channel)
    await here.close_channel(channel)
    await here.send(channel, message(1))
    await there.send(channel, message(2))
    await reached(lambda: counted() == {"channel.gone": 2})
    await here.close()
    await there.send(channel, message(3))
    assert counted() == {"channel.gone": 3}
    with pytest.raises(ChannelClosed):
        await here.receive(channel)


@pytest.mark.parametrize("channel", ["specific.!1", "specific.0123456789abcdef!1", "x!"])
async def test_names_that_belong_to_no_process_are_channels_that_are_gone(
    make_layer: MakeLayer, counted: Counted, broker: Broker, channel: str
) -> None:
    layer = make_layer()
    await layer.send(channel, message(1))
    await layer.group_add("room", channel)
    await layer.group_discard("room", channel)
    assert counted() == {"channel.gone": 2}
    assert not broker.commands["subscribe"]
    # No backend has to cope with an empty name.
    assert (broker.commands["send"] == 0) == (channel == "specific.!1")


# Channels of another process.


async def test_a_channel_of_another_process_joins_and_leaves_a_group(
    broker: Broker, make_layer: MakeLayer
) -> None:
    here, there = make_layer(linger=0), make_layer()
    channel = await here.new_channel()
    for number in range(100):
        await there.group_add("room", channel)
        await there.group_send("room", message(number))
        assert await numbers(here, channel, 1) == [number]
        await there.group_discard("room", channel)
        await reached(lambda: not broker.groups)
        await there.group_send("room", message(-1))
    await here.send(channel, message(101))
    assert await numbers(here, channel, 1) == [101]


async def test_wishes_from_elsewhere_are_carried_out_in_their_order(
    broker: Broker, make_layer: MakeLayer, settle: Settle
) -> None:
    """Also when all of them come at once, and while a subscription is on its way."""
    here, there = make_layer(), make_layer()
    channel = await here.new_channel()
    await there.new_channel()
    inbox = broker.hold("send")
    adding = [asyncio.create_task(there.group_add("left", channel))]
    await inbox.arrived()
    adding[0].cancel()
    leaving = [asyncio.create_task(there.group_discard("left", channel))]
    await settle()
    leaving.append(asyncio.create_task(there.group_discard("joined", channel)))
    await settle()
    adding.append(asyncio.create_task(there.group_add("joined", channel)))
    await settle()
    subscribing = broker.hold("subscribe")
    inbox.release()
    await subscribing.arrived()
    await settle()
    subscribing.release()
    await asyncio.gather(*leaving, adding[1])
    await there.group_send("left", message(1))
    await there.group_send("joined", message(2))
    assert await numbers(here, channel, 1) == [2]


async def test_a_process_that_does_not_confirm_is_named_in_the_error(
    broker: Broker, make_layer: MakeLayer
) -> None:
    here, there = make_layer(), make_layer(send_timeout=0.1)
    channel = await here.new_channel()
    await there.new_channel()
    broker.hold("subscribe")
    with pytest.raises(ChannelLayerUnavailable, match=f"{channel!r} did not confirm within 0.1 s"):
        await there.group_add("room", channel)
    broker.holds["subscribe"].release()
    await there.group_add("room", channel)
    await there.group_send("room", message(1))
    assert await numbers(here, channel, 1) == [1]


async def test_adding_a_channel_elsewhere_says_why_the_broker_could_not_be_reached(
    broker: Broker, make_layer: MakeLayer
) -> None:
    here, there = make_layer(), make_layer(send_timeout=0.1)
    channel = await here.new_channel()
    await there.new_channel()
    broker.refuse("send", 1000)
    with pytest.raises(ChannelLayerUnavailable, match=r"within 0\.1 s: send was refused"):
        await there.group_add("room", channel)


# Names, sizes and ages.


async def test_a_general_channel_cannot_be_a_member(make_layer: MakeLayer) -> None:
    layer = make_layer()
    for call in (layer.group_add, layer.group_discard):
        with pytest.raises(InvalidNameError, match="'tasks' is a general channel.*new_channel"):
            await call("room", "tasks")


async def test_bad_names_are_refused_before_the_broker_is_asked(
    broker: Broker, make_layer: MakeLayer
) -> None:
    layer = make_layer()
    for call in (
        layer.send("a b", message(1)),
        layer.receive("a b"),
        layer.new_channel("a b"),
        layer.close_channel("a b"),
        layer.group_add("a b", "c!d"),
        layer.group_add("a", "c!d!e"),
        layer.group_discard("a b", "c!d"),
        layer.group_send("a b", message(1)),
    ):
        with pytest.raises(InvalidNameError):
            await call
    assert not broker.commands


@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "encrypted"])
async def test_the_size_that_counts_is_that_of_the_bytes_for_the_broker(
    make_layer: MakeLayer, encrypted: bool
) -> None:
    """Wherever the receiver is, so what works in one process works in several."""
    if encrypted:
        pytest.importorskip("cryptography")
    keys = ["secret"] if encrypted else None
    limit = 1000
    here = make_layer(symmetric_encryption_keys=keys, max_message_bytes=limit)
    there = make_layer(symmetric_encryption_keys=keys, max_message_bytes=limit)
    channel = await joined(here, "room")

    async def fits(size: int) -> bool:
        sent = message(1, data=b"x" * size)
        fitted: list[bool] = []
        calls: list[Callable[[], Awaitable[None]]] = [
            lambda: here.send(channel, sent),
            lambda: there.send(channel, sent),
            lambda: there.group_send("room", sent),
            lambda: there.send("tasks", sent),
        ]
        for call in calls:
            try:
                await call()
            except MessageTooLarge as error:
                fitted.append(error.size <= error.limit)
            else:
                fitted.append(True)
        if fitted[0]:
            await take(here, channel, 3)
            await there.receive("tasks")
        assert len(set(fitted)) == 1
        return fitted[0]

    outcomes = [await fits(size) for size in range(600, 1000)]
    most = 600 + outcomes.index(False) - 1
    assert outcomes == [size <= most for size in range(600, 1000)]
    # A Fernet token of n bytes has 57 + 16 * (n // 16 + 1) of them, and 4 / 3 of that in base64.
    assert 650 < most < 700 if encrypted else 950 < most < 1000


async def test_a_message_that_waited_too_long_is_not_delivered(
    make_layer: MakeLayer, pass_time: PassTime
) -> None:
    layer = make_layer(expiry=10)
    channel = await joined(layer, "room")
    await layer.group_send("room", message(1))
    await layer.send(channel, message(2))
    # Order between the two is not promised, so wait for both before time passes.
    await reached(lambda: len(layer.nodes[0].table.channels[channel]) == 2)
    pass_time(9)
    await layer.send(channel, message(3))
    pass_time(2)
    assert await numbers(layer, channel, 1) == [3]


async def test_the_time_at_the_broker_counts_as_waiting(
    make_layer: MakeLayer, pass_time: PassTime
) -> None:
    layer = make_layer(expiry=10)
    channel = await joined(layer, "room")
    node = layer.nodes[0]
    for number, age in ((1, 11), (2, 6), (3, 1)):
        node.deliver_to_group("room", node.codec.encode(message(number)), age=age)
    pass_time(5)
    assert await numbers(layer, channel, 1) == [3]
