"""What a layer may have beyond the promises of all."""

import asyncio

import pytest

from fast_channels.exceptions import MessageTooLarge
from fast_channels.layers import BaseChannelLayer
from fast_channels.statistics import statistics
from fast_channels_testing.layers._base import SuiteBase, layer_test
from fast_channels_testing.layers._capabilities import NotSupported, Supported
from fast_channels_testing.layers._layers import Layers

_SECRET = {"type": "secret", "text": "attack at dawn"}


class ExtensionsTier(SuiteBase):
    """What a layer may have beyond the promises of all."""

    @layer_test("extensions")
    async def test_it_names_its_extensions(self, layers: Layers) -> None:
        extensions = layers.make().extensions
        assert "groups" in extensions
        if isinstance(self.capabilities.flush, Supported | NotSupported):
            assert ("flush" in extensions) is isinstance(self.capabilities.flush, Supported), (
                f"extensions is {extensions}, and the capability is {self.capabilities.flush}"
            )

    @layer_test("extensions", needs="message_limit")
    async def test_a_message_above_the_limit_is_refused(self, layers: Layers) -> None:
        layer = layers.make(max_message_bytes=1000)
        channel = await layers.member(layer, "room")
        too_large = {"type": "large", "data": b"x" * 1000}
        with pytest.raises(MessageTooLarge):
            await layers.soon(layer.send(channel, too_large))
        with pytest.raises(MessageTooLarge):
            await layers.soon(layer.group_send("room", too_large))
        if self._has_general_channels:
            with pytest.raises(MessageTooLarge):
                await layers.soon(layer.send("jobs", too_large))
            await layers.nothing_waits(layer, layer, "jobs")
        await layers.nothing_waits(layer, layer, channel)

    @layer_test("extensions", needs="message_limit")
    async def test_a_message_below_the_limit_arrives(self, layers: Layers) -> None:
        layer = layers.make(max_message_bytes=3_000_000)
        channel = await layers.member(layer, "room")
        large = {"type": "large", "data": b"x" * 2_900_000}
        await layers.soon(layer.group_send("room", large))
        assert await layers.receive(layer, channel, 1) == [large]

    @layer_test("extensions", needs="encryption")
    async def test_layers_with_the_same_key_understand_each_other(self, layers: Layers) -> None:
        here, there = _with_keys(layers, "key"), _with_keys(layers, "key")
        channel = await layers.member(here, "room")
        await self._tell(layers, there, channel)
        await self._hear(layers, here, channel)

    @layer_test("extensions", needs="encryption")
    async def test_keys_can_be_changed_one_process_at_a_time(self, layers: Layers) -> None:
        before, between, after = (
            _with_keys(layers, "old"),
            _with_keys(layers, "new", "old"),
            _with_keys(layers, "new"),
        )
        channel, last = await layers.member(between, "room"), await layers.member(after, "lounge")
        for sender in (before, after):
            await self._tell(layers, sender, channel)
            await self._hear(layers, between, channel)
        await layers.soon(between.group_send("lounge", _SECRET))  # by the first of its keys
        assert await layers.receive(after, last, 1) == [_SECRET]

    @layer_test("extensions", needs="encryption")
    async def test_what_no_key_decrypts_is_dropped_and_counted(self, layers: Layers) -> None:
        layer, friend = _with_keys(layers, "ours"), _with_keys(layers, "ours")
        channel = await layers.member(layer, "room")
        for stranger in (_with_keys(layers, "theirs"), layers.make()):
            counted = _undecodable()
            await self._tell(layers, stranger, channel)
            async with asyncio.timeout(layers.deadline):
                while _undecodable() < counted + 2:  # noqa: ASYNC110  # nothing tells of it
                    await asyncio.sleep(0.01)
            await self._tell(layers, friend, channel)
            await self._hear(layers, layer, channel)
        await layers.nothing_waits(layer, layer, channel)

    @layer_test("extensions", needs="flush")
    async def test_flush_drops_what_waits(self, layers: Layers) -> None:
        layer = layers.make()
        channel = await layers.soon(layer.new_channel())
        await layers.soon(layer.send(channel, {"type": "old"}))
        if self._has_general_channels:
            await layers.soon(layer.send("jobs", {"type": "old"}))
        await layers.soon(layer.flush())
        await layers.nothing_waits(layer, layer, channel)
        if self._has_general_channels:
            await layers.nothing_waits(layer, layer, "jobs")

    @layer_test("extensions", needs="flush")
    async def test_flush_empties_groups_that_can_be_joined_again(self, layers: Layers) -> None:
        layer = layers.make()
        channel = await layers.member(layer, "room")
        await layers.soon(layer.flush())
        await layers.soon(layer.group_send("room", {"type": "to nobody"}))
        received = await layers.drain_group(layer, layer, "room", channel)
        assert received == [], f"after flush() the group was empty, but a channel got {received!r}"

    @property
    def _has_general_channels(self) -> bool:
        return isinstance(self.capabilities.general_channels, Supported)

    async def _tell(self, layers: Layers, sender: BaseChannelLayer, channel: str) -> None:
        """Send the secret to a member of the room in every way."""
        await layers.soon(sender.send(channel, _SECRET))
        await layers.soon(sender.group_send("room", _SECRET))
        if self._has_general_channels:
            await layers.soon(sender.send("jobs", _SECRET))

    async def _hear(self, layers: Layers, layer: BaseChannelLayer, channel: str) -> None:
        assert await layers.receive(layer, channel, 2) == [_SECRET] * 2
        if self._has_general_channels:
            assert await layers.receive(layer, "jobs", 1) == [_SECRET]


def _with_keys(layers: Layers, *keys: str) -> BaseChannelLayer:
    return layers.make(symmetric_encryption_keys=keys)


def _undecodable() -> int:
    return statistics.snapshot().get("event.undecodable", 0)
