"""What a single layer does with its channels."""

from fast_channels_testing.layers._base import SuiteBase, layer_test
from fast_channels_testing.layers._layers import Layers


class CoreTier(SuiteBase):
    """Names, order, capacity, expiry, payloads: promises of every layer."""

    @layer_test("core")
    async def test_a_channel_gets_what_is_sent_to_it_in_order(self, layers: Layers) -> None:
        layer = layers.make()
        channel = await layer.new_channel()
        for number in range(50):
            await layer.send(channel, {"type": "n", "n": number})
        messages = await layers.receive(layer, channel, 50)
        assert [message["n"] for message in messages] == list(range(50))
