"""Consumers on a faulty layer, and the clients that they serve."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from fast_channels.consumer import AsyncJsonWebsocketConsumer
from fast_channels.exceptions import ChannelLayerUnavailable
from fast_channels.layers import (
    InMemoryChannelLayer,
    get_sync_channel_layer,
    register_channel_layer,
    unregister_channel_layer,
)
from fast_channels.limits import Limits
from fast_channels.types import Event
from fast_channels_testing import FaultyChannelLayer, WebsocketClosed, WebsocketCommunicator
from fast_channels_testing.captured import CapturedMessages
from fast_channels_testing.overrides import ChannelLayerOverrides

DEADLINE = 20.0
"""Seconds. Only a test that fails ever waits that long."""


class Member(AsyncJsonWebsocketConsumer):
    channel_layer_alias = "default"
    groups = ["room"]

    async def note(self, event: Event) -> None:
        await self.send_json(event["n"])

    async def layer_gap(self, event: Event, /) -> None:
        await self.send_json("gap")

    async def receive_json(self, content: Any, /) -> None:
        try:
            await self.channel_layer.group_send("room", {"type": "note", "n": content})
        except ChannelLayerUnavailable:
            await self.send_json("try again")


@pytest.fixture
async def layer() -> AsyncIterator[FaultyChannelLayer]:
    layer = FaultyChannelLayer(InMemoryChannelLayer(capacity=3))
    register_channel_layer("default", layer)
    yield layer
    unregister_channel_layer("default")
    assert layer.channels == ()
    await layer.close()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def opened(client: WebsocketCommunicator) -> WebsocketCommunicator:
    assert await client.connect(timeout=DEADLINE) == (True, None)
    return client


async def received(client: WebsocketCommunicator, count: int) -> list[Any]:
    return [await client.receive_json_from(timeout=DEADLINE) for _ in range(count)]


def note(n: int) -> dict[str, Any]:
    return {"type": "note", "n": n}


async def test_one_client_misses_what_another_gets(layer: FaultyChannelLayer) -> None:
    async with WebsocketCommunicator(Member, "/") as ada, WebsocketCommunicator(Member, "/") as bob:
        await opened(ada)
        await opened(bob)
        layer.inject("drop", to=layer.channels[1])
        layer.inject("duplicate", to=layer.channels[0])
        await layer.group_send("room", note(0))
        await layer.group_send("room", note(1))
        assert await received(ada, 3) == [0, 0, 1]
        assert await received(bob, 1) == [1]


async def test_frames_to_a_group_have_faults_too(layer: FaultyChannelLayer) -> None:
    async with WebsocketCommunicator(Member, "/") as client:
        await opened(client)
        layer.inject("drop")
        layer.inject("reorder")
        for n in range(4):
            await layer.group_send("room", {"type": "websocket.send", "text": str(n)})
        assert await received(client, 3) == [2, 1, 3]


async def test_every_consumer_hears_of_a_gap_once(layer: FaultyChannelLayer) -> None:
    async with WebsocketCommunicator(Member, "/") as ada, WebsocketCommunicator(Member, "/") as bob:
        await opened(ada)
        await opened(bob)
        with layer.disconnected(), layer.disconnected():
            await ada.send_json_to(0)
            assert await received(ada, 1) == ["try again"]
            await layer.inner.group_send("room", note(1))
        await layer.group_send("room", note(2))
        for client in (ada, bob):
            assert await received(client, 2) == ["gap", 2]


async def test_a_broken_call_is_one_gap(layer: FaultyChannelLayer) -> None:
    async with WebsocketCommunicator(Member, "/") as client:
        await opened(client)
        layer.inject("disconnect")
        await client.send_json_to(0)
        await client.send_json_to(1)
        assert sorted(map(str, await received(client, 3))) == ["1", "gap", "try again"]


async def test_a_client_cannot_join_while_the_broker_is_away(layer: FaultyChannelLayer) -> None:
    client = WebsocketCommunicator(Member, "/", raise_app_exceptions=False)
    with layer.disconnected():
        await opened(client)
        with pytest.raises(WebsocketClosed) as closed:
            await client.receive_from(timeout=DEADLINE)
    assert closed.value.code == 1011
    await client.disconnect(timeout=DEADLINE)


async def test_a_gap_comes_also_to_a_consumer_that_is_full(layer: FaultyChannelLayer) -> None:
    entered, go_on = asyncio.Event(), asyncio.Event()

    class Busy(Member):
        async def note(self, event: Event) -> None:
            entered.set()
            await go_on.wait()
            await super().note(event)

    async with WebsocketCommunicator(Busy, "/") as client:
        await opened(client)
        await layer.group_send("room", note(0))
        await entered.wait()
        for n in range(1, 6):
            await layer.group_send("room", note(n))
        with layer.disconnected():
            pass
        go_on.set()
        assert await received(client, 5) == [0, 1, 2, 3, "gap"]


async def test_a_full_channel_is_what_the_consumer_says(layer: FaultyChannelLayer) -> None:
    class Impatient(Member):
        overflow = "close"

    client = await opened(WebsocketCommunicator(Impatient, "/"))
    layer.inject("full")
    await layer.group_send("room", note(0))
    with pytest.raises(WebsocketClosed) as closed:
        await client.receive_from(timeout=DEADLINE)
    assert closed.value.code == 1013
    await client.disconnect(timeout=DEADLINE)


async def test_layers_with_faults_may_be_wrapped_again(layer: FaultyChannelLayer) -> None:
    class Impatient(Member):
        overflow = "close"

    outer = FaultyChannelLayer(layer)
    register_channel_layer("default", outer)
    client = await opened(WebsocketCommunicator(Impatient, "/"))
    with layer.disconnected():
        await layer.inner.group_send("room", note(0))
    assert await received(client, 1) == ["gap"]
    layer.inject("full")
    await outer.group_send("room", note(1))
    with pytest.raises(WebsocketClosed) as closed:
        await client.receive_from(timeout=DEADLINE)
    assert closed.value.code == 1013
    await client.disconnect(timeout=DEADLINE)


async def test_the_oldest_of_a_full_channel_gives_way(layer: FaultyChannelLayer) -> None:
    entered, go_on = asyncio.Event(), asyncio.Event()

    class Busy(Member):
        overflow = "drop_oldest"

        async def note(self, event: Event) -> None:
            entered.set()
            await go_on.wait()
            await super().note(event)

    async with WebsocketCommunicator(Busy, "/") as client:
        await opened(client)
        await layer.group_send("room", note(0))
        await entered.wait()
        await layer.group_send("room", note(1))
        with layer.filled():
            await layer.group_send("room", note(2))
        go_on.set()
        assert await received(client, 2) == [0, 2]


async def test_limits_of_a_consumer_hold(layer: FaultyChannelLayer) -> None:
    class Limited(Member):
        groups = []
        limits = Limits(groups=1)

        async def receive_json(self, content: Any, /) -> None:
            await self.channel_layer.group_add(content, self.channel_name)
            await self.send_json(content)

    client = await opened(WebsocketCommunicator(Limited, "/", raise_app_exceptions=False))
    await client.send_json_to("a")
    await client.send_json_to("b")
    assert await received(client, 1) == ["a"]
    with pytest.raises(WebsocketClosed) as closed:
        await client.receive_from(timeout=DEADLINE)
    assert closed.value.code == 1011
    await client.disconnect(timeout=DEADLINE)


async def test_closing_the_layer_ends_its_connections(layer: FaultyChannelLayer) -> None:
    client = await opened(WebsocketCommunicator(Member, "/"))
    await layer.close()
    with pytest.raises(WebsocketClosed) as closed:
        await client.receive_from(timeout=DEADLINE)
    assert closed.value.code == 1012
    await client.disconnect(timeout=DEADLINE)


async def test_blocking_calls_have_faults_too(layer: FaultyChannelLayer) -> None:
    async with WebsocketCommunicator(Member, "/") as client:
        await opened(client)
        layer.inject("drop")
        layer.inject("disconnect")
        blocking = get_sync_channel_layer()
        with pytest.raises(ChannelLayerUnavailable):
            await asyncio.to_thread(blocking.group_send, "room", note(0))
        await asyncio.to_thread(blocking.group_send, "room", note(1))
        await asyncio.to_thread(blocking.group_send, "room", note(2))
        assert await received(client, 2) == ["gap", 2]


async def test_messages_by_chance_reach_a_client_or_not(layer: FaultyChannelLayer) -> None:
    faulty = FaultyChannelLayer(
        InMemoryChannelLayer(), seed=7, drop=0.1, duplicate=0.1, reorder=0.1, delay=(0, 0.002)
    )
    register_channel_layer("default", faulty)
    async with WebsocketCommunicator(Member, "/") as client:
        await opened(client)
        for n in range(50):
            await faulty.group_send("room", note(n))
        dropped = {
            fault.message["n"] for fault in faulty.faults if fault.kind == "drop" and fault.message
        }
        twice = [fault.kind for fault in faulty.faults].count("duplicate")
        numbers = await received(client, 50 - len(dropped) + twice)
        assert set(numbers) == set(range(50)) - dropped
        assert numbers != sorted(numbers)
    await faulty.close()


async def test_settling_waits_for_what_is_delivered_not_for_what_is_on_the_way(
    layer: FaultyChannelLayer,
) -> None:
    async with WebsocketCommunicator(Member, "/") as client:
        await opened(client)
        with layer.stalled():
            await layer.group_send("room", note(0))
            await client.settle()
            assert await client.receive_nothing(timeout=0)
        await client.settle()
        assert await client.receive_json_from(timeout=0) == 0


async def test_the_fixtures_of_pytest_take_it(
    channel_layers: ChannelLayerOverrides, captured_messages: CapturedMessages
) -> None:
    faulty = FaultyChannelLayer(InMemoryChannelLayer())
    channel_layers.override("default", faulty)
    async with WebsocketCommunicator(Member, "/") as client:
        await opened(client)
        faulty.inject("drop")
        faulty.inject("disconnect")
        await client.send_json_to(0)
        assert sorted(await received(client, 2)) == ["gap", "try again"]
        await client.send_json_to(1)
        await client.send_json_to(2)
        assert await received(client, 1) == [2]
    # What arrives is one thing, and what was sent another.
    assert [captured.message["n"] for captured in captured_messages] == [1, 2]
