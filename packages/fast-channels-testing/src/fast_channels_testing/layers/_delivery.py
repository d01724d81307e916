"""Who gets a message, and in which order."""

import asyncio

from fast_channels.layers import BaseChannelLayer
from fast_channels_testing.layers._base import SuiteBase, layer_test
from fast_channels_testing.layers._layers import Layers, numbered, rounds


class DeliveryTier(SuiteBase):
    """Who gets a message, and in which order."""

    @layer_test("core")
    async def test_a_channel_gets_what_is_sent_to_it_in_order(self, layers: Layers) -> None:
        layer = layers.make()
        channel = await layer.new_channel()
        for number in range(50):
            await layers.soon(layer.send(channel, numbered(number)))
        assert await layers.numbers(layer, channel, 50) == list(range(50))
        await layers.nothing_waits(layer, layer, channel)

    @layer_test("core")
    async def test_a_receiver_that_waits_gets_the_message(self, layers: Layers) -> None:
        layer = layers.make()
        channel = await layer.new_channel()
        receiver = asyncio.ensure_future(layer.receive(channel))
        await rounds(5)
        await layers.soon(layer.send(channel, numbered(1)))
        assert await layers.soon(receiver, "the message of a waiting receiver") == numbered(1)
        await layers.nothing_waits(layer, layer, channel)

    @layer_test("core")
    async def test_channels_do_not_hear_each_other(self, layers: Layers) -> None:
        layer = layers.make()
        ours, theirs = await layer.new_channel(), await layer.new_channel()
        await layers.soon(layer.send(theirs, numbered(1)))
        await layers.nothing_waits(layer, layer, ours)
        assert await layers.numbers(layer, theirs, 1) == [1]

    @layer_test("core")
    async def test_each_of_several_senders_is_heard_in_order(self, layers: Layers) -> None:
        layer = layers.make()
        channel = await layer.new_channel()

        async def send_some(sender: int) -> None:
            for number in range(15):
                await layer.send(channel, numbered(number, sender=sender))
                await rounds(sender)

        sending = asyncio.gather(*map(send_some, range(5)))
        received = await layers.receive(layer, channel, 75)
        await layers.soon(sending)
        for sender in range(5):
            heard = [message["n"] for message in received if message["sender"] == sender]
            assert heard == list(range(15)), f"of sender {sender} came {heard}, expected 0 to 14"

    @layer_test("core")
    async def test_several_receivers_of_a_channel_take_turns(self, layers: Layers) -> None:
        layer = layers.make()
        await _receivers_take_turns(layers, layer, await layer.new_channel())

    @layer_test("core", needs="general_channels")
    async def test_several_receivers_of_a_general_channel_take_turns(self, layers: Layers) -> None:
        await _receivers_take_turns(layers, layers.make(), "jobs")

    @layer_test("core", needs="general_channels")
    async def test_messages_wait_in_a_general_channel_for_a_receiver_to_come(
        self, layers: Layers
    ) -> None:
        layer = layers.make()
        for number in range(20):
            await layers.soon(layer.send("jobs", numbered(number)))
        assert await layers.numbers(layer, "jobs", 20) == list(range(20))
        await layers.nothing_waits(layer, layer, "jobs")

    @layer_test("core", needs="general_channels")
    async def test_each_message_of_a_general_channel_goes_to_one_receiver(
        self, layers: Layers
    ) -> None:
        layer = layers.make()
        received: list[int] = []
        arrived = asyncio.Event()

        async def work() -> None:
            while (number := (await layer.receive("jobs"))["n"]) >= 0:
                received.append(number)
                arrived.set()
                await rounds(1)

        workers = [asyncio.ensure_future(work()) for _ in range(5)]
        for number in range(80):
            arrived.clear()
            await layers.soon(layer.send("jobs", numbered(number)))
            if number < 20:  # while all of them wait for one message, then in a hurry
                await layers.soon(arrived.wait(), f"any of 5 receivers to get message {number}")
                await rounds(10)
        for _ in workers:
            await layers.soon(layer.send("jobs", numbered(-1)))
        await layers.soon(asyncio.gather(*workers), "each receiver to get one of the last messages")
        assert sorted(received) == list(range(80)), (
            f"0 to 79 were sent, each to one receiver; together they got {sorted(received)}"
        )


async def _receivers_take_turns(layers: Layers, layer: BaseChannelLayer, channel: str) -> None:
    receivers = [asyncio.ensure_future(layer.receive(channel)) for _ in range(8)]
    await rounds(5)
    for number in range(8):
        await layers.soon(layer.send(channel, numbered(number)))
    received = await layers.soon(asyncio.gather(*receivers), "a message for each of 8 receivers")
    numbers = [message["n"] for message in received]
    assert numbers == list(range(8)), (
        f"8 receivers got {numbers}, expected 0 to 7 in the order in which they had called receive"
    )
    await layers.nothing_waits(layer, layer, channel)
