"""Groups with members in several processes."""

import asyncio

from fast_channels.layers import BaseChannelLayer
from fast_channels_testing.layers._base import SuiteBase, layer_test
from fast_channels_testing.layers._layers import Layers, numbered
from fast_channels_testing.layers._senders import assert_in_order, send_to_group, senders_of


class AcrossGroupsTier(SuiteBase):
    """Every process sends to the members in all of them."""

    @layer_test("scale-out", needs="processes")
    async def test_a_group_reaches_its_members_in_every_process_once(self, layers: Layers) -> None:
        every = [layers.make() for _ in range(3)]
        members = [(layer, await layers.member(layer, "room")) for layer in (*every[:2], every[0])]
        stranger = await layers.member(every[1], "another")
        # The last of them has no member.
        for sender, layer in enumerate(every):
            await layer.group_send("room", numbered(0, sender=sender))
        for layer, channel in members:
            messages = await layers.receive(layer, channel, 3)
            assert senders_of(messages) == [0, 1, 2]
            await layers.nothing_waits(layer, layer, channel)
        await layers.nothing_waits(every[1], every[1], stranger)

    @layer_test("scale-out", needs="processes")
    async def test_what_each_process_sends_to_a_group_arrives_in_order(
        self, layers: Layers
    ) -> None:
        every = [layers.make() for _ in range(3)]
        members = [(layer, await layers.member(layer, "room")) for layer in every]
        await asyncio.gather(*(send_to_group(every[n], "room", n, 30) for n in range(3)))
        for layer, channel in members:
            assert_in_order(await layers.receive(layer, channel, 90), 3, 30)

    @layer_test("scale-out", needs=("processes", "total_order"))
    async def test_members_in_all_processes_see_one_order(self, layers: Layers) -> None:
        every = [layers.make() for _ in range(3)]
        members = [(layer, await layers.member(layer, "room")) for layer in every]
        await asyncio.gather(*(send_to_group(every[n], "room", n, 30) for n in range(3)))
        first, *others = [await layers.receive(layer, channel, 90) for layer, channel in members]
        for other in others:
            assert other == first

    @layer_test("scale-out", needs="processes")
    async def test_every_process_reaches_a_member_when_group_add_has_returned(
        self, layers: Layers
    ) -> None:
        every = [layers.make() for _ in range(3)]
        here = every[0]
        for turn in range(30):
            # A group that is new, or one that its last member has just left.
            group = f"room-{turn}" if turn % 3 == 0 else "room"
            channel = await layers.member(here, group)
            await asyncio.gather(
                *(every[n].group_send(group, numbered(turn, sender=n)) for n in range(3))
            )
            senders = set[int]()
            while len(senders) < 3:
                (message,) = await layers.receive(here, channel, 1)
                if message["n"] == turn:
                    senders.add(message["sender"])
            if turn % 2:
                await here.group_discard(group, channel)
            await here.close_channel(channel)

    @layer_test("scale-out", needs="processes")
    async def test_group_add_does_not_return_early_for_those_who_join_at_once(
        self, layers: Layers
    ) -> None:
        here, there = layers.make(), layers.make()

        async def join(n: int, group: str) -> None:
            channel = await layers.member(here, group)
            await there.group_send(group, numbered(n))
            while await layers.numbers(here, channel, 1) != [n]:
                pass  # Others came earlier.

        for turn in range(5):
            await asyncio.gather(*(join(n, f"room-{turn}") for n in range(10)))

    @layer_test("scale-out", needs="processes")
    async def test_a_channel_that_has_left_gets_nothing_from_other_processes(
        self, layers: Layers
    ) -> None:
        here, there = layers.make(), layers.make()
        stays, leaves = await layers.member(here, "room"), await layers.member(here, "room")
        await there.group_send("room", numbered(1))
        for channel in (stays, leaves):
            assert await layers.numbers(here, channel, 1) == [1]
        await here.group_discard("room", leaves)
        await there.group_send("room", numbered(2))
        assert await layers.numbers(here, stays, 1) == [2]
        await layers.nothing_waits(here, here, leaves)

    @layer_test("scale-out", needs="processes")
    async def test_a_full_member_hinders_none_in_any_process(self, layers: Layers) -> None:
        here, there = layers.make(), layers.make(channel_capacity={"small.*": 2})
        full = await there.new_channel("small")
        await there.group_add("room", full)
        members = [(layer, await layers.member(layer, "room")) for layer in (here, there)]
        await send_to_group(here, "room", 0, 5)
        for layer, channel in members:
            assert await layers.numbers(layer, channel, 5) == list(range(5))
        assert await layers.numbers(there, full, 2) == [0, 1]
        await layers.nothing_waits(there, there, full)

    @layer_test("scale-out", needs="processes")
    async def test_many_channels_in_many_groups_get_what_is_theirs(self, layers: Layers) -> None:
        every = [layers.make() for _ in range(3)]
        groups = {n: f"group-{n}" for n in range(20)}
        members: list[tuple[BaseChannelLayer, str, list[int]]] = []
        for layer in every:
            for turn in range(10):
                channel, mine = await layer.new_channel(), [n for n in groups if (n + turn) % 4]
                await asyncio.gather(*(layer.group_add(groups[n], channel) for n in mine))
                members.append((layer, channel, mine))
        for sender, layer in enumerate(every):
            await asyncio.gather(
                *(layer.group_send(name, numbered(n, sender=sender)) for n, name in groups.items())
            )
        for layer, channel, mine in members:
            messages = await layers.receive(layer, channel, 3 * len(mine))
            heard = sorted((message["n"], message["sender"]) for message in messages)
            assert heard == [(n, sender) for n in mine for sender in range(3)]
            await layers.nothing_waits(layer, layer, channel)
