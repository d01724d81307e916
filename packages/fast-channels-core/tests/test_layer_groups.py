"""Groups of the in-memory layer: who gets a message, in which order, and who misses it."""

import asyncio
import copy
import logging
import tracemalloc
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from fast_channels.exceptions import ChannelClosed, InvalidNameError
from fast_channels.layers import InMemoryChannelLayer

Counted = Callable[[], dict[str, int]]
Settle = Callable[[], Awaitable[None]]


async def members_of(layer: InMemoryChannelLayer, group: str, count: int) -> list[str]:
    members = [await layer.new_channel() for _ in range(count)]
    for member in members:
        await layer.group_add(group, member)
    return members


async def everything_in(layer: InMemoryChannelLayer, channel: str) -> list[Any]:
    """The ``n`` of every message that waits; a last message marks the end."""
    await layer.send(channel, {"type": "end", "n": None})
    found: list[Any] = []
    while (number := (await layer.receive(channel))["n"]) is not None:
        found.append(number)
    return found


async def test_every_member_gets_the_message_and_nobody_else(layer: InMemoryChannelLayer) -> None:
    members = await members_of(layer, "group", 10)
    (stranger,) = await members_of(layer, "another", 1)
    await layer.group_send("group", {"type": "a", "n": 1})
    for member in members:
        assert await everything_in(layer, member) == [1]
    assert await everything_in(layer, stranger) == []


async def test_a_channel_can_be_in_many_groups(layer: InMemoryChannelLayer) -> None:
    channel = await layer.new_channel()
    for number in range(20):
        await layer.group_add(f"group.{number}", channel)
    await layer.group_discard("group.7", channel)
    for number in range(20):
        await layer.group_send(f"group.{number}", {"type": "a", "n": number})
    assert await everything_in(layer, channel) == [n for n in range(20) if n != 7]


async def test_adding_twice_is_adding_once(layer: InMemoryChannelLayer) -> None:
    (member,) = await members_of(layer, "group", 1)
    await layer.group_add("group", member)
    await layer.group_send("group", {"type": "a", "n": 1})
    await layer.group_discard("group", member)
    await layer.group_send("group", {"type": "a", "n": 2})
    assert await everything_in(layer, member) == [1]


async def test_a_stranger_may_leave(layer: InMemoryChannelLayer) -> None:
    (member,) = await members_of(layer, "group", 1)
    stranger = await layer.new_channel()
    for channel in (stranger, "specific.gone!1", "general"):
        await layer.group_discard("group", channel)
        await layer.group_discard("no-such-group", channel)
    await layer.group_send("group", {"type": "a", "n": 1})
    assert await everything_in(layer, member) == [1]


async def test_leaving_keeps_what_had_arrived(layer: InMemoryChannelLayer) -> None:
    (member,) = await members_of(layer, "group", 1)
    await layer.group_send("group", {"type": "a", "n": 1})
    await layer.group_discard("group", member)
    await layer.group_send("group", {"type": "a", "n": 2})
    await layer.group_add("group", member)
    await layer.group_send("group", {"type": "a", "n": 3})
    assert await everything_in(layer, member) == [1, 3]


async def test_a_group_that_nobody_is_in_takes_messages(
    layer: InMemoryChannelLayer, counted: Counted
) -> None:
    await layer.group_send("nobody", {"type": "a"})
    (member,) = await members_of(layer, "nobody", 1)
    assert await everything_in(layer, member) == []
    assert counted() == {}


async def test_a_closed_channel_is_in_no_group(
    layer: InMemoryChannelLayer, counted: Counted
) -> None:
    gone, stays = await members_of(layer, "group", 2)
    await layer.close_channel(gone)
    await layer.group_add("group", gone)
    await layer.group_send("group", {"type": "a", "n": 1})
    assert await everything_in(layer, stays) == [1]
    with pytest.raises(ChannelClosed):
        await layer.receive(gone)
    assert counted() == {}


async def test_joining_is_a_barrier_while_others_come_and_go(layer: InMemoryChannelLayer) -> None:
    async def come_and_go() -> None:
        while True:
            (visitor,) = await members_of(layer, "group", 1)
            await asyncio.sleep(0)
            await layer.close_channel(visitor)

    others = [asyncio.create_task(come_and_go()) for _ in range(3)]
    for number in range(1000):
        member = await layer.new_channel()
        await layer.group_add("group", member)
        await layer.group_send("group", {"type": "a", "n": number})
        assert (await layer.receive(member))["n"] == number
        await layer.close_channel(member)
        await asyncio.sleep(0)
    for other in others:
        assert not other.done()
        other.cancel()


