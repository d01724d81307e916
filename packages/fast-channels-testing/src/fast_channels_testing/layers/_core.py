"""What a single layer does with its channels."""

import asyncio

from fast_channels.exceptions import ChannelClosed
from fast_channels.layers import BaseChannelLayer
from fast_channels_testing.layers._base import layer_test
from fast_channels_testing.layers._cancelling import CancellingTier
from fast_channels_testing.layers._delivery import DeliveryTier
from fast_channels_testing.layers._layers import Layers, numbered, rounds
from fast_channels_testing.layers._limits import LimitsTier
from fast_channels_testing.layers._names import NamesTier
from fast_channels_testing.layers._ownership import OwnershipTier
from fast_channels_testing.layers._payloads import PayloadTier


class CoreTier(NamesTier, DeliveryTier, LimitsTier, CancellingTier, PayloadTier, OwnershipTier):
    """Names, order, capacity, expiry, cancelling, payloads, and the end of a channel."""

    @layer_test("core")
    async def test_a_channel_that_is_closed_cannot_be_received_from(self, layers: Layers) -> None:
        layer = layers.make()
        channel = await layer.new_channel()
        await layers.soon(layer.send(channel, numbered(1)))
        await layers.soon(layer.close_channel(channel))
        await _is_closed(layers, layer, channel)

    @layer_test("core")
    async def test_a_channel_that_nobody_opened_cannot_be_received_from(
        self, layers: Layers
    ) -> None:
        layer = layers.make()
        for channel in ("specific.0123456789abcdef!9", "a!b", "a!", "a.!1"):
            await _is_closed(layers, layer, channel)

    @layer_test("core")
    async def test_every_receiver_of_a_channel_learns_that_it_closes(self, layers: Layers) -> None:
        layer = layers.make()
        channel = await layer.new_channel()
        receivers = [asyncio.ensure_future(layer.receive(channel)) for _ in range(3)]
        await rounds(5)
        await layers.soon(layer.close_channel(channel))
        await layers.soon(asyncio.wait(receivers), "the end of each receive of a closed channel")
        for receiver in receivers:
            error = receiver.exception()
            assert isinstance(error, ChannelClosed), f"expected ChannelClosed, got {error!r}"
            assert error.channel == channel

    @layer_test("core")
    async def test_closing_a_channel_twice_is_closing_once(self, layers: Layers) -> None:
        layer = layers.make()
        channel, other = await layer.new_channel(), await layer.new_channel()
        for _ in range(2):
            await layers.soon(layer.close_channel(channel))
        await layers.soon(layer.close_channel("specific.0123456789abcdef!9"))
        await layers.nothing_waits(layer, layer, other)

    @layer_test("core")
    async def test_a_message_to_a_channel_that_is_closed_is_dropped(self, layers: Layers) -> None:
        layer = layers.make()
        channel = await layer.new_channel()
        await layers.soon(layer.close_channel(channel))
        for gone in (channel, "specific.0123456789abcdef!9", "a!b", "a!", "a.!1"):
            await layers.soon(layer.send(gone, numbered(1)))
        await layers.nothing_waits(layer, layer, await layer.new_channel())


async def _is_closed(layers: Layers, layer: BaseChannelLayer, channel: str) -> None:
    try:
        message = await layers.soon(layer.receive(channel), f"ChannelClosed of {channel!r}")
    except ChannelClosed as error:
        named = error.channel
    else:
        raise AssertionError(f"closed {channel!r} gave {message!r}, expected ChannelClosed")
    assert named == channel, f"ChannelClosed names {named!r}, not {channel!r}"
