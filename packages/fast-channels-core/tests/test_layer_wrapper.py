"""Layers around another layer."""

import asyncio
from typing import Any

import pytest
from tcp_broker import DEADLINE, Broker, MakeLayer

from fast_channels.exceptions import ChannelClosed, ChannelFull
from fast_channels.layers import BaseChannelLayer, InMemoryChannelLayer
from fast_channels.layers._mailbox import Mailbox
from fast_channels.layers.wrapper import ChannelLayerWrapper, Envelope, Outlet, Tap


class Watching:
    """Lets everything through, and writes it down."""

    def __init__(self, outlet: Outlet, seen: list[Any]) -> None:
        self._outlet = outlet
        self._seen = seen

    def arrived(self, envelope: Envelope) -> bool:
        self._seen.append(envelope.open()["type"])
        return self._outlet.put(envelope)

    def cleared(self) -> None:
        self._seen.append("cleared")

    def closed(self) -> None:
        self._seen.append("closed")


class WatchingLayer(ChannelLayerWrapper):
    def __init__(self, inner: BaseChannelLayer) -> None:
        super().__init__(inner)
        self.seen: list[Any] = []

    def make_tap(self, outlet: Outlet) -> Tap:
        self.seen.append(outlet.name)
        return Watching(outlet, self.seen)


async def test_a_tap_sees_what_happens_to_its_channel() -> None:
    layer = WatchingLayer(InMemoryChannelLayer())
    channel = await layer.new_channel("chat")
    await layer.group_add("room", channel)
    await layer.send(channel, {"type": "a"})
    await layer.group_send("room", {"type": "b"})
    assert [(await layer.receive(channel))["type"] for _ in range(2)] == ["a", "b"]
    await layer.flush()
    await layer.close_channel(channel)
    assert layer.seen == [channel, "a", "b", "cleared", "closed"]
    with pytest.raises(ChannelClosed):
        await layer.receive(channel)


async def test_wrappers_may_be_wrapped() -> None:
    inner = WatchingLayer(InMemoryChannelLayer(capacity=1))
    layer = WatchingLayer(inner)
    channel = await layer.new_channel()
    receiving = asyncio.create_task(layer.receive(channel))
    await asyncio.sleep(0)
    await layer.send(channel, {"type": "a"})
    assert await receiving == {"type": "a"}
    await layer.send(channel, {"type": "b"})
    with pytest.raises(ChannelFull):
        await layer.send(channel, {"type": "c"})
    await layer.close()
    expected = [channel, "a", "b", "c", "closed"]
    assert layer.seen == expected
    assert inner.seen == expected


async def test_a_gap_of_the_broker_is_no_delivery(broker: Broker, make_layer: MakeLayer) -> None:
    class GapMailbox(Mailbox):
        takes_gaps = True

    layer = WatchingLayer(make_layer())
    mailbox = GapMailbox()
    await layer.open_mailbox(mailbox, "chat")
    await layer.group_add("room", mailbox.name)
    async with asyncio.timeout(DEADLINE):
        receiving = asyncio.create_task(mailbox.receive())
        await broker.cut()
        assert await receiving == {"type": "layer.gap"}
        await layer.group_send("room", {"type": "a"})
        assert await layer.receive(mailbox.name) == {"type": "a"}
    await layer.close()
    assert layer.seen == [mailbox.name, "a", "closed"]


async def test_its_options_are_those_of_the_layer_in_it() -> None:
    class Layer(InMemoryChannelLayer):
        def get_capacity(self, channel: str) -> int:
            return 11 if channel == "large" else super().get_capacity(channel)

    inner = Layer(capacity=7, expiry=3, channel_capacity={"work.*": 9})
    layer = WatchingLayer(inner)
    assert (layer.inner, layer.capacity, layer.expiry) == (inner, 7, 3)
    assert [layer.get_capacity(channel) for channel in ("x", "work.1", "large")] == [7, 9, 11]


def test_what_cannot_be_wrapped_is_refused() -> None:
    anything: Any = InMemoryChannelLayer
    with pytest.raises(TypeError, match="WatchingLayer wraps a channel layer, got <class"):
        WatchingLayer(anything)
    pulled: Any = type("Pulled", (BaseChannelLayer,), {})
    pulled.__abstractmethods__ = frozenset()
    with pytest.raises(TypeError, match="Pulled can only be asked for messages"):
        WatchingLayer(pulled())
