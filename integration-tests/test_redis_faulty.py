"""A faulty layer around a Redis layer: what other processes send has faults here, too."""

from collections.abc import AsyncIterator

import pytest
from layer_faults import (
    DEADLINE,
    MakeLayer,
    both_layers,
    eventually,
    on_one_server,
    within_deadline,
)
from redis_servers import RedisServer

from fast_channels.consumer import AsyncJsonWebsocketConsumer
from fast_channels.exceptions import ChannelFull, ChannelLayerUnavailable
from fast_channels.layers import (
    BaseChannelLayer,
    register_channel_layer,
    unregister_channel_layer,
)
from fast_channels.testing import FaultyChannelLayer, WebsocketCommunicator
from fast_channels.types import Event, Message

pytestmark = [both_layers, on_one_server]


class Member(AsyncJsonWebsocketConsumer):
    channel_layer_alias = "default"
    groups = ["room"]

    async def note(self, event: Event) -> None:
        await self.send_json(event["n"])

    async def layer_gap(self, event: Event, /) -> None:
        await self.send_json("gap")


def note(n: int) -> Message:
    return {"type": "note", "n": n}


@pytest.fixture
def elsewhere(make_layer: MakeLayer, kind: str, redis_server: RedisServer) -> BaseChannelLayer:
    """The layer of another process."""
    return make_layer(kind, redis_server.url)


@pytest.fixture
async def layer(
    make_layer: MakeLayer, kind: str, redis_server: RedisServer
) -> AsyncIterator[FaultyChannelLayer]:
    layer = FaultyChannelLayer(make_layer(kind, redis_server.url))
    register_channel_layer("default", layer)
    yield layer
    unregister_channel_layer("default")
    await within_deadline(layer.close())
    assert layer.channels == ()


async def test_members_miss_what_another_process_sends(
    layer: FaultyChannelLayer, elsewhere: BaseChannelLayer
) -> None:
    async with WebsocketCommunicator(Member, "/") as ada, WebsocketCommunicator(Member, "/") as bob:
        for client in (ada, bob):
            assert await client.connect(timeout=DEADLINE) == (True, None)
        layer.inject("drop", to=layer.channels[0])
        layer.inject("duplicate", to=layer.channels[1])
        layer.inject("full", to=layer.channels[1])
        for n in range(3):
            await elsewhere.group_send("room", note(n))
        assert [await ada.receive_json_from(timeout=DEADLINE) for _ in range(2)] == [1, 2]
        assert [await bob.receive_json_from(timeout=DEADLINE) for _ in range(3)] == [0, 0, 2]


async def test_what_another_process_sends_is_lost_while_it_is_disconnected(
    layer: FaultyChannelLayer, elsewhere: BaseChannelLayer
) -> None:
    async with WebsocketCommunicator(Member, "/") as client:
        assert await client.connect(timeout=DEADLINE) == (True, None)
        with layer.disconnected():
            with pytest.raises(ChannelLayerUnavailable):
                await layer.group_send("room", note(0))
            await elsewhere.group_send("room", note(1))
            await eventually(lambda: "delivery" in operations(layer), "it was lost")
        await elsewhere.group_send("room", note(2))
        assert [await client.receive_json_from(timeout=DEADLINE) for _ in range(2)] == ["gap", 2]
    assert operations(layer) == ["group_send", "delivery"]


async def test_general_channels_have_faults(layer: FaultyChannelLayer) -> None:
    layer.inject("duplicate", to="work")
    await layer.send("work", note(0))
    with layer.filled("work"), pytest.raises(ChannelFull):
        await layer.send("work", note(1))
    received = [await within_deadline(layer.receive("work")) for _ in range(2)]
    assert received == [note(0), note(0)]


def operations(layer: FaultyChannelLayer) -> list[str]:
    return [fault.operation for fault in layer.faults]
