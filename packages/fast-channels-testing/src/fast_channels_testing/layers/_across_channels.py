"""Messages to channels of other processes, and general channels that several receive from."""

import asyncio

import pytest

from fast_channels.exceptions import ChannelClosed, ChannelFull
from fast_channels.layers import BaseChannelLayer
from fast_channels_testing.layers._base import SuiteBase, layer_test
from fast_channels_testing.layers._layers import Layers, numbered, rounds
from fast_channels_testing.layers._senders import assert_in_order, senders_of


class AcrossChannelsTier(SuiteBase):
    """What one process sends, another receives."""

    @layer_test("scale-out", needs="processes")
    async def test_any_process_sends_to_a_channel_of_any_other(self, layers: Layers) -> None:
        every = [layers.make() for _ in range(3)]
        channels = [await layer.new_channel() for layer in every]
        assert len(set(channels)) == 3, "channels of different processes have different names"
        for sender, layer in enumerate(every):
            for channel in channels:
                await layer.send(channel, numbered(0, sender=sender))
        for layer, channel in zip(every, channels, strict=True):
            messages = await layers.receive(layer, channel, 3)
            assert senders_of(messages) == [0, 1, 2]
            await layers.nothing_waits(layer, layer, channel)

    @layer_test("scale-out", needs="processes")
    async def test_what_each_process_sends_to_a_channel_arrives_in_order(
        self, layers: Layers
    ) -> None:
        every = [layers.make() for _ in range(3)]
        channel = await every[0].new_channel()

        async def send(sender: int) -> None:
            for n in range(30):
                await every[sender].send(channel, numbered(n, sender=sender))

        await asyncio.gather(*map(send, range(3)))
        assert_in_order(await layers.receive(every[0], channel, 90), 3, 30)

    @layer_test("scale-out", needs="processes")
    async def test_a_message_to_a_channel_that_another_process_has_closed_is_dropped(
        self, layers: Layers
    ) -> None:
        here, there = layers.make(), layers.make()
        closed, other = await there.new_channel(), await there.new_channel()
        await there.close_channel(closed)
        await here.send(closed, numbered(1))
        await here.send(other, numbered(2))
        assert await layers.numbers(there, other, 1) == [2]
        await there.close()
        await here.send(other, numbered(3))
        with pytest.raises(ChannelClosed):
            await layers.soon(there.receive(other), "ChannelClosed")

    @layer_test("scale-out", needs=("processes", "remote_capacity"))
    async def test_a_full_channel_of_another_process_is_an_error(self, layers: Layers) -> None:
        here, there = layers.make(capacity=3), layers.make(capacity=3)
        channel = await here.new_channel()
        sent: list[int] = []

        async def send_too_many() -> None:
            for n in range(100):
                await there.send(channel, numbered(n))
                sent.append(n)

        with pytest.raises(ChannelFull) as caught:
            await send_too_many()
        assert caught.value.channel == channel
        assert sent == [0, 1, 2], "as many as the channel has room for"
        assert await layers.numbers(here, channel, 3) == [0, 1, 2]
        await there.send(channel, numbered(3))
        assert await layers.numbers(here, channel, 1) == [3]

    @layer_test("scale-out", needs=("processes", "general_channels"))
    async def test_a_general_message_goes_to_one_receiver_of_all_processes(
        self, layers: Layers
    ) -> None:
        every = [layers.make() for _ in range(3)]
        received: list[int] = []

        async def receive(layer: BaseChannelLayer) -> None:
            while (message := await layers.soon(layer.receive("jobs"), "a job"))["n"] >= 0:
                received.append(message["n"])
                if len(received) == 60:  # Not earlier: there is no order between senders.
                    for _ in every:
                        await layer.send("jobs", numbered(-1))

        receiving = [asyncio.create_task(receive(layer)) for layer in every]
        for n in range(60):
            await every[n % 3].send("jobs", numbered(n))
        await asyncio.gather(*receiving)
        assert sorted(received) == list(range(60))

    @layer_test("scale-out", needs=("processes", "general_channels"))
    async def test_what_a_receiver_gives_up_another_process_gets(self, layers: Layers) -> None:
        here, there, sender = (layers.make() for _ in range(3))

        async def give_up(steps: int) -> None:
            channel = f"jobs-{steps}"
            await sender.send(channel, numbered(-1))
            assert await layers.numbers(here, channel, 1) == [-1]
            giving_up = asyncio.create_task(here.receive(channel))
            await rounds(steps)
            await sender.send(channel, numbered(steps))
            giving_up.cancel()
            (got,) = await asyncio.gather(giving_up, return_exceptions=True)
            if isinstance(got, asyncio.CancelledError):
                (got,) = await layers.receive(there, channel, 1)
            assert got == numbered(steps)

        # All at once, because a layer may take its time for each.
        await asyncio.gather(*map(give_up, range(10)))

    @layer_test("scale-out", needs=("processes", "general_channels"))
    async def test_what_was_received_before_closing_no_other_process_gets(
        self, layers: Layers
    ) -> None:
        here, there = layers.make(), layers.make()
        await layers.soon(there.send("jobs", numbered(1)))
        assert await layers.numbers(here, "jobs", 1) == [1]
        await layers.soon(here.close())
        await layers.nothing_waits(there, there, "jobs")
