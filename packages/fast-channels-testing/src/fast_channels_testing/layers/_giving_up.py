"""Calls that are cancelled, at every moment that there is, leave the layer consistent."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final

from fast_channels.layers import BaseChannelLayer
from fast_channels_testing.layers._base import SuiteBase, layer_test
from fast_channels_testing.layers._closing import use
from fast_channels_testing.layers._layers import Layers, numbered, rounds

_MOMENTS: Final = (0, 1, 2, 3, 5, 8, 13, 21)
"""Rounds of the event loop before a call is cancelled."""


class GivingUpTier(SuiteBase):
    """Who gives up a call leaves everything as if it had been made, or had not."""

    @layer_test("life-cycle")
    async def test_a_cancelled_send_was_sent_once_or_was_not(self, layers: Layers) -> None:
        layer = layers.make()
        channel = await layer.new_channel()
        await _sent_or_not(layers, lambda n: layer.send(channel, numbered(n)), layer, channel)

    @layer_test("life-cycle", needs="general_channels")
    async def test_a_cancelled_send_to_a_general_channel_was_sent_once_or_was_not(
        self, layers: Layers
    ) -> None:
        layer = layers.make()
        await _sent_or_not(layers, lambda n: layer.send("jobs", numbered(n)), layer, "jobs")

    @layer_test("life-cycle", needs="processes")
    async def test_a_cancelled_send_to_another_process_was_sent_once_or_was_not(
        self, layers: Layers
    ) -> None:
        here, there = layers.make(), layers.make()
        channel = await there.new_channel()
        await _sent_or_not(layers, lambda n: here.send(channel, numbered(n)), there, channel)

    @layer_test("life-cycle")
    async def test_a_cancelled_group_send_reached_all_members_once_or_none(
        self, layers: Layers
    ) -> None:
        layer = layers.make()
        members = [await layers.member(layer, "room") for _ in range(3)]
        sure = await _give_up_all(layers, lambda n: layer.group_send("room", numbered(n)))
        first, *others = [await _up_to_end(layers, layer, channel, sure) for channel in members]
        for other in others:
            assert other == first, "what one member and another got of the cancelled ones"

    @layer_test("life-cycle")
    async def test_a_cancelled_group_add_can_be_made_up_for(self, layers: Layers) -> None:
        layer = layers.make()
        for steps in _MOMENTS:
            group = f"room-{steps}"
            channel, witness = await layer.new_channel(), await layer.new_channel()
            await _cancel(layers, layer.group_add(group, channel), steps)
            await layers.soon(layer.group_add(group, channel))
            await layers.soon(layer.group_add(group, witness))
            await layers.soon(layer.group_send(group, numbered(1)))
            for member in (channel, witness):
                received = await layers.numbers(layer, member, 1)
                assert received == [1], f"cancelled after {steps} rounds, then added: {received}"
            await layers.soon(layer.group_discard(group, channel))
            await layers.soon(layer.group_send(group, numbered(2)))
            assert await layers.numbers(layer, witness, 1) == [2]
            await layers.nothing_waits(layer, layer, channel)

    @layer_test("life-cycle")
    async def test_a_cancelled_group_add_leaves_others_joined(self, layers: Layers) -> None:
        layer = layers.make()
        for steps in _MOMENTS:
            group = f"room-{steps}"
            quitter, other = await layer.new_channel(), await layer.new_channel()
            giving_up = asyncio.create_task(layer.group_add(group, quitter))
            joining = asyncio.create_task(layer.group_add(group, other))
            await rounds(steps)
            giving_up.cancel()
            await layers.soon(joining, "group_add to return, beside another that was cancelled")
            await layers.soon(asyncio.wait([giving_up]), "a cancelled group_add to end")
            await layers.soon(layer.close_channel(quitter))
            await layers.soon(layer.group_send(group, numbered(steps)))
            assert await layers.numbers(layer, other, 1) == [steps]

    @layer_test("life-cycle")
    async def test_a_cancelled_group_discard_can_be_made_up_for(self, layers: Layers) -> None:
        layer = layers.make()
        witness = await layers.member(layer, "room")
        for steps in _MOMENTS:
            channel = await layers.member(layer, "room")
            await _cancel(layers, layer.group_discard("room", channel), steps)
            await layers.soon(layer.group_discard("room", channel))
            await layers.soon(layer.group_send("room", numbered(steps)))
            assert await layers.numbers(layer, witness, 1) == [steps]
            await layers.nothing_waits(layer, layer, channel)

    @layer_test("life-cycle")
    async def test_a_first_call_that_is_cancelled_does_not_spoil_the_next(
        self, layers: Layers
    ) -> None:
        """For example while the layer connects to its broker."""
        calls: list[Callable[[BaseChannelLayer], Coroutine[Any, Any, object]]] = [
            lambda layer: layer.new_channel(),
            lambda layer: layer.group_send("another-room", numbered(0)),
        ]
        for call in calls:
            for steps in _MOMENTS:
                layer = layers.make()
                await _cancel(layers, call(layer), steps)
                await use(layers, layer)
                await layers.soon(layer.close())

    @layer_test("life-cycle")
    async def test_others_who_wait_for_the_same_do_not_notice_who_gives_up(
        self, layers: Layers
    ) -> None:
        for steps in _MOMENTS:
            layer = layers.make()
            opening = [asyncio.create_task(layer.new_channel()) for _ in range(3)]
            await rounds(steps)
            opening[0].cancel()
            names = await layers.soon(asyncio.gather(*opening[1:]), "two new channels")
            assert len(set(names)) == 2
            await use(layers, layer)
            await layers.soon(layer.close())


async def _cancel(layers: Layers, call: Coroutine[Any, Any, object], steps: int) -> bool:
    """Cancel a call after so many rounds of the event loop; whether it had returned before."""
    task = asyncio.ensure_future(call)
    await rounds(steps)
    task.cancel()
    await layers.soon(asyncio.wait([task]), f"the end of {call} that was cancelled")
    if task.cancelled():
        return False
    task.result()
    return True


async def _sent_or_not(
    layers: Layers,
    send: Callable[[int], Coroutine[Any, Any, None]],
    receiver: BaseChannelLayer,
    channel: str,
) -> None:
    await _up_to_end(layers, receiver, channel, await _give_up_all(layers, send))


async def _give_up_all(
    layers: Layers, send: Callable[[int], Coroutine[Any, Any, None]]
) -> list[int]:
    """Send ascending numbers, each cancelled a bit later than the one before, and -1 in the end;
    which of them had returned."""
    sure = [n for n in _MOMENTS if await _cancel(layers, send(n), n)]
    await layers.soon(send(-1))
    return sure


async def _up_to_end(
    layers: Layers, layer: BaseChannelLayer, channel: str, sure: list[int]
) -> list[int]:
    received: list[int] = []
    while received[-1:] != [-1]:
        received += await layers.numbers(layer, channel, 1)
    received.pop()
    assert received == sorted(set(received)), (
        f"{_MOMENTS} were sent in this order, some of them cancelled; there came {received}"
    )
    missing = set(sure) - set(received)
    assert not missing, f"these sends had returned before they were cancelled: {missing}"
    return received
