"""Channels of the in-memory layer: what goes in comes out, and what may not go in says why."""

import asyncio
import copy
import math
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from fast_channels.exceptions import (
    ChannelClosed,
    ChannelFull,
    InvalidMessageError,
    InvalidNameError,
    MessageTooLarge,
)
from fast_channels.layers import InMemoryChannelLayer
from fast_channels.types import Message

Counted = Callable[[], dict[str, int]]
Settle = Callable[[], Awaitable[None]]
PassTime = Callable[[float], None]


async def test_messages_of_one_sender_arrive_in_order(layer: InMemoryChannelLayer) -> None:
    channel = await layer.new_channel()
    for number in range(100):
        await layer.send(channel, {"type": "count", "number": number})
    received = [(await layer.receive(channel))["number"] for _ in range(100)]
    assert received == list(range(100))


async def test_a_receiver_that_waits_gets_the_message(
    layer: InMemoryChannelLayer, settle: Settle
) -> None:
    channel = await layer.new_channel()
    receiver = asyncio.create_task(layer.receive(channel))
    await settle()
    assert not receiver.done()
    await layer.send(channel, {"type": "late"})
    assert await receiver == {"type": "late"}


async def test_channels_do_not_hear_each_other(layer: InMemoryChannelLayer, settle: Settle) -> None:
    ours, theirs = await layer.new_channel(), await layer.new_channel()
    await layer.send(theirs, {"type": "theirs"})
    receiver = asyncio.create_task(layer.receive(ours))
    await settle()
    assert not receiver.done()
    receiver.cancel()
    assert await layer.receive(theirs) == {"type": "theirs"}


async def test_two_layers_share_nothing(layer: InMemoryChannelLayer, counted: Counted) -> None:
    channel = await layer.new_channel()
    other = InMemoryChannelLayer()
    await other.send(channel, {"type": "astray"})
    with pytest.raises(ChannelClosed):
        await other.receive(channel)
    assert counted() == {"channel.gone": 1}


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"\x00\xff" * 50,
        0,
        -(2**63),
        2**64 - 1,
        0.1,
        -0.0,
        math.inf,
        1e308,
        None,
        True,
        "",
        "Grüße, 世界, 🎉, \x00 and \u2028",
        [],
        {},
        {"user": {"tags": ["a", ["b", {"c": [None, False, 1.5, b"d"]}]]}},
        {"": "empty key", "ключ": "unicode key"},
        [[[[[[[[[[1]]]]]]]]]],
        "x" * (1024 * 1024 - 100),
        b"x" * (1024 * 1024 - 100),
    ],
    ids=lambda value: repr(value)[:20],
)
async def test_values_arrive_as_they_were_sent(layer: InMemoryChannelLayer, value: object) -> None:
    message = {"type": "payload", "value": value}
    await layer.send("general", message)
    await layer.group_add("group", channel := await layer.new_channel())
    await layer.group_send("group", message)
    for name in ("general", channel):
        received = await layer.receive(name)
        assert received == message
        assert type(received["value"]) is type(value)
        assert repr(received["value"]) == repr(value)  # Unlike ==, it tells -0.0 and True apart.


async def test_tuples_and_subclasses_arrive_as_plain_values(layer: InMemoryChannelLayer) -> None:
    await layer.send("c", OrderedDict(type="payload", pair=(1, 2)))
    received = await layer.receive("c")
    assert type(received) is dict
    assert received == {"type": "payload", "pair": [1, 2]}


