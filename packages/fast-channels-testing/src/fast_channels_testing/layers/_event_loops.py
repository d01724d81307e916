"""One layer object in several event loops and threads, in none, and in a fork."""

import asyncio
import gc
import os
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from functools import partial
from typing import Any, Final, TypeVar

import pytest
from asgiref.sync import async_to_sync, sync_to_async

from fast_channels.exceptions import InvalidNameError
from fast_channels.layers import (
    BaseChannelLayer,
    SyncChannelLayer,
    get_sync_channel_layer,
    register_channel_layer,
    unregister_channel_layer,
)
from fast_channels_testing.layers._base import SuiteBase, layer_test
from fast_channels_testing.layers._closing import leaks, use
from fast_channels_testing.layers._layers import Layers, numbered
from fast_channels_testing.layers._process import LayerProcess

T = TypeVar("T")

_ALIAS: Final = "fast_channels_testing.suite"


class EventLoopsTier(SuiteBase):
    """Whoever has the layer may use it."""

    @layer_test("life-cycle", needs="event_loops")
    async def test_loops_in_several_threads_hear_each_other(self, layers: Layers) -> None:
        layer = layers.make()
        meeting = partial(threading.Barrier(3).wait, layers.deadline)
        channels: dict[int, str] = {}

        async def talk(me: int) -> None:
            room = await layers.member(layer, "room")
            channels[me] = await layers.soon(layer.new_channel())
            await in_thread(layers, meeting)
            for n in range(20):
                await layers.soon(layer.group_send("room", numbered(n, sender=me)))
                await layers.soon(layer.send(channels[(me + n) % 3], numbered(n, sender=me)))
            for channel, each in ((room, range(20)), (channels[me], None)):
                messages = await layers.receive(layer, channel, 60 if each else 20)
                for sender in range(3):
                    heard = [message["n"] for message in messages if message["sender"] == sender]
                    expected = each or [n for n in range(20) if (sender + n) % 3 == me]
                    assert heard == list(expected), f"what {me} heard of {sender}, in order"
            await in_thread(layers, meeting)
            await layers.soon(layer.close())

        await asyncio.gather(*(self._in_a_loop(layers, partial(talk, me)) for me in range(3)))

    @layer_test("life-cycle", needs="event_loops")
    async def test_another_loop_sends_to_a_channel_of_this_one(self, layers: Layers) -> None:
        layer = layers.make()
        member, other = await layers.member(layer, "room"), await layer.new_channel()

        async def send() -> None:
            for n in range(10):
                await layers.soon(layer.send(other, numbered(n)))
                await layers.soon(layer.group_send("room", numbered(n)))

        waiting = asyncio.create_task(layers.numbers(layer, other, 10))
        await self._in_a_loop(layers, send)
        assert await waiting == list(range(10))
        assert await layers.numbers(layer, member, 10) == list(range(10))

    @layer_test("life-cycle", needs="event_loops")
    async def test_a_loop_that_ends_without_close_harms_no_other(self, layers: Layers) -> None:
        layer = layers.make()
        channel = await layers.member(layer, "room")

        async def leave_all_open(group: str) -> None:
            await use(layers, layer, group)
            waiting = asyncio.create_task(layer.receive(await layer.new_channel()))
            await asyncio.sleep(0)
            assert not waiting.done()

        with leaks() as leaked:
            for number in range(3):
                left = f"room-{number}"
                await self._in_a_loop(layers, partial(leave_all_open, left))
                gc.collect()
                for group in (left, "room"):
                    await layers.soon(layer.group_send(group, numbered(number)))
                assert await layers.numbers(layer, channel, 1) == [number]
        assert not leaked, f"Python warned of {leaked}"

    def _in_a_loop(
        self, layers: Layers, work: Callable[[], Coroutine[Any, Any, T]]
    ) -> Coroutine[Any, Any, T]:
        """Run in another thread, and a loop of its own there."""

        def run() -> T:
            with asyncio.Runner(loop_factory=self.loop_factory) as runner:
                return runner.run(work())

        return in_thread(layers, run)

    # Code without an event loop.

    @layer_test("life-cycle", needs="sync_calls")
    async def test_blocking_calls_reach_the_channels_of_a_loop(self, layers: Layers) -> None:
        layer = layers.make()
        member, channel = await layers.member(layer, "room"), await layer.new_channel()

        def work() -> None:
            register_channel_layer(_ALIAS, layer)
            try:
                blocking = get_sync_channel_layer(_ALIAS)
                for n in range(20):
                    blocking.group_send("room", numbered(n))
                    blocking.send(channel, numbered(n))
                with pytest.raises(InvalidNameError):
                    blocking.send("no name", numbered(20))
            finally:
                unregister_channel_layer(_ALIAS)

        await in_thread(layers, work)
        for each in (member, channel):
            assert await layers.numbers(layer, each, 20) == list(range(20))
        await end_blocking(layers, layer)

    @layer_test("life-cycle", needs=("sync_calls", "remote_members"))
    async def test_blocking_calls_add_and_remove_members(self, layers: Layers) -> None:
        layer = layers.make()
        channel = await layer.new_channel()
        blocking = SyncChannelLayer(layer)
        for n in range(3):
            await in_thread(layers, partial(blocking.group_add, f"room-{n}", channel))
            await layers.soon(layer.group_send(f"room-{n}", numbered(n)))
            assert await layers.numbers(layer, channel, 1) == [n]
            await in_thread(layers, partial(blocking.group_discard, f"room-{n}", channel))
        await end_blocking(layers, layer)

    @layer_test("life-cycle", needs="sync_calls")
    async def test_blocking_calls_of_several_threads_each_keep_their_order(
        self, layers: Layers
    ) -> None:
        layer = layers.make()
        channel = await layers.member(layer, "room")

        def work(sender: int) -> None:
            for n in range(20):
                SyncChannelLayer(layer).group_send("room", numbered(n, sender=sender))

        await asyncio.gather(*(in_thread(layers, partial(work, me)) for me in range(4)))
        messages = await layers.receive(layer, channel, 80)
        for sender in range(4):
            heard = [message["n"] for message in messages if message["sender"] == sender]
            assert heard == list(range(20)), f"what thread {sender} sent, in order of arrival"
        await end_blocking(layers, layer)

    @layer_test("life-cycle", needs="sync_calls")
    async def test_async_to_sync_sends_from_a_thread_with_no_loop(self, layers: Layers) -> None:
        layer = layers.make()
        channel = await layers.member(layer, "room")

        def work() -> None:
            for n in range(5):
                async_to_sync(layer.group_send)("room", numbered(n))
            with pytest.raises(InvalidNameError):
                async_to_sync(layer.send)("no name", numbered(5))

        await in_thread(layers, work)
        assert await layers.numbers(layer, channel, 5) == list(range(5))
        await end_blocking(layers, layer)

    @layer_test("life-cycle", needs="sync_calls")
    async def test_async_to_sync_sends_from_a_thread_of_this_loop(self, layers: Layers) -> None:
        layer = layers.make()
        channel = await layers.member(layer, "room")

        def work() -> None:
            for n in range(5):
                async_to_sync(layer.group_send)("room", numbered(n))

        await layers.soon(sync_to_async(work, thread_sensitive=False)())
        assert await layers.numbers(layer, channel, 5) == list(range(5))

    # Forks.

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="no process is forked on this system")
    @layer_test("life-cycle", needs=("processes", "fork"))
    async def test_a_fork_uses_the_layer_and_leaves_its_parents_alone(self, layers: Layers) -> None:
        here = layers.make()
        channel = await here.new_channel()
        async with layers.process() as process:
            # At first the layer has not been used there.
            await _fork(layers, process, here, channel)
            member = await layers.member(process, "room")
            for number in range(2):
                await layers.soon(process.group_send("room", numbered(number)))
                await layers.soon(here.send(member, numbered(number)))
                assert await layers.numbers(process, member, 2) == [number] * 2
                await _fork(layers, process, here, channel)
                assert await layers.receive(process, member, 1) == [{"type": "from.fork"}]


async def _fork(
    layers: Layers, process: LayerProcess, here: BaseChannelLayer, channel: str
) -> None:
    await layers.soon(process.fork("room", channel), "the end of a forked process")
    (heard,) = await layers.receive(here, channel, 1)
    assert heard == {"type": "heard.in.fork", "message": {"type": "from.fork"}}


async def in_thread(layers: Layers, work: Callable[[], T]) -> T:
    """Run something in a thread that nobody waits for if it never ends."""
    outcome = Future[T]()

    def run() -> None:
        try:
            outcome.set_result(work())
        except BaseException as error:
            outcome.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return await layers.soon(asyncio.wrap_future(outcome), "the end of a thread")


async def end_blocking(layers: Layers, layer: BaseChannelLayer) -> None:
    """Give back what blocking calls keep open until their process ends."""
    await in_thread(layers, SyncChannelLayer(layer).close)
