"""A broker that stops, pauses and comes back."""

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TypeVar

import pytest

from fast_channels.exceptions import ChannelClosed, ChannelLayerUnavailable
from fast_channels.layers import BaseChannelLayer
from fast_channels_testing.layers._base import SuiteBase, layer_test
from fast_channels_testing.layers._capabilities import Supported
from fast_channels_testing.layers._layers import Layers
from fast_channels_testing.layers._listener import GAP, Listener, listening

T = TypeVar("T")

_IMPATIENT = 0.5
"""Seconds, for ``send_timeout`` and ``claim_timeout``."""
_PATIENCE = 1.0
"""Seconds until a message that may have been lost is sent once more."""


class DurabilityTier(SuiteBase):
    """A broker that stops, pauses and comes back.

    The clients of a broker notice at different times that it is back. So what a test sends then
    may be lost, where a layer does not promise otherwise, but not without a gap.
    """

    @layer_test("durability", needs="broker_restart")
    async def test_after_a_restart_everything_goes_on_by_itself(self, layers: Layers) -> None:
        here, there = layers.make(), layers.make()
        channel = await layers.member(here, "room")
        async with listening(here, "room") as one, listening(there, "room") as other:
            await _restart(layers)
            await self._is_back(layers, there, one)
            await self._is_back(layers, here, other)
            await _until_accepted(layers, lambda: there.send(channel, {"type": "direct"}))
            await _receive_until(layers, here, channel, "direct")
            newcomer = await layers.member(here, "lounge")
            await layers.soon(there.group_send("lounge", {"type": "new"}))
            assert await layers.receive(here, newcomer, 1) == [{"type": "new"}]

    @layer_test("durability", needs="broker_restart")
    async def test_consumers_hear_of_each_restart_once(self, layers: Layers) -> None:
        here, there = layers.make(), layers.make()
        async with listening(here, "room") as listener:
            for restarts in (1, 2):
                await _restart(layers)
                await self._is_back(layers, there, listener, gaps=restarts)
                self._check(listener, [], restarts=restarts)

    @layer_test("durability", needs="broker_restart")
    async def test_what_is_called_around_a_restart_is_done_once_or_raises(
        self, layers: Layers
    ) -> None:
        here, there = layers.make(), layers.make()
        async with listening(here, "room") as listener:
            before = await _send(there, range(20))
            await _do(layers.broker.stop)
            sending = asyncio.ensure_future(_send_at_once(there, range(20, 40)))
            joining = asyncio.ensure_future(layers.member(here, "lounge"))
            await _do(layers.broker.start)
            meanwhile = await layers.soon(sending)
            await self._is_back(layers, there, listener)
            self._check(listener, before + meanwhile, restarts=1)
            try:
                newcomer = await joining
            except ChannelLayerUnavailable:
                return
            await _until_accepted(layers, lambda: there.group_send("lounge", {"type": "new"}))
            assert await layers.receive(here, newcomer, 1) == [{"type": "new"}]

    @layer_test("durability", needs="broker_restart")
    async def test_what_is_called_while_the_broker_is_away_is_given_up_in_time(
        self, layers: Layers
    ) -> None:
        here, there = layers.make(send_timeout=_IMPATIENT), layers.make(send_timeout=_IMPATIENT)
        channel = await _until_accepted(layers, lambda: layers.member(here, "room"))
        await _until_accepted(layers, lambda: there.group_send("room", {"type": "first"}))
        assert await layers.receive(here, channel, 1) == [{"type": "first"}]
        await _do(layers.broker.stop)
        late = layers.make(send_timeout=_IMPATIENT)
        calls = {
            "group_send": there.group_send("room", {"type": "n"}),
            "send": there.send(channel, {"type": "n"}),
            "group_add": here.group_add("lounge", channel),
            "group_send of a layer that never had the broker": late.group_send(
                "room", {"type": "n"}
            ),
        }
        outcomes = await layers.soon(asyncio.gather(*calls.values(), return_exceptions=True))
        for call, outcome in zip(calls, outcomes, strict=True):
            with pytest.raises(ChannelLayerUnavailable):
                raise outcome or AssertionError(f"{call} returned while the broker was away")
        await _do(layers.broker.start)
        await _until_accepted(layers, lambda: there.send(channel, {"type": "direct"}))
        await _until_accepted(layers, lambda: here.group_add("lounge", channel))
        await _until_accepted(layers, lambda: late.group_send("lounge", {"type": "last"}))
        await _receive_until(layers, here, channel, "last")

    @layer_test("durability", needs="broker_restart")
    async def test_a_receive_waits_for_the_broker(self, layers: Layers) -> None:
        here, there = layers.make(send_timeout=_IMPATIENT), layers.make()
        channel = await _until_accepted(layers, here.new_channel)
        async with listening(here, "room") as listener:
            receiving = asyncio.ensure_future(here.receive(channel))
            await _restart_late(layers, here)
            await self._is_back(layers, there, listener)
            assert not receiving.done(), "receive() must wait while the broker is away"
            await _until_accepted(layers, lambda: there.send(channel, {"type": "patience"}))
            assert await layers.soon(receiving, "what was sent") == {"type": "patience"}

    @layer_test("durability", needs="broker_restart")
    async def test_a_layer_may_be_closed_while_the_broker_is_away(self, layers: Layers) -> None:
        await _close_and_reopen(layers, layers.broker.stop, layers.broker.start)

    @layer_test("durability", needs="broker_pause")
    async def test_a_layer_may_be_closed_while_the_broker_pauses(self, layers: Layers) -> None:
        await _close_and_reopen(layers, layers.broker.pause, layers.broker.resume)

    @layer_test("durability", needs="broker_pause")
    async def test_what_is_sent_into_a_pause_arrives_once(self, layers: Layers) -> None:
        here, there = layers.make(), layers.make()
        async with listening(here, "room") as listener:
            before = await _send(there, range(20))
            await _do(layers.broker.pause)
            sending = asyncio.ensure_future(_send_at_once(there, range(20, 40)))
            await asyncio.wait([sending], timeout=0.1)
            await _do(layers.broker.resume)
            accepted = before + await layers.soon(sending)
            await _reach(layers, there, listener)
            self._check(listener, accepted, restarts=1)

    @layer_test("durability", needs="broker_pause")
    async def test_what_is_given_up_in_a_pause_does_no_harm(self, layers: Layers) -> None:
        here, there = layers.make(), layers.make(send_timeout=_IMPATIENT)
        await _until_accepted(layers, there.new_channel)
        async with listening(here, "room") as listener:
            await _do(layers.broker.pause)
            with pytest.raises(ChannelLayerUnavailable):
                await layers.soon(there.group_send("room", {"type": "n", "n": 0}))
            await _do(layers.broker.resume)
            await _reach(layers, there, listener)
            accepted = await _send(there, range(1, 20))
            await _reach(layers, there, listener)
            self._check(listener, accepted, restarts=1)

    @layer_test("durability", needs="keeps_general_messages")
    async def test_what_waits_in_a_general_channel_outlives_a_restart(self, layers: Layers) -> None:
        sender = layers.make()
        for number in range(10):
            await layers.soon(sender.send("jobs", {"type": "n", "n": number}))
        await layers.soon(sender.close())
        await _restart(layers)
        receiver = layers.make()
        messages = await layers.receive(receiver, "jobs", 10)
        assert [message["n"] for message in messages] == list(range(10))
        await layers.nothing_waits(receiver, receiver, "jobs")

    @layer_test("durability", needs="keeps_general_messages")
    async def test_a_receiver_of_a_general_channel_waits_for_the_broker(
        self, layers: Layers
    ) -> None:
        receiver, sender = layers.make(send_timeout=_IMPATIENT), layers.make()
        await layers.soon(sender.send("jobs", {"type": "first"}))
        assert await layers.receive(receiver, "jobs", 1) == [{"type": "first"}]
        receiving = asyncio.ensure_future(receiver.receive("jobs"))
        await _restart_late(layers, receiver)
        await _until_accepted(layers, lambda: sender.send("jobs", {"type": "job"}))
        assert await layers.soon(receiving, "what was sent") == {"type": "job"}

    @layer_test("durability", needs="keeps_group_messages")
    async def test_what_was_accepted_for_a_process_that_is_cut_off_arrives(
        self, layers: Layers
    ) -> None:
        sender = layers.make()
        joined, goes_on = threading.Event(), threading.Event()

        async def process() -> list[int]:
            layer = layers.make_layer()
            try:
                channel = await layers.member(layer, "room")
                joined.set()
                # Blocks the event loop, as a busy process does: nothing is read meanwhile.
                goes_on.wait(layers.deadline)
                return [message["n"] for message in await layers.receive(layer, channel, 50)]
            finally:
                await layer.close()

        def run() -> list[int]:
            with asyncio.Runner(loop_factory=self.loop_factory) as runner:
                return runner.run(process())

        running = asyncio.ensure_future(asyncio.to_thread(run))
        try:
            assert await asyncio.to_thread(joined.wait, layers.deadline), "it did not join"
            for number in range(50):
                await layers.soon(sender.group_send("room", {"type": "n", "n": number}))
            await _restart(layers)
        finally:
            goes_on.set()
        assert await layers.soon(running) == list(range(50)), (
            "expected each message once, and in order"
        )

    @layer_test("durability", needs=("redelivery", "general_channels"))
    async def test_what_a_killed_process_had_taken_is_given_to_another(
        self, layers: Layers
    ) -> None:
        if sys.platform == "win32":
            pytest.skip("no process can be stopped there")
        other = layers.make(claim_timeout=_IMPATIENT)
        await layers.soon(other.send("jobs", {"type": "first"}))
        async with layers.process(claim_timeout=_IMPATIENT) as process:
            assert await layers.receive(process, "jobs", 1) == [{"type": "first"}]
            receiving = asyncio.ensure_future(process.receive("jobs"))
            # Goes to the broker and back, so that the one before it is there, too.
            await layers.soon(process.send("errands", {"type": "errand"}))
            assert await layers.receive(process, "errands", 1) == [{"type": "errand"}]
            # It can be given a message now, and can hand on none.
            os.kill(process.pid, signal.SIGSTOP)
            await layers.soon(other.send("jobs", {"type": "job"}))
            await layers.soon(process.kill())
            await asyncio.gather(receiving, return_exceptions=True)
            assert await layers.receive(other, "jobs", 1) == [{"type": "job"}]

    @property
    def _loses_nothing(self) -> bool:
        return isinstance(self.capabilities.keeps_group_messages, Supported)

    async def _is_back(
        self, layers: Layers, sender: BaseChannelLayer, listener: Listener, *, gaps: int = 1
    ) -> None:
        """Return when messages reach the listener again."""
        if not self._loses_nothing:
            try:
                await layers.soon(listener.until(GAP, gaps))
            except TimeoutError:
                pytest.fail(
                    f"a consumer heard of {listener.count(GAP)} gaps after {gaps} restarts. When "
                    "its connection is back, a layer that may have missed messages calls "
                    "node.gap(); one that misses none declares keeps_group_messages=SUPPORTED"
                )
        await _reach(layers, sender, listener)

    def _check(self, listener: Listener, accepted: Sequence[int], *, restarts: int) -> None:
        numbers = [event["n"] for event in listener.heard if event["type"] == "n"]
        twice = {number for number in numbers if numbers.count(number) > 1}
        assert not twice, f"these messages came more than once: {sorted(twice)}"
        gaps, lost = listener.count(GAP), sorted(set(accepted).difference(numbers))
        assert gaps <= restarts, f"a consumer heard of {gaps} gaps, expected {restarts} at most"
        assert gaps or not lost, f"accepted, and neither arrived nor told as a gap: {lost}"
        assert not (lost and self._loses_nothing), f"accepted, but never arrived: {lost}"