async def test_the_layer_leaves_a_sent_message_alone(layer: InMemoryChannelLayer) -> None:
    message: Message = {"type": "payload", "list": [1, {"a": (2, 3)}]}
    before = copy.deepcopy(message)
    await layer.send("c", message)
    message["list"].append("changed after sending")
    received = await layer.receive("c")
    assert received["list"] == [1, {"a": [2, 3]}]
    received["list"].clear()
    message["list"].pop()
    assert message == before


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        (["type"], "a message is a dict, this is a list"),
        (None, "a message is a dict, this is None"),
        ("hello", "a message is a dict, this is a str"),
        ({}, 'the message has no "type"'),
        ({"text": "hi"}, 'the message has no "type"'),
        ({"type": None}, 'message["type"] is None; it must be a str'),
        ({"type": 5}, 'message["type"] is an int; it must be a str'),
        ({"type": ""}, 'message["type"] is empty'),
        (
            {"type": "a", "user": {"tags": ["x", {"seen": {1, 2}}]}},
            'message["user"]["tags"][1]["seen"] is a set; send a list',
        ),
        ({"type": "a", "data": bytearray(b"x")}, 'message["data"] is a bytearray'),
        ({"type": "a", "big": [2**64]}, 'message["big"][0] is an int outside of'),
        ({"type": "a", "map": {5: "x"}}, 'message["map"] has a key that is an int; keys are str'),
        ({"type": "a", "text": "\ud800"}, 'message["text"] is a str with a lone surrogate'),
        ({"type": "a", "object": object()}, 'message["object"] is an object'),
    ],
)
async def test_a_message_that_cannot_be_carried_says_where(
    layer: InMemoryChannelLayer, message: Any, sentence: str
) -> None:
    channel = await layer.new_channel()
    await layer.group_add("group", channel)
    for send, target in ((layer.send, channel), (layer.group_send, "group")):
        with pytest.raises(InvalidMessageError) as caught:
            await send(target, message)
        assert isinstance(caught.value, TypeError)
        assert sentence in str(caught.value)
    # Nothing was delivered, not even in part.
    await layer.send(channel, {"type": "next"})
    assert await layer.receive(channel) == {"type": "next"}


async def test_a_message_that_contains_itself_is_refused(layer: InMemoryChannelLayer) -> None:
    message: dict[str, Any] = {"type": "a"}
    message["self"] = message
    with pytest.raises(InvalidMessageError, match=r'message\["self"\] contains itself'):
        await layer.send("c", message)


async def test_a_message_over_the_limit_is_refused_at_the_sender() -> None:
    layer = InMemoryChannelLayer(max_message_bytes=100)
    channel = await layer.new_channel()
    await layer.group_add("group", channel)
    overhead = len(b"\x82\xa4type\xa1a\xa1x\xc4\x00")
    fits = {"type": "a", "x": b"-" * (100 - overhead)}
    over = {"type": "a", "x": b"-" * (101 - overhead)}
    for send, target in ((layer.send, channel), (layer.group_send, "group")):
        with pytest.raises(MessageTooLarge) as caught:
            await send(target, over)
        assert (caught.value.size, caught.value.limit) == (101, 100)
        await send(target, fits)
        assert await layer.receive(channel) == fits


async def test_the_limit_is_a_mebibyte_unless_told_otherwise(layer: InMemoryChannelLayer) -> None:
    with pytest.raises(MessageTooLarge, match="the limit is 1048576"):
        await layer.send("c", {"type": "a", "text": "x" * 1024 * 1024})


async def test_names_of_new_channels_are_specific_and_never_repeat(
    layer: InMemoryChannelLayer,
) -> None:
    other = InMemoryChannelLayer()
    names = [await each.new_channel("chat") for each in (layer, other) for _ in range(500)]
    for name in (
        *names[:50],
        await layer.new_channel("p" * 40),
        await layer.new_channel("dotted."),
    ):
        layer.require_valid_channel_name(name)
        assert name.count("!") == 1
    await layer.close_channel(names[0])
    assert await layer.new_channel("chat") not in names
    assert len(set(names)) == 1000
    assert names[0].startswith("chat.")
    assert ".." not in await layer.new_channel("dotted.")


@pytest.mark.parametrize("prefix", ["", "two words", "a!b", "p" * 41, 5, None])
async def test_a_prefix_that_makes_no_channel_name_is_refused(
    layer: InMemoryChannelLayer, prefix: Any
) -> None:
    with pytest.raises(InvalidNameError, match="is not a valid channel prefix name"):
        await layer.new_channel(prefix)


@pytest.mark.parametrize("name", ["", "two words", "a!b!c", "!a", "n" * 100, "smörgås", 5, None])
async def test_every_method_refuses_a_bad_channel_name(
    layer: InMemoryChannelLayer, name: Any
) -> None:
    calls: list[Awaitable[object]] = [
        layer.send(name, {"type": "a"}),
        layer.receive(name),
        layer.close_channel(name),
        layer.group_add("group", name),
        layer.group_discard("group", name),
    ]
    for call in calls:
        with pytest.raises(InvalidNameError, match="is not a valid channel name: use 1 to 99"):
            await call


async def test_receive_from_a_channel_that_nobody_opened(layer: InMemoryChannelLayer) -> None:
    with pytest.raises(ChannelClosed, match=r"'specific\.0123!9' is not open") as caught:
        await layer.receive("specific.0123!9")
    assert caught.value.channel == "specific.0123!9"


