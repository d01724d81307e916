"""Closing a layer, and using it again: nothing hangs, nothing is left, nothing opens by itself."""

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
import pytest
from tcp_broker import Broker, MakeLayer, TcpLayer, joined, message, numbers, reached

from fast_channels.exceptions import ChannelClosed, ChannelLayerUnavailable

Settle = Callable[[], Awaitable[None]]

CLOSED = "the layer was closed"


async def test_a_layer_can_be_closed_and_used_again_a_hundred_times(
    broker: Broker, make_layer: MakeLayer
) -> None:
    layer = make_layer()
    for number in range(100):
        channel = await joined(layer, "room")
        await layer.group_send("room", message(number))
        assert await numbers(layer, channel, 1) == [number]
        await layer.close()
        await layer.close()
        await reached(lambda: not broker.inboxes)
        assert not broker.groups
        assert asyncio.all_tasks() == {asyncio.current_task()}
    assert len({node.id for node in layer.nodes}) == 100


async def test_closing_an_unused_layer_does_nothing(broker: Broker, make_layer: MakeLayer) -> None:
    layer = make_layer()
    await layer.close()
    await layer.close_channel("specific.0123456789abcdef!1")
    assert not layer.nodes
    assert not broker.commands


async def test_who_waits_in_a_channel_is_told_that_it_closed(make_layer: MakeLayer) -> None:
    layer = make_layer()
    channel = await layer.new_channel()
    waiting = asyncio.create_task(layer.receive(channel))
    await asyncio.sleep(0)
    await layer.close()
    with pytest.raises(ChannelClosed, match=channel):
        await waiting


def calls_that_wait(
    layer: TcpLayer, own: str, other: str
) -> dict[str, Callable[[], Awaitable[object]]]:
    """Calls that need the broker, by the command that they wait for."""
    return {
        "publish": lambda: layer.group_send("room", message(1)),
        "subscribe": lambda: layer.group_add("room", own),
        "send": lambda: layer.send(other, message(1)),
        "push": lambda: layer.send("tasks", message(1)),
        "flush": layer.flush,
    }


@pytest.mark.parametrize("command", ["publish", "subscribe", "send", "push", "flush"])
@pytest.mark.parametrize("fault", ["frozen", "stopped"])
async def test_closing_breaks_off_every_call_that_waits_for_the_broker(
    broker: Broker, make_layer: MakeLayer, command: str, fault: str, settle: Settle
) -> None:
    layer, there = make_layer(send_timeout=60), make_layer()
    own, other = await layer.new_channel(), await there.new_channel()
    if fault == "frozen":
        hold = broker.hold(command)
        call = asyncio.ensure_future(calls_that_wait(layer, own, other)[command]())
        await hold.arrived()
    else:
        await broker.stop()
        call = asyncio.ensure_future(calls_that_wait(layer, own, other)[command]())
        await settle()
    await layer.close()
    async with asyncio.timeout(1):
        with pytest.raises(ChannelLayerUnavailable, match=CLOSED):
            await call
    assert len(layer.nodes) == 1


async def test_closing_breaks_off_the_wait_for_another_process(
    broker: Broker, make_layer: MakeLayer
) -> None:
    here, there = make_layer(), make_layer(send_timeout=60)
    channel = await here.new_channel()
    hold = broker.hold("subscribe")
    adding = asyncio.create_task(there.group_add("room", channel))
    await hold.arrived()
    await there.close()
    async with asyncio.timeout(1):
        with pytest.raises(ChannelLayerUnavailable, match=CLOSED):
            await adding


@pytest.mark.parametrize("fault", ["frozen", "stopped"])
async def test_closing_breaks_off_the_first_connection(
    broker: Broker, make_layer: MakeLayer, fault: str
) -> None:
    layer = make_layer(send_timeout=60)
    if fault == "frozen":
        hold = broker.hold("hello")
        calls = [asyncio.create_task(layer.new_channel()) for _ in range(3)]
        await hold.arrived()
    else:
        await broker.stop()
        calls = [asyncio.create_task(layer.new_channel()) for _ in range(3)]
        await reached(lambda: layer.nodes)
    await layer.close()
    async with asyncio.timeout(1):
        for call in calls:
            with pytest.raises(ChannelLayerUnavailable, match=CLOSED):
                await call
    await reached(lambda: not broker.inboxes)
    assert len(layer.nodes) == 1


async def test_no_call_goes_on_with_what_was_closed_in_the_same_moment(
    make_layer: MakeLayer,
) -> None:
    """At whatever step of the first connection the layer closes."""
    layer = make_layer()
    for steps in range(40):
        call = asyncio.create_task(layer.new_channel())
        for _ in range(steps):
            await asyncio.sleep(0)
        await layer.close()
        try:
            channel = await call
        except ChannelLayerUnavailable:
            continue
        # It was opened before, and closed with the layer, or after: then it works.
        if len(layer.nodes[-1].table.channels):
            await layer.send(channel, message(1))
            assert await numbers(layer, channel, 1) == [1]
            await layer.close()
        assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_closing_twice_at_once_returns_when_it_is_done(
    broker: Broker, make_layer: MakeLayer
) -> None:
    layer = make_layer()
    await layer.new_channel()
    first = asyncio.create_task(layer.close())
    await asyncio.sleep(0)
    await layer.close()
    assert layer.connections[0].link is None
    await first


async def test_closing_goes_on_when_its_caller_gives_up(
    broker: Broker, make_layer: MakeLayer
) -> None:
    layer = make_layer()
    for steps in range(10):
        await joined(layer, "room")
        closing = asyncio.create_task(layer.close())
        for _ in range(steps):
            await asyncio.sleep(0)
        closing.cancel()
        await asyncio.wait([closing])
        if steps == 0:  # It never began.
            assert broker.inboxes
            await layer.close()
        await reached(lambda: not broker.inboxes)
        await reached(lambda: asyncio.all_tasks() == {asyncio.current_task()})


async def test_what_comes_while_the_layer_closes_starts_nothing(
    broker: Broker, make_layer: MakeLayer
) -> None:
    layer = make_layer()
    channel = await layer.new_channel()
    node = layer.nodes[0]
    wish = msgspec.msgpack.encode(["j", "room", channel, node.id, 1])
    closing = asyncio.create_task(layer.close())
    while not closing.done():
        node.deliver(wish)
        await asyncio.sleep(0)
    node.deliver(wish)
    node.deliver_to_group("room", node.codec.encode(message(1)))
    node.gap()
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert not broker.commands["subscribe"]


async def test_a_connection_that_failed_to_open_is_closed(
    broker: Broker, make_layer: MakeLayer
) -> None:
    layer = make_layer(send_timeout=0.2)
    hold = broker.hold("hello")
    with pytest.raises(ChannelLayerUnavailable, match=r"within 0\.2 s"):
        await layer.new_channel()
    await reached(lambda: layer.connections[0].closed)
    hold.release()
    await layer.new_channel()
    assert not layer.connections[0].closed
    assert len(layer.nodes) == 1


async def test_a_node_has_its_groups_when_its_connection_is_made(
    broker: Broker, make_layer: MakeLayer
) -> None:
    layer = make_layer()
    await layer.new_channel()
    assert layer.connections[0].groups_when_made == []
