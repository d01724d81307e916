"""Real processes, and such that end."""

import asyncio

from fast_channels_testing.layers._base import SuiteBase, layer_test
from fast_channels_testing.layers._layers import Layers, numbered
from fast_channels_testing.layers._senders import assert_in_order, send_to_group, senders_of


class AcrossProcessesTier(SuiteBase):
    """A process that comes or goes is no trouble for the others."""

    @layer_test("scale-out", needs="processes")
    async def test_closing_a_layer_ends_its_members_and_disturbs_no_other_process(
        self, layers: Layers
    ) -> None:
        leaving, *others = [layers.make() for _ in range(3)]
        left = await layers.member(leaving, "room")
        members = [(layer, await layers.member(layer, "room")) for layer in others]
        await leaving.close()
        for sender, layer in enumerate(others):
            await layer.group_send("room", numbered(0, sender=sender))
            await layer.send(left, numbered(0))
        for layer, channel in members:
            messages = await layers.receive(layer, channel, 2)
            assert senders_of(messages) == [0, 1]

    @layer_test("scale-out", needs="processes")
    async def test_real_processes_hear_each_other(self, layers: Layers) -> None:
        here = layers.make()
        async with layers.process() as second, layers.process() as third:
            every = [here, second, third]
            members = [(layer, await layers.member(layer, "room")) for layer in every]
            await asyncio.gather(*(send_to_group(every[n], "room", n, 20) for n in range(3)))
            for layer, channel in members:
                assert_in_order(await layers.receive(layer, channel, 60), 3, 20)
                for sender in every:
                    await layers.nothing_waits(sender, layer, channel)

    @layer_test("scale-out", needs="processes")
    async def test_a_process_that_is_killed_disturbs_no_other(self, layers: Layers) -> None:
        here, there = layers.make(), layers.make()
        async with layers.process() as crashing:
            gone = await layers.member(crashing, "room")
            members = [(layer, await layers.member(layer, "room")) for layer in (here, there)]
            await crashing.kill()
            await here.group_send("room", numbered(1))
            await here.send(gone, numbered(2))
            for layer, channel in members:
                assert await layers.numbers(layer, channel, 1) == [1]
