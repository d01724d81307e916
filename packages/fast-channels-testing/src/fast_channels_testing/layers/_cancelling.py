"""Receivers that give up, at every moment that there is."""

import asyncio
from statistics import median
from typing import Final

from fast_channels.layers import BaseChannelLayer
from fast_channels.types import Message
from fast_channels_testing.layers._base import SuiteBase, layer_test
from fast_channels_testing.layers._layers import Layers, numbered, rounds

_ROUNDS: Final = 6
"""Rounds of the event loop in which a message that needs no broker has surely arrived."""
_MOMENTS: Final = 40
"""On the way of one message."""


class CancellingTier(SuiteBase):
    """A cancelled ``receive`` loses no message, and repeats none."""

    @layer_test("core")
    async def test_a_receive_cancelled_in_any_round_of_the_loop_loses_nothing(
        self, layers: Layers
    ) -> None:
        layer = layers.make()
        await _cancel_in_every_round(layers, layer, await layer.new_channel())

    @layer_test("core", needs="general_channels")
    async def test_a_general_receive_cancelled_in_any_round_of_the_loop_loses_nothing(
        self, layers: Layers
    ) -> None:
        await _cancel_in_every_round(layers, layers.make(), "jobs")

    @layer_test("core")
    async def test_a_receive_cancelled_while_its_message_travels_loses_nothing(
        self, layers: Layers
    ) -> None:
        layer = layers.make()
        await _cancel_on_the_way(layers, layer, await layer.new_channel())

    @layer_test("core", needs="general_channels")
    async def test_a_general_receive_cancelled_while_its_message_travels_loses_nothing(
        self, layers: Layers
    ) -> None:
        await _cancel_on_the_way(layers, layers.make(), "jobs")

    @layer_test("core")
    async def test_a_receiver_that_gives_up_often_hears_all_in_order(self, layers: Layers) -> None:
        layer = layers.make()
        channel = await layer.new_channel()
        received = await layers.soon(_give_up_often(layer, channel), "all of 60 messages")
        assert received == list(range(60)), (
            f"0 to 59 were sent in order, the channel got {received}"
        )

    @layer_test("core", needs="general_channels")
    async def test_receivers_of_a_general_channel_that_give_up_often_lose_nothing(
        self, layers: Layers
    ) -> None:
        layer = layers.make()
        received = await layers.soon(_give_up_often(layer, "jobs"), "all of 60 messages")
        assert sorted(received) == list(range(60)), f"0 to 59 were sent, there came {received}"

    @layer_test("core")
    async def test_the_message_of_cancelled_receivers_goes_to_the_next(
        self, layers: Layers
    ) -> None:
        layer = layers.make()
        await _inherit(layers, layer, await layer.new_channel())

    @layer_test("core", needs="general_channels")
    async def test_the_general_message_of_cancelled_receivers_goes_to_the_next(
        self, layers: Layers
    ) -> None:
        await _inherit(layers, layers.make(), "jobs")


async def _cancel_in_every_round(layers: Layers, layer: BaseChannelLayer, channel: str) -> None:
    number = 0
    for before in range(3):
        for after in range(_ROUNDS):
            victim = asyncio.ensure_future(layer.receive(channel))
            await rounds(before)
            await layers.soon(layer.send(channel, numbered(number)))
            await rounds(after)
            await _survives(layers, layer, channel, victim, number, f"{after} rounds after send")
            number += 1
    await layers.nothing_waits(layer, layer, channel)


async def _cancel_on_the_way(layers: Layers, layer: BaseChannelLayer, channel: str) -> None:
    loop = asyncio.get_running_loop()
    trips: list[float] = []
    for number in range(5):
        started = loop.time()
        receiver = asyncio.ensure_future(layer.receive(channel))
        await layers.soon(layer.send(channel, numbered(number)))
        await layers.soon(receiver, f"message {number} of {channel!r}")
        trips.append(loop.time() - started)
    # Not how long a trip takes matters, but that the moments are spread all over it.
    step = 1.5 * median(trips) / _MOMENTS
    for number in range(_MOMENTS):
        victim = asyncio.ensure_future(layer.receive(channel))
        sending = asyncio.ensure_future(layer.send(channel, numbered(number)))
        await asyncio.sleep(number * step)
        await _survives(layers, layer, channel, victim, number, f"{number * step:.6f} s on the way")
        await layers.soon(sending)
    await layers.nothing_waits(layer, layer, channel)


async def _survives(
    layers: Layers,
    layer: BaseChannelLayer,
    channel: str,
    victim: asyncio.Future[Message],
    number: int,
    moment: str,
) -> None:
    """Cancel a receiver, and see that its message has come once, to it or to the next one."""
    victim.cancel()
    await layers.soon(asyncio.wait([victim]), "the end of a receive that was cancelled")
    if victim.cancelled():
        what = f"the message of a receive that was cancelled {moment}"
        message = await layers.soon(layer.receive(channel), what)
    else:
        message = victim.result()
    assert message == numbered(number), (
        f"after a receive was cancelled {moment}, expected message {number}, got {message!r}"
    )


async def _give_up_often(layer: BaseChannelLayer, channel: str) -> list[int]:
    received: list[int] = []

    async def send_all() -> None:
        for number in range(60):
            await layer.send(channel, numbered(number))
            await rounds(number % 4)

    sending = asyncio.ensure_future(send_all())
    patience = 0
    while len(received) < 60:
        receiver = asyncio.ensure_future(layer.receive(channel))
        await rounds(patience)
        if patience < _ROUNDS:  # One waits: a broker's message may take longer than that.
            receiver.cancel()
        patience = (patience + 1) % (_ROUNDS + 1)
        await asyncio.wait([receiver])
        if not receiver.cancelled():
            received.append(receiver.result()["n"])
    await sending
    return received


async def _inherit(layers: Layers, layer: BaseChannelLayer, channel: str) -> None:
    for count in (1, 2, 5):
        victims = [asyncio.ensure_future(layer.receive(channel)) for _ in range(count)]
        heir = asyncio.ensure_future(layer.receive(channel))
        await rounds(5)
        await layers.soon(layer.send(channel, numbered(1)))
        for victim in victims:
            victim.cancel()
        await layers.soon(asyncio.wait(victims), "the end of receives that were cancelled")
        if not all(victim.cancelled() for victim in victims):
            await layers.soon(layer.send(channel, numbered(1)))  # the first was quicker
        what = f"the message of {count} receives that were cancelled before it, by the next one"
        assert await layers.soon(heir, what) == numbered(1)
    await layers.nothing_waits(layer, layer, channel)