async def _do(to_the_broker: Callable[[], None]) -> None:
    await asyncio.to_thread(to_the_broker)


async def _restart(layers: Layers) -> None:
    await _do(layers.broker.stop)
    await _do(layers.broker.start)


async def _restart_late(layers: Layers, layer: BaseChannelLayer) -> None:
    """Restart the broker when it was away for longer than the layer's calls try to reach it."""
    await _do(layers.broker.stop)
    for _ in range(2):  # the first may raise as soon as the connection is found to be broken
        with pytest.raises(ChannelLayerUnavailable):
            await layers.soon(layer.group_send("room", {"type": "n"}))
    await _do(layers.broker.start)


async def _send(layer: BaseChannelLayer, numbers: Iterable[int]) -> list[int]:
    """Send numbers to the group, one after the other; those that were accepted."""
    accepted: list[int] = []
    for number in numbers:
        try:
            await layer.group_send("room", {"type": "n", "n": number})
        except ChannelLayerUnavailable:
            continue
        accepted.append(number)
    return accepted


async def _send_at_once(layer: BaseChannelLayer, numbers: Iterable[int]) -> list[int]:
    outcomes = await asyncio.gather(*(_send(layer, [number]) for number in numbers))
    return [number for accepted in outcomes for number in accepted]


async def _until_accepted(layers: Layers, call: Callable[[], Awaitable[T]]) -> T:
    """Make a call again while it raises: because the layer has only now lost its connection, or is
    impatient on a slow machine."""
    async with asyncio.timeout(layers.deadline):
        while True:
            try:
                return await call()
            except ChannelLayerUnavailable:
                await asyncio.sleep(0.05)


