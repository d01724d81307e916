"""Members that another process adds to a group, and removes."""

import asyncio
from itertools import count

from fast_channels_testing.layers._base import SuiteBase, layer_test
from fast_channels_testing.layers._layers import Layers, numbered
from fast_channels_testing.layers._senders import senders_of


class AcrossMembersTier(SuiteBase):
    """A process may do for a channel of another one what that may do itself."""

    @layer_test("scale-out", needs=("processes", "remote_members"))
    async def test_a_channel_of_another_process_is_a_member_when_group_add_has_returned(
        self, layers: Layers
    ) -> None:
        every = [layers.make() for _ in range(3)]
        for turn in range(5):
            channel = await every[0].new_channel()
            await every[1].group_add(f"room-{turn}", channel)
            for sender, layer in enumerate(every):
                await layer.group_send(f"room-{turn}", numbered(turn, sender=sender))
            messages = await layers.receive(every[0], channel, 3)
            assert senders_of(messages) == [0, 1, 2]

    @layer_test("scale-out", needs=("processes", "remote_members"))
    async def test_adding_a_channel_from_several_processes_is_adding_it_once(
        self, layers: Layers
    ) -> None:
        here, there = layers.make(), layers.make()
        channel, witness = await here.new_channel(), await layers.member(here, "room")
        await asyncio.gather(*(layer.group_add("room", channel) for layer in (here, there, here)))
        await there.group_send("room", numbered(1))
        assert await layers.numbers(here, channel, 1) == [1]
        await layers.nothing_waits(here, here, channel)
        await here.group_discard("room", channel)
        await there.group_send("room", numbered(2))
        assert await layers.numbers(here, witness, 2) == [1, 2]
        await layers.nothing_waits(here, here, channel)

    @layer_test("scale-out", needs=("processes", "remote_members"))
    async def test_another_process_removes_a_channel(self, layers: Layers) -> None:
        here, there = layers.make(), layers.make()
        channel, witness = [await layers.member(here, "room") for _ in range(2)]
        await there.group_discard("room", channel)

        async def has_left() -> None:
            for n in count():
                await there.group_send("room", numbered(n))
                assert await layers.numbers(here, witness, 1) == [n]
                if numbered(n) not in await layers.drain(here, here, channel):
                    return

        await layers.soon(has_left(), "a channel to leave, as another process asked for")