async def test_all_members_see_one_order(layer: InMemoryChannelLayer) -> None:
    async def send_some(sender: int) -> None:
        for number in range(20):
            await layer.group_send("group", {"type": "a", "n": (sender, number)})
            await asyncio.sleep(0)

    members = await members_of(layer, "group", 3)
    await asyncio.gather(*map(send_some, range(4)))
    seen = [await everything_in(layer, member) for member in members]
    assert seen[0] == seen[1] == seen[2]
    for sender in range(4):
        assert [number for who, number in seen[0] if who == sender] == list(range(20))


@pytest.mark.parametrize("message_type", ["chat.message", "websocket.send"])
@pytest.mark.parametrize("values", [{}, {"user": {"tags": ["a"]}}, {"tags": ["a"]}])
async def test_what_one_member_does_to_a_message_no_other_sees(
    layer: InMemoryChannelLayer, message_type: str, values: dict[str, Any]
) -> None:
    members = await members_of(layer, "group", 5)
    sent: dict[str, Any] = {"type": message_type, "text": "hi"} | values
    before = copy.deepcopy(sent)
    await layer.group_send("group", sent)
    for member in members:
        received = await layer.receive(member)
        assert received == before
        received["text"] = "changed"
        for tags in (received.get("tags"), received.get("user", {}).get("tags")):
            if tags is not None:
                tags.append("b")
        del received["type"]
    assert sent == before


async def test_a_general_channel_can_be_a_member(
    layer: InMemoryChannelLayer, settle: Settle
) -> None:
    await layer.group_add("group", "workers")
    receivers = [asyncio.create_task(layer.receive("workers")) for _ in range(2)]
    await settle()
    await layer.group_send("group", {"type": "a", "n": 1})
    await settle()
    assert [receiver.done() for receiver in receivers] == [True, False]
    await layer.group_discard("group", "workers")
    await layer.group_send("group", {"type": "a", "n": 2})
    await layer.send("workers", {"type": "a", "n": 3})
    assert [(await receiver)["n"] for receiver in receivers] == [1, 3]


async def test_a_full_member_misses_messages_and_the_others_do_not(counted: Counted) -> None:
    layer = InMemoryChannelLayer(capacity=10)
    slow, fast = await members_of(layer, "group", 2)
    seen: list[Any] = []
    for number in range(30):
        await layer.group_send("group", {"type": "a", "n": number})
        seen.append((await layer.receive(fast))["n"])
    assert seen == list(range(30))
    assert [(await layer.receive(slow))["n"] for _ in range(10)] == list(range(10))
    assert counted() == {"event.full": 20}
    await layer.group_send("group", {"type": "a", "n": 30})
    assert await everything_in(layer, slow) == [30]


async def test_missed_messages_are_logged_once_a_second(
    counted: Counted, caplog: pytest.LogCaptureFixture
) -> None:
    layer = InMemoryChannelLayer(capacity=1)
    (member,) = await members_of(layer, "group", 1)
    for _ in range(50):
        await layer.group_send("group", {"type": "a"})
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert f"{member!r} is full" in record.getMessage()
    assert "'group'" in record.getMessage()
    assert counted() == {"event.full": 49}


@pytest.mark.parametrize("group", ["", "two words", "a!b", "g" * 100, "größe", 5, None])
async def test_every_method_refuses_a_bad_group_name(
    layer: InMemoryChannelLayer, group: Any
) -> None:
    channel = await layer.new_channel()
    calls: list[Awaitable[object]] = [
        layer.group_add(group, channel),
        layer.group_discard(group, channel),
        layer.group_send(group, {"type": "a"}),
    ]
    for call in calls:
        with pytest.raises(InvalidNameError, match="is not a valid group name: use 1 to 99") as e:
            await call
        assert "or make a name with group_name(prefix, value)" in str(e.value)


async def test_coming_and_going_leaves_nothing_behind(layer: InMemoryChannelLayer) -> None:
    async def cycle(first: int, count: int) -> None:
        for number in range(first, first + count):
            channel = await layer.new_channel()
            await layer.group_add(f"room.{number}", channel)
            await layer.group_add("lobby", channel)
            await layer.group_send(f"room.{number}", {"type": "a"})
            if number % 2:
                await layer.group_discard(f"room.{number}", channel)
            await layer.close_channel(channel)

    await cycle(0, 100)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        await cycle(100, 3000)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 30_000