async def _reach(layers: Layers, sender: BaseChannelLayer, listener: Listener) -> None:
    """Send to the group until a message arrives, behind all that was sent before."""
    have = listener.count("last")
    async with asyncio.timeout(layers.deadline):
        while listener.count("last") == have:
            await _until_accepted(layers, lambda: sender.group_send("room", {"type": "last"}))
            try:
                async with asyncio.timeout(_PATIENCE):
                    await listener.until("last", have + 1)
            except TimeoutError:
                continue


async def _receive_until(
    layers: Layers, layer: BaseChannelLayer, channel: str, message_type: str
) -> None:
    while (await layers.soon(layer.receive(channel)))["type"] != message_type:
        pass


async def _close_and_reopen(
    layers: Layers, disturb: Callable[[], None], mend: Callable[[], None]
) -> None:
    layer, other = layers.make(), layers.make()
    channel = await layers.member(layer, "room")
    await layers.soon(layer.group_send("room", {"type": "first"}))
    assert await layers.receive(layer, channel, 1) == [{"type": "first"}]
    await _do(disturb)
    receiving = asyncio.ensure_future(layer.receive(channel))
    sending = asyncio.ensure_future(layer.group_send("room", {"type": "n"}))
    await asyncio.wait([receiving, sending], timeout=0.05)
    await layers.soon(layer.close())
    with pytest.raises(ChannelClosed):
        await layers.soon(receiving)
    try:
        await layers.soon(sending)
    except ChannelLayerUnavailable:
        pass  # Or it was accepted in the last moment.
    await _do(mend)
    async with listening(layer, "room") as listener:
        await _reach(layers, other, listener)
