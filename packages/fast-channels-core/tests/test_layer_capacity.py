"""The options of the in-memory layer: how much waits where, for how long, and how large."""

import math
import re
from collections.abc import Callable
from typing import Any, cast

import pytest

from fast_channels.exceptions import ChannelFull
from fast_channels.layers import InMemoryChannelLayer
from fast_channels.layers.base import ChannelCapacity

Counted = Callable[[], dict[str, int]]
PassTime = Callable[[float], None]


async def fill(layer: InMemoryChannelLayer, channel: str) -> int:
    """Send until the channel is full; how many messages it took."""
    sent = 0
    with pytest.raises(ChannelFull) as caught:
        while True:
            await layer.send(channel, {"type": "a", "n": sent})
            sent += 1
    assert caught.value.channel == channel
    return sent


async def test_a_hundred_messages_wait_unless_told_otherwise(layer: InMemoryChannelLayer) -> None:
    assert await fill(layer, "general") == 100
    assert await fill(layer, await layer.new_channel()) == 100


@pytest.mark.parametrize("capacity", [1, 2, 1000])
async def test_the_capacity_is_exact(capacity: int) -> None:
    layer = InMemoryChannelLayer(capacity=capacity)
    channel = await layer.new_channel()
    assert await fill(layer, channel) == capacity
    for number in range(capacity):
        assert (await layer.receive(channel))["n"] == number
    assert await fill(layer, channel) == capacity
    await layer.receive(channel)
    assert await fill(layer, channel) == 1


async def test_each_channel_has_room_of_its_own(layer: InMemoryChannelLayer) -> None:
    assert await fill(layer, "full") == 100
    assert await fill(layer, "empty") == 100


@pytest.mark.parametrize(
    ("channel", "capacity"),
    [
        ("worker.mail", 2),  # a glob, and the first that matches
        ("worker.", 2),
        ("Worker.mail", 7),  # case counts
        ("a.worker.mail", 7),  # a glob is for the whole name
        ("job.17", 3),  # a regular expression
        ("job.17.retry", 3),  # it matches from the start, and need not reach the end
        ("a.job.17", 7),
        ("job.x", 4),  # the next that matches
        ("reply1", 5),
        ("reply12", 7),
        ("anything", 7),
    ],
)
async def test_the_first_pattern_that_matches_decides(channel: str, capacity: int) -> None:
    rules: ChannelCapacity = {
        "worker.*": 2,
        "worker.mail": 1,
        re.compile(r"job\.[0-9]+"): 3,
        "job.?": 4,
        "reply[0-9]": 5,
    }
    layer = InMemoryChannelLayer(capacity=7, channel_capacity=rules)
    assert layer.get_capacity(channel) == capacity
    assert await fill(layer, channel) == capacity
    assert layer.channel_capacity is rules


async def test_the_name_of_a_new_channel_finds_its_capacity() -> None:
    layer = InMemoryChannelLayer(channel_capacity={"chat.*!*": 2, re.compile("slow"): 3})
    for prefix, capacity in (("chat", 2), ("slow", 3), ("specific", 100)):
        assert await fill(layer, await layer.new_channel(prefix)) == capacity


async def test_expired_messages_make_room(pass_time: PassTime, counted: Counted) -> None:
    layer = InMemoryChannelLayer(expiry=10, capacity=4)
    channel = await layer.new_channel()
    await layer.group_add("group", channel)
    for number in range(2):
        await layer.send(channel, {"type": "a", "n": number})
    pass_time(5)
    for number in range(2, 4):
        await layer.send(channel, {"type": "a", "n": number})
    with pytest.raises(ChannelFull):
        await layer.send(channel, {"type": "a", "n": -1})
    pass_time(5)
    await layer.send(channel, {"type": "a", "n": 4})
    await layer.group_send("group", {"type": "a", "n": 5})
    with pytest.raises(ChannelFull):
        await layer.send(channel, {"type": "a", "n": -1})
    assert [(await layer.receive(channel))["n"] for _ in range(4)] == [2, 3, 4, 5]
    assert counted() == {}


@pytest.mark.parametrize(("expiry", "alive", "expired"), [(60, 59.9, 60), (0.5, 0.49, 0.5)])
async def test_the_expiry_is_in_seconds(
    pass_time: PassTime, expiry: float, alive: float, expired: float
) -> None:
    layer = InMemoryChannelLayer(expiry=expiry, capacity=1)
    await layer.send("c", {"type": "a", "n": 0})
    pass_time(alive)
    assert (await layer.receive("c"))["n"] == 0
    await layer.send("c", {"type": "a", "n": 1})
    pass_time(expired)
    await layer.send("c", {"type": "a", "n": 2})
    assert (await layer.receive("c"))["n"] == 2


async def test_messages_need_not_expire(pass_time: PassTime) -> None:
    layer = InMemoryChannelLayer(expiry=math.inf)
    await layer.send("c", {"type": "a"})
    pass_time(1e9)
    assert await layer.receive("c") == {"type": "a"}


def test_the_options_can_be_read_back() -> None:
    layer = InMemoryChannelLayer(expiry=5, group_expiry=7, capacity=3, max_message_bytes=99)
    assert (layer.expiry, layer.group_expiry, layer.capacity) == (5, 7, 3)
    assert layer.max_message_bytes == 99
    assert set(layer.extensions) == {"groups", "flush"}


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"expiry": 0}, "expiry is 0, expected a number of seconds above 0"),
        ({"expiry": -1}, "expiry is -1, expected"),
        ({"expiry": math.nan}, "expiry is nan, expected"),
        ({"expiry": "60"}, "expiry is '60', expected"),
        ({"expiry": True}, "expiry is True, expected"),
        ({"capacity": 0}, "capacity is 0, expected a whole number of messages from 1 up"),
        ({"capacity": -5}, "capacity is -5, expected"),
        ({"capacity": 2.5}, "capacity is 2.5, expected"),
        ({"capacity": True}, "capacity is True, expected"),
        ({"capacity": None}, "capacity is None, expected"),
        ({"channel_capacity": {"a.*": 0}}, r"channel_capacity\['a\.\*'\] is 0, expected a whole"),
        ({"channel_capacity": {"a": "9"}}, r"channel_capacity\['a'\] is '9', expected"),
        ({"max_message_bytes": 0}, "max_message_bytes is 0, expected a whole number of bytes"),
        ({"max_message_bytes": 1e6}, "max_message_bytes is 1000000.0, expected"),
    ],
)
def test_an_option_that_makes_no_sense_is_named(options: dict[str, Any], sentence: str) -> None:
    make = cast(Callable[..., InMemoryChannelLayer], InMemoryChannelLayer)
    with pytest.raises(ValueError, match=sentence):
        make(**options)


@pytest.mark.parametrize(
    "rules", [{5: 1}, {None: 1}, {b"a.*": 1}, {re.compile(b"a"): 1}, [("a.*", 1)], "a.*"]
)
def test_rules_for_capacity_are_by_glob_or_regular_expression(rules: Any) -> None:
    with pytest.raises(TypeError, match="channel_capacity"):
        InMemoryChannelLayer(channel_capacity=rules)