async def test_closing_a_channel_twice_is_closing_once(
    layer: InMemoryChannelLayer, counted: Counted
) -> None:
    channel = await layer.new_channel()
    await layer.send(channel, {"type": "unread"})
    await layer.close_channel(channel)
    await layer.close_channel(channel)
    await layer.close_channel("specific.never!opened")
    with pytest.raises(ChannelClosed):
        await layer.receive(channel)
    await layer.send(channel, {"type": "late"})
    assert counted() == {"channel.gone": 1}


async def test_every_receiver_of_a_channel_learns_that_it_closes(
    layer: InMemoryChannelLayer, settle: Settle
) -> None:
    channel = await layer.new_channel()
    receivers = [asyncio.create_task(layer.receive(channel)) for _ in range(3)]
    await settle()
    await layer.close_channel(channel)
    for receiver in receivers:
        with pytest.raises(ChannelClosed) as caught:
            await receiver
        assert caught.value.channel == channel


async def test_a_message_past_its_expiry_is_not_delivered(pass_time: PassTime) -> None:
    layer = InMemoryChannelLayer(expiry=10)
    await layer.send("c", {"type": "old"})
    pass_time(6)
    await layer.send("c", {"type": "new"})
    pass_time(4)
    assert await layer.receive("c") == {"type": "new"}


async def test_a_message_that_expires_while_its_receiver_is_woken_is_not_delivered(
    pass_time: PassTime, settle: Settle
) -> None:
    layer = InMemoryChannelLayer(expiry=10)
    receiver = asyncio.create_task(layer.receive("c"))
    await settle()
    await layer.send("c", {"type": "old"})
    pass_time(10)
    await settle()
    assert not receiver.done()
    await layer.send("c", {"type": "new"})
    assert await receiver == {"type": "new"}


async def test_flush_drops_messages_and_groups_but_closes_nothing(
    layer: InMemoryChannelLayer, settle: Settle, counted: Counted
) -> None:
    channel = await layer.new_channel()
    await layer.group_add("group", channel)
    await layer.group_add("group", "general")
    for target in (channel, "general"):
        await layer.send(target, {"type": "flushed"})
    await layer.flush()
    await layer.group_send("group", {"type": "to nobody"})
    receivers = [asyncio.create_task(layer.receive(target)) for target in (channel, "general")]
    await settle()
    for target in (channel, "general"):
        await layer.send(target, {"type": "after"})
    assert await asyncio.gather(*receivers) == [{"type": "after"}] * 2
    await layer.group_add("group", channel)
    await layer.group_send("group", {"type": "again"})
    assert await layer.receive(channel) == {"type": "again"}
    assert counted() == {}


async def test_flush_makes_room(layer: InMemoryChannelLayer) -> None:
    channel = await layer.new_channel()
    for _ in range(2):
        for _ in range(layer.capacity):
            await layer.send(channel, {"type": "a"})
        with pytest.raises(ChannelFull):
            await layer.send(channel, {"type": "a"})
        await layer.flush()


async def test_a_layer_can_be_closed_and_used_again(
    layer: InMemoryChannelLayer, settle: Settle
) -> None:
    for number in range(100):
        channel = await layer.new_channel()
        await layer.group_add("group", channel)
        await layer.group_send("group", {"type": "a", "number": number})
        assert await layer.receive(channel) == {"type": "a", "number": number}
        specific = asyncio.create_task(layer.receive(channel))
        general = asyncio.create_task(layer.receive("general"))
        await settle()
        await layer.close()
        await layer.close()
        # Not even one tick later: the layer is open again for those who use it.
        await layer.send("general", {"type": "new", "number": number})
        assert await layer.receive("general") == {"type": "new", "number": number}
        for receiver in (specific, general):
            with pytest.raises(ChannelClosed):
                await receiver


async def test_closing_the_layer_drops_what_general_channels_hold(
    layer: InMemoryChannelLayer, settle: Settle
) -> None:
    await layer.group_add("group", "general")
    await layer.send("general", {"type": "old"})
    await layer.close()
    await layer.group_send("group", {"type": "to nobody"})
    receiver = asyncio.create_task(layer.receive("general"))
    await settle()
    assert not receiver.done()
    await layer.send("general", {"type": "new"})
    assert await receiver == {"type": "new"}
