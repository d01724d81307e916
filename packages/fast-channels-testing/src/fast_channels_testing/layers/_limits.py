"""How much waits in a channel, and for how long."""

import asyncio
import re
from typing import Final

from fast_channels.exceptions import ChannelFull
from fast_channels.layers import BaseChannelLayer
from fast_channels_testing.layers._base import SuiteBase, layer_test
from fast_channels_testing.layers._layers import Layers, numbered

_EXPIRY: Final = 0.1
_MUCH_LATER: Final = 0.3
_MORE_THAN_ALL: Final = 120
"""Messages; no channel of these tests has room for that many."""
_RULES: Final[dict[str | re.Pattern[str], int]] = {
    "small.*": 2,
    "small.mail*": 9,
    re.compile(r"b[i1]g"): 5,
    "odd?name*": 3,
}
_BY_RULE: Final = (
    ("small", 2),
    ("small.mail", 2),  # the first pattern that matches decides
    ("big", 5),  # a regular expression matches from the start, and need not reach the end
    ("b1g.deal", 5),
    ("not-big", 7),
    ("odd.name", 3),
    ("Small", 7),  # case counts
)


class LimitsTier(SuiteBase):
    """Capacity and expiry."""

    @layer_test("core")
    async def test_a_full_channel_refuses_messages(self, layers: Layers) -> None:
        layer = layers.make(capacity=3)
        await _keeps_capacity(layers, layer, await layer.new_channel())

    @layer_test("core", needs="general_capacity")
    async def test_a_full_general_channel_refuses_messages(self, layers: Layers) -> None:
        await _keeps_capacity(layers, layers.make(capacity=3), "jobs")

    @layer_test("core")
    async def test_each_channel_has_room_of_its_own(self, layers: Layers) -> None:
        layer = layers.make(capacity=4)
        for channel in [await layer.new_channel() for _ in range(3)]:
            assert await _fill(layers, layer, channel) == 4

    @layer_test("core")
    async def test_the_capacity_of_a_channel_is_known_by_its_name(self, layers: Layers) -> None:
        layer = layers.make(capacity=7, channel_capacity=_RULES)
        for prefix, capacity in _BY_RULE:
            await _holds(layers, layer, await layer.new_channel(prefix), capacity)

    @layer_test("core", needs="general_capacity")
    async def test_the_capacity_of_a_general_channel_is_known_by_its_name(
        self, layers: Layers
    ) -> None:
        layer = layers.make(capacity=7, channel_capacity=_RULES)
        for prefix, capacity in _BY_RULE:
            await _holds(layers, layer, f"{prefix}.", capacity)

    @layer_test("core")
    async def test_a_hundred_messages_wait_unless_told_otherwise(self, layers: Layers) -> None:
        layer = layers.make()
        await _holds(layers, layer, await layer.new_channel(), 100)

    @layer_test("core")
    async def test_a_message_past_its_expiry_is_not_delivered(self, layers: Layers) -> None:
        layer = layers.make(expiry=_EXPIRY)
        await _expires(layers, layer, await layer.new_channel())

    @layer_test("core", needs="general_channels")
    async def test_a_message_past_its_expiry_leaves_a_general_channel(self, layers: Layers) -> None:
        await _expires(layers, layers.make(expiry=_EXPIRY), "jobs")

    @layer_test("core")
    async def test_a_group_message_past_its_expiry_is_not_delivered(self, layers: Layers) -> None:
        layer = layers.make(expiry=_EXPIRY)
        channel = await layers.member(layer, "group")
        await layers.soon(layer.group_send("group", {"type": "old"}))
        await asyncio.sleep(_MUCH_LATER)
        await _only_new_comes(layers, layer, channel)

    @layer_test("core")
    async def test_expired_messages_make_room(self, layers: Layers) -> None:
        layer = layers.make(expiry=_EXPIRY, capacity=2)
        await _makes_room(layers, layer, await layer.new_channel())

    @layer_test("core", needs="general_capacity")
    async def test_expired_messages_make_room_in_a_general_channel(self, layers: Layers) -> None:
        await _makes_room(layers, layers.make(expiry=_EXPIRY, capacity=2), "jobs")


async def _fill(layers: Layers, layer: BaseChannelLayer, channel: str) -> int:
    """Send until the channel is full; how many messages it took."""
    taken = 0
    try:
        while taken < _MORE_THAN_ALL:
            await layers.soon(layer.send(channel, numbered(taken)), "send to return or to raise")
            taken += 1
    except ChannelFull as full:
        named = full.channel
    else:
        raise AssertionError(f"{channel!r} took {taken} messages, expected ChannelFull before")
    assert named == channel, f"ChannelFull names {named!r}, not {channel!r}"
    return taken


async def _holds(layers: Layers, layer: BaseChannelLayer, channel: str, capacity: int) -> None:
    held = await _fill(layers, layer, channel)
    assert held == capacity, f"{channel!r} took {held} messages, expected {capacity}"
    known = layer.get_capacity(channel)
    assert known == capacity, f"get_capacity({channel!r}) is {known}, expected {capacity}"


async def _keeps_capacity(layers: Layers, layer: BaseChannelLayer, channel: str) -> None:
    await _holds(layers, layer, channel, 3)
    assert await layers.numbers(layer, channel, 1) == [0]
    await layers.soon(layer.send(channel, numbered(10)), "room for one more message")
    assert await _fill(layers, layer, channel) == 0, "there was room for more than one"
    received = await layers.numbers(layer, channel, 3)
    assert received == [1, 2, 10], f"{channel!r} held {received}, expected 1, 2 and 10"
    await layers.nothing_waits(layer, layer, channel)


async def _expires(layers: Layers, layer: BaseChannelLayer, channel: str) -> None:
    await layers.soon(layer.send(channel, {"type": "old"}))
    await asyncio.sleep(_MUCH_LATER)
    await _only_new_comes(layers, layer, channel)


async def _only_new_comes(layers: Layers, layer: BaseChannelLayer, channel: str) -> None:
    """Send until something arrives: on a slow machine what is new grows old on its way."""
    receiver = asyncio.ensure_future(layer.receive(channel))

    async def send_on() -> None:
        while not receiver.done():
            await layer.send(channel, {"type": "new"})
            await asyncio.wait([receiver], timeout=_EXPIRY / 2)

    await layers.soon(send_on(), "a message that has not expired")
    assert receiver.result() == {"type": "new"}, (
        f"a message arrived {_MUCH_LATER} s after it was sent, its expiry is {_EXPIRY} s"
    )


async def _makes_room(layers: Layers, layer: BaseChannelLayer, channel: str) -> None:
    for _ in range(2):
        await layers.soon(layer.send(channel, numbered(1)))
    await asyncio.sleep(_EXPIRY)

    async def send_on() -> None:
        while True:
            try:
                return await layer.send(channel, numbered(2))
            except ChannelFull:
                await asyncio.sleep(_EXPIRY)  # A broker need not look at its clock all the time.

    await layers.soon(send_on(), f"{channel!r} to have room, where all messages have expired")
