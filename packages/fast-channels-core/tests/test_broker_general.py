"""General channels of layers with a broker: every message to one receiver, in all processes."""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable

import pytest
from tcp_broker import Broker, MakeLayer, message, numbers, reached

from fast_channels.exceptions import ChannelClosed, ChannelFull

Counted = Callable[[], dict[str, int]]
Settle = Callable[[], Awaitable[None]]


async def test_messages_wait_for_a_receiver_and_keep_their_order(make_layer: MakeLayer) -> None:
    here, there = make_layer(), make_layer()
    for number in range(10):
        await here.send("tasks", message(number))
    assert await numbers(there, "tasks", 10) == list(range(10))


async def test_each_message_goes_to_exactly_one_receiver_though_many_give_up(
    broker: Broker, make_layer: MakeLayer
) -> None:
    broker.delay = lambda: random.uniform(0, 0.0005)
    layers = [make_layer(capacity=1000) for _ in range(3)]
    received = Counter[int]()
    count = 600

    async def work(layer_number: int) -> None:
        layer = layers[layer_number]
        while received.total() < count:
            pulling = asyncio.create_task(layer.receive("tasks"))
            if random.random() < 0.5:
                await asyncio.sleep(random.uniform(0, 0.001))
                pulling.cancel()
                await asyncio.wait([pulling])
                if pulling.cancelled():
                    continue
            while not pulling.done():
                await asyncio.wait([pulling], timeout=0.01)
                if received.total() == count:
                    pulling.cancel()
            if not pulling.cancelled():
                received[pulling.result()["number"]] += 1

    workers = [asyncio.create_task(work(number % 3)) for number in range(9)]
    for number in range(count):
        await layers[number % 3].send("tasks", message(number))
    async with asyncio.timeout(20):
        await asyncio.gather(*workers)
    assert received == Counter(range(count))


async def test_an_answer_to_a_receiver_that_was_just_cancelled_is_given_back(
    broker: Broker, make_layer: MakeLayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = make_layer()
    pulling = asyncio.create_task(layer.receive("tasks"))
    await reached(lambda: broker.commands["pull"])
    link = layer.connections[0].link
    assert link is not None
    take = link.data_received

    def cancel_first(data: bytes) -> None:
        pulling.cancel()  # It notices in the loop's next round.
        take(data)

    monkeypatch.setattr(link, "data_received", cancel_first)
    await make_layer().send("tasks", message(1))
    await asyncio.wait([pulling])
    assert pulling.cancelled()
    assert await numbers(layer, "tasks", 1) == [1]


async def test_a_full_channel_is_an_error(make_layer: MakeLayer) -> None:
    layer = make_layer(channel_capacity={"small": 2})
    for number in range(2):
        await layer.send("small", message(number))
    with pytest.raises(ChannelFull, match="'small' is full"):
        await layer.send("small", message(2))
    for number in range(100):
        await layer.send("large", message(number))
    with pytest.raises(ChannelFull):
        await layer.send("large", message(100))
    assert await numbers(layer, "small", 2) == [0, 1]
    await layer.send("small", message(3))


async def test_a_message_that_waited_too_long_is_not_delivered(make_layer: MakeLayer) -> None:
    layer = make_layer(expiry=0.05)
    await layer.send("tasks", message(1))
    await asyncio.sleep(0.06)
    await layer.send("tasks", message(2))
    assert await numbers(layer, "tasks", 1) == [2]


async def test_bytes_that_are_no_message_are_counted_and_the_next_is_taken(
    broker: Broker, make_layer: MakeLayer, counted: Counted
) -> None:
    layer = make_layer()
    node_of_a_worker = asyncio.create_task(layer.receive("tasks"))
    await reached(lambda: broker.commands["pull"])
    connection = layer.nodes[0].connection
    for junk in (b"", b"\xc1", b"\x80", b"\x91" * 100_000):
        await connection.push("tasks", junk, 100, 60)
    await layer.send("tasks", message(1))
    assert (await node_of_a_worker)["number"] == 1
    assert counted() == {"event.undecodable": 4}


async def test_flush_drops_what_waits_here_and_at_the_broker(
    broker: Broker, make_layer: MakeLayer
) -> None:
    layer = make_layer(linger=0)
    channel = await layer.new_channel()
    await layer.group_add("room", channel)
    await layer.send(channel, message(1))
    await layer.send("tasks", message(2))
    await layer.flush()
    await reached(lambda: not broker.groups)
    await layer.group_send("room", message(3))
    await layer.send(channel, message(4))
    await layer.send("tasks", message(5))
    assert await numbers(layer, channel, 1) == [4]
    assert await numbers(layer, "tasks", 1) == [5]


async def test_a_receiver_waits_while_the_broker_is_away(
    broker: Broker, make_layer: MakeLayer
) -> None:
    here, there = make_layer(send_timeout=0.05), make_layer()
    pulling = asyncio.create_task(here.receive("tasks"))
    await reached(lambda: broker.commands["pull"] == 1)
    await broker.stop()
    # Longer than send_timeout, with attempts in between.
    done, _ = await asyncio.wait([pulling], timeout=0.2)
    assert not done
    await broker.start()
    await there.send("tasks", message(1))
    assert (await pulling)["number"] == 1


async def test_a_receiver_waits_for_a_broker_that_was_never_there(
    broker: Broker, make_layer: MakeLayer
) -> None:
    await broker.stop()
    layer = make_layer(send_timeout=0.05)
    pulling = asyncio.create_task(layer.receive("tasks"))
    done, _ = await asyncio.wait([pulling], timeout=0.2)
    assert not done
    await broker.start()
    await layer.send("tasks", message(1))
    assert (await pulling)["number"] == 1


@pytest.mark.parametrize("away", [False, True], ids=["connected", "away"])
async def test_closing_the_layer_ends_its_receivers(
    broker: Broker, make_layer: MakeLayer, away: bool, settle: Settle
) -> None:
    layer = make_layer()
    pulling = asyncio.create_task(layer.receive("tasks"))
    await reached(lambda: broker.commands["pull"] == 1)
    if away:
        await broker.stop()
    await layer.close()
    async with asyncio.timeout(1):
        with pytest.raises(ChannelClosed, match="'tasks'.*its layer was"):
            await pulling
    await settle()
    assert len(layer.nodes) == 1
    assert not broker.inboxes


async def test_closing_the_layer_ends_a_receiver_that_never_saw_the_broker(
    broker: Broker, make_layer: MakeLayer
) -> None:
    await broker.stop()
    layer = make_layer()
    pulling = asyncio.create_task(layer.receive("tasks"))
    await reached(lambda: layer.nodes)
    await layer.close()
    async with asyncio.timeout(1):
        with pytest.raises(ChannelClosed):
            await pulling
    assert len(layer.nodes) == 1
