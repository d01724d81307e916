"""Closing a layer, and using it again: nothing hangs, nothing is left."""

import asyncio
import gc
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import pytest

from fast_channels.exceptions import ChannelClosed, ChannelLayerUnavailable, FastChannelsError
from fast_channels.layers import BaseChannelLayer
from fast_channels_testing.layers._base import SuiteBase, layer_test
from fast_channels_testing.layers._layers import Layers, numbered, rounds


class ClosingTier(SuiteBase):
    """Closing gives everything back, and is not the end."""

    @layer_test("life-cycle")
    async def test_a_layer_that_was_never_used_can_be_closed(self, layers: Layers) -> None:
        layer = layers.make()
        for _ in range(2):
            await layers.soon(layer.close())

    @layer_test("life-cycle")
    async def test_closing_twice_or_in_several_tasks_is_closing_once(self, layers: Layers) -> None:
        layer = layers.make()
        for _ in range(3):
            await use(layers, layer)
            await layers.soon(asyncio.gather(*(layer.close() for _ in range(5))), "five closings")
            assert_no_other_task()
            await layers.soon(layer.close())

    @layer_test("life-cycle")
    async def test_a_layer_that_was_closed_can_be_used_again(self, layers: Layers) -> None:
        layer = layers.make()
        names = set[str]()
        for number in range(5):
            channel = await layers.member(layer, "room")
            for name in names:
                await layers.soon(layer.send(name, numbered(-1)))
            await layers.soon(layer.group_send("room", numbered(number)))
            assert await layers.numbers(layer, channel, 1) == [number]
            names.add(channel)
            await layers.soon(layer.close())
        assert len(names) == 5, f"no channel has the name of another, also of one before: {names}"

    @layer_test("life-cycle")
    async def test_closing_closes_the_channels(self, layers: Layers) -> None:
        layer = layers.make()
        channels = [await layers.member(layer, "room") for _ in range(3)]
        await layers.soon(layer.group_send("room", numbered(1)))
        await layers.soon(layer.close())
        for _ in range(2):
            for channel in channels:
                with pytest.raises(ChannelClosed):
                    await layers.soon(layer.receive(channel), "ChannelClosed")
            await layer.new_channel()  # which opens the layer again

    @layer_test("life-cycle")
    async def test_closing_takes_every_channel_out_of_its_groups(self, layers: Layers) -> None:
        layer = layers.make()
        for number in range(3):
            await layers.member(layer, "room")
            await layers.soon(layer.close())
            stranger, witness = await layer.new_channel(), await layers.member(layer, "room")
            await layers.soon(layer.group_send("room", numbered(number)))
            assert await layers.numbers(layer, witness, 1) == [number]
            await layers.nothing_waits(layer, layer, stranger)
            await layers.soon(layer.close())

    @layer_test("life-cycle")
    async def test_who_waits_in_a_channel_is_told_that_it_closed(self, layers: Layers) -> None:
        layer = layers.make()
        for steps in range(5):
            channel = await layer.new_channel()
            waiting = [asyncio.create_task(layer.receive(channel)) for _ in range(3)]
            await rounds(steps)
            await layers.soon(layer.close())
            for each in waiting:
                with pytest.raises(ChannelClosed):
                    await layers.soon(each, "ChannelClosed in a receive during close()")

    @layer_test("life-cycle", needs="general_channels")
    async def test_who_waits_in_a_general_channel_is_let_go(self, layers: Layers) -> None:
        layer = layers.make()
        for steps in range(5):
            await use(layers, layer)
            waiting = [asyncio.create_task(layer.receive("jobs")) for _ in range(3)]
            await rounds(steps + 1)
            await layers.soon(layer.close())
            for each in waiting:
                with pytest.raises((ChannelClosed, ChannelLayerUnavailable)):
                    await layers.soon(each, "an exception in a receive during close()")

    @layer_test("life-cycle")
    async def test_calls_under_way_end_when_the_layer_closes(self, layers: Layers) -> None:
        layer = layers.make()
        for steps in (0, 1, 2, 3, 5, 8, 13):
            channel = await layers.member(layer, "busy")
            calls = [
                layer.new_channel(),
                layer.send(channel, numbered(1)),
                layer.group_send("busy", numbered(2)),
                layer.group_add("other", channel),
                layer.group_discard("busy", channel),
            ]
            tasks = [asyncio.ensure_future(call) for call in calls]
            await rounds(steps)
            await layers.soon(layer.close())
            ended = asyncio.gather(*tasks, return_exceptions=True)
            for outcome in await layers.soon(ended, "the end of all calls during close()"):
                # A call that comes late opens the layer again.
                assert not isinstance(outcome, BaseException) or isinstance(
                    outcome, FastChannelsError
                ), f"a call during close() raised {outcome!r}, expected a FastChannelsError"
            await use(layers, layer)
            await layers.soon(layer.close())
            assert_no_other_task()

    @layer_test("life-cycle")
    async def test_a_cancelled_close_can_be_made_up_for(self, layers: Layers) -> None:
        layer = layers.make()
        for steps in range(10):
            await use(layers, layer)
            closing = asyncio.create_task(layer.close())
            await rounds(steps)
            closing.cancel()
            await layers.soon(asyncio.wait([closing]), "the end of a close() that was cancelled")
            await layers.soon(layer.close())
            assert_no_other_task()

    @layer_test("life-cycle")
    async def test_what_was_closed_is_no_trouble_for_the_garbage_collector(
        self, layers: Layers
    ) -> None:
        faults: list[dict[str, Any]] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, fault: faults.append(fault))
        gc.collect()
        with leaks() as leaked:
            layer = layers.make_layer()
            await use(layers, layer)
            waiting = asyncio.create_task(layer.receive(await layer.new_channel()))
            await rounds(1)
            await layers.soon(layer.close())
            await layers.soon(asyncio.wait([waiting]), "the end of a receive during close()")
            waiting.exception()
            del layer, waiting
            gc.collect()
            await rounds(3)
        loop.set_exception_handler(None)
        assert not faults, f"the event loop was told of {faults}"
        assert not leaked, f"Python warned of {leaked}"

    @layer_test("life-cycle", needs="processes")
    async def test_no_socket_stays_open_when_the_layer_is_closed(self, layers: Layers) -> None:
        async with layers.process() as process:
            before = await process.count_sockets()

            async def all_closed() -> None:
                while await process.count_sockets() > before:
                    pass  # Each question lets the process go on.

            for _ in range(3):
                await use(layers, process)
                await layers.soon(process.close())
                await layers.soon(all_closed(), "every socket to be closed after close()")


@contextmanager
def leaks() -> Generator[list[str]]:
    """What Python warns of when it finds something that nobody has closed or awaited."""
    leaked: list[str] = []
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        yield leaked
    leaked += [
        str(each.message)
        for each in warned
        if issubclass(each.category, ResourceWarning | RuntimeWarning)
    ]


async def use(layers: Layers, layer: BaseChannelLayer, group: str = "room") -> None:
    """Open a channel, join a group, hear something, and leave all that as it is."""
    channel = await layers.member(layer, group)
    await layers.soon(layer.group_send(group, numbered(1)))
    await layers.soon(layer.send(channel, numbered(2)))
    assert sorted(await layers.numbers(layer, channel, 2)) == [1, 2]


def assert_no_other_task() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    assert not others, f"these tasks were left when the layer was closed: {others}"
