"""Who is a member of a group, from when and until when."""

import asyncio
import gc
import sys
from itertools import pairwise
from typing import Final

from fast_channels.layers import BaseChannelLayer
from fast_channels_testing.layers._base import SuiteBase, layer_test
from fast_channels_testing.layers._layers import Layers, numbered, rounds

_VISITS: Final = 250


class MembershipTier(SuiteBase):
    """Joining and leaving."""

    @layer_test("groups")
    async def test_a_message_sent_after_a_channel_was_added_reaches_it(
        self, layers: Layers
    ) -> None:
        layer = layers.make()
        for number in range(20):
            for group in ("group", f"group.{number}"):
                channel = await layers.member(layer, group)
                await layers.soon(layer.group_send(group, numbered(number)))
                await _got(layers, layer, channel, number)

    @layer_test("groups")
    async def test_a_message_reaches_who_joins_while_others_come_and_go(
        self, layers: Layers
    ) -> None:
        layer = layers.make()

        over = False

        async def come_and_go() -> None:
            while not over:
                visitor = await layers.member(layer, "group")
                await rounds(1)
                await layer.close_channel(visitor)

        others = [asyncio.ensure_future(come_and_go()) for _ in range(3)]
        for number in range(50):
            channel = await layers.member(layer, "group")
            await layers.soon(layer.group_send("group", numbered(number)))
            await _got(layers, layer, channel, number)
            await layers.soon(layer.close_channel(channel))
        over = True
        await layers.soon(asyncio.gather(*others), "the last visitors to leave")

    @layer_test("groups")
    async def test_only_members_get_the_messages_of_a_group(self, layers: Layers) -> None:
        layer = layers.make()
        groups = ("red", "green", "blue")
        members = {group: [await layers.member(layer, group) for _ in range(3)] for group in groups}
        for number, group in enumerate(groups):
            await layers.soon(layer.group_send(group, numbered(number)))
        for number, group in enumerate(groups):
            for channel in members[group]:
                received = await layers.drain_group(layer, layer, group, channel)
                assert received == [numbered(number)], (
                    f"a member of {group!r} got {received!r}, expected {numbered(number)!r}"
                )

    @layer_test("groups")
    async def test_a_channel_may_be_in_many_groups(self, layers: Layers) -> None:
        layer = layers.make()
        channel = await layer.new_channel()
        for number in range(30):
            await layers.soon(layer.group_add(f"group.{number}", channel))
        for number in range(30):
            await layers.soon(layer.group_send(f"group.{number}", numbered(number)))
        received = await layers.numbers(layer, channel, 30)
        assert sorted(received) == list(range(30)), f"of 30 groups came {received}"

    @layer_test("groups")
    async def test_adding_twice_is_adding_once(self, layers: Layers) -> None:
        layer = layers.make()
        channel = await layers.member(layer, "group")
        await layers.soon(layer.group_add("group", channel))
        await layers.soon(layer.group_send("group", numbered(1)))
        assert await layers.numbers(layer, channel, 1) == [1]
        await layers.soon(layer.group_discard("group", channel))
        await layers.soon(layer.group_send("group", numbered(2)))
        received = await layers.drain_group(layer, layer, "group", channel)
        assert received == [], (
            f"added twice, got 1, removed once, sent 2: expected no more, got {received!r}"
        )

    @layer_test("groups")
    async def test_a_stranger_may_be_removed(self, layers: Layers) -> None:
        layer = layers.make()
        channel, stranger = await layers.member(layer, "group"), await layer.new_channel()
        gone = await layer.new_channel()
        await layers.soon(layer.close_channel(gone))
        for other in (stranger, gone, "specific.0123456789abcdef!9"):
            for group in ("group", "a-group-of-nobody"):
                await layers.soon(layer.group_discard(group, other))
        await layers.soon(layer.group_send("group", numbered(1)))
        assert await layers.numbers(layer, channel, 1) == [1]

    @layer_test("groups")
    async def test_nothing_reaches_a_channel_that_was_removed(self, layers: Layers) -> None:
        layer = layers.make()
        channel, stays = [await layers.member(layer, "group") for _ in range(2)]
        for number in range(3):
            await layers.soon(layer.group_discard("group", channel))
            await layers.soon(layer.group_send("group", numbered(number)))
            assert await layers.numbers(layer, stays, 1) == [number], "one who stays is a member"
            received = await layers.drain_group(layer, layer, "group", channel)
            assert received == [], f"a channel that was removed from the group got {received!r}"
            await layers.receive(layer, stays, 2)  # what drain_group() sent to the group

    @layer_test("groups")
    async def test_leaving_one_group_is_not_leaving_another(self, layers: Layers) -> None:
        layer = layers.make()
        channel = await layers.member(layer, "left")
        await layers.soon(layer.group_add("kept", channel))
        await layers.soon(layer.group_discard("left", channel))
        await layers.soon(layer.group_send("kept", numbered(1)))
        assert await layers.numbers(layer, channel, 1) == [1]

    @layer_test("groups")
    async def test_a_channel_that_is_closed_leaves_its_groups(self, layers: Layers) -> None:
        layer = layers.make()
        gone, stays = [await layers.member(layer, "group") for _ in range(2)]
        await layers.soon(layer.close_channel(gone))
        await layers.soon(layer.group_send("group", numbered(1)))
        await layers.soon(layer.group_add("group", gone))  # it comes too late, and harms nobody
        await layers.soon(layer.group_send("group", numbered(2)))
        assert await layers.numbers(layer, stays, 2) == [1, 2]
        newcomer = await layer.new_channel()
        received = await layers.drain_group(layer, layer, "group", newcomer)
        assert received == [], f"a new channel got messages from before it joined: {received!r}"

    @layer_test("groups")
    async def test_a_group_that_nobody_is_in_takes_messages_and_drops_them(
        self, layers: Layers
    ) -> None:
        layer = layers.make()
        channel = await layer.new_channel()
        for number in range(3):
            await layers.soon(layer.group_send("group", numbered(number)))
            received = await layers.drain_group(layer, layer, "group", channel)
            assert received == [], f"{received!r} was sent while nobody was in the group"
            await layers.soon(layer.group_discard("group", channel))

    @layer_test("groups")
    async def test_a_thousand_who_came_and_went_are_forgotten(self, layers: Layers) -> None:
        layer = layers.make()
        stays, leaves = await layers.member(layer, "lobby"), await layer.new_channel()
        held = [await _held_blocks()]
        for _ in range(4):
            for number in range(_VISITS):
                visitor = await layers.member(layer, "lobby")
                await layers.soon(layer.group_add(f"room.{number % 10}", leaves))
                await layers.soon(layer.group_discard(f"room.{number % 10}", leaves))
                if number % 2:
                    await layers.soon(layer.group_discard("lobby", visitor))
                await layers.soon(layer.close_channel(visitor))
            held.append(await _held_blocks())
        # A layer may hold more now and then, but not a bit more for each who was there.
        grown = [after - before for before, after in pairwise(held)]
        assert min(grown) < _VISITS // 4, (
            f"{_VISITS} channels were opened and closed, four times: each time, {grown} blocks of "
            "memory were not given back"
        )
        for number in range(10):
            await layers.soon(layer.group_send(f"room.{number}", numbered(number)))
            received = await layers.drain_group(layer, layer, f"room.{number}", leaves)
            assert received == [], f"a channel got {received!r} of a group that it had left"
        await layers.soon(layer.group_send("lobby", numbered(1)))
        assert await layers.numbers(layer, stays, 1) == [1]

    @layer_test("groups")
    async def test_members_that_come_and_go_at_once_are_a_set(self, layers: Layers) -> None:
        layer = layers.make(capacity=1000)
        channels = [await layer.new_channel() for _ in range(8)]
        over = False

        async def send_on() -> None:
            for number in range(500):
                if over:
                    break
                await layer.group_send("group", numbered(number))
                await rounds(1)

        async def come_and_go(index: int) -> None:
            for turn in range(20 + index):
                await layer.group_add("group", channels[index])
                await rounds((turn + index) % 3)
                await layer.group_discard("group", channels[index])
                await rounds(turn % 2)
            if index % 2:
                await layer.group_add("group", channels[index])

        sending = asyncio.ensure_future(send_on())
        await layers.soon(asyncio.gather(*map(come_and_go, range(8))), "joining and leaving")
        over = True
        await layers.soon(sending, "what was sent meanwhile")
        await layers.soon(layer.group_send("group", numbered(-1)))
        for index, channel in enumerate(channels):
            received = await layers.drain_group(layer, layer, "group", channel)
            numbers = [message["n"] for message in received]
            is_member = -1 in numbers
            assert is_member == bool(index % 2), (
                f"{channel!r} was {'added' if index % 2 else 'removed'} last, "
                f"and {'is' if is_member else 'is no'} member"
            )
            heard = [number for number in numbers if number >= 0]
            assert heard == sorted(set(heard)), f"{channel!r} got {heard}: in order, each once"


async def _got(layers: Layers, layer: BaseChannelLayer, channel: str, number: int) -> None:
    what = "a message that was sent to the group after group_add had returned"
    received = await layers.soon(layer.receive(channel), what)
    assert received == numbered(number), f"expected {numbered(number)!r}, got {received!r}"


async def _held_blocks() -> int:
    """How many blocks of memory Python has allocated; 0 if it does not count them."""
    await rounds(3)  # The event loop forgets timers that were cancelled.
    gc.collect()
    count = getattr(sys, "getallocatedblocks", None)
    return count() if count is not None else 0
