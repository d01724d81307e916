"""What each test of the suite is given: layers, their broker, and what tests do with them."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, Protocol, TypeVar

from fast_channels.layers import BaseChannelLayer
from fast_channels.types import Message
from fast_channels_testing.layers._process import LayerProcess, run_process

T = TypeVar("T")

_LAST: Final = "last"
"""The type of the message that ends a test's look at what a channel holds."""
_PASSED: Final = {"type": "passed"}
"""Sent to a group to see what was sent before it pass by."""

LayerFactory = Callable[..., BaseChannelLayer]
"""Makes a layer on the test's broker; each call is as good as another process.

It is called with the options that all layers share (``capacity``, ``expiry``,
``channel_capacity``) and those of the capabilities that are declared, by name. For tests with real
processes it has to be something that :mod:`pickle` takes, such as
``functools.partial(MyLayer, url)``.
"""


class Broker(Protocol):
    """A broker that tests may disturb. Its methods may block: they are called in a thread.

    Whatever a test has done to it, the fixture that made it has to clean up.
    """

    def stop(self) -> None:
        """End it at once, as a crash does; its connections break."""

    def start(self) -> None:
        """Start it again at the same address, with what it had stored durably."""

    def pause(self) -> None:
        """Let it stand still: connections stay open and nothing is answered. Return when it does:
        after ``SIGSTOP``, ``os.waitpid(pid, os.WUNTRACED)`` waits for that."""

    def resume(self) -> None:
        """Let it go on."""


class Layers:
    """Makes the layers of one test, and closes them behind it."""

    def __init__(self, make_layer: LayerFactory, broker: Broker | None, deadline: float) -> None:
        self.make_layer = make_layer
        self.deadline = deadline
        """Seconds that a single wait may take. Only a test that fails ever waits that long."""
        self._broker = broker
        self.made: list[BaseChannelLayer] = []
        """Every layer that was made, in order."""

    @property
    def broker(self) -> Broker:
        """What the fixture ``broker`` gave. Raises :class:`LookupError` without one."""
        if self._broker is None:
            raise LookupError("this test disturbs the broker; give it one by a fixture `broker`")
        return self._broker

    def make(self, **options: Any) -> BaseChannelLayer:
        """Another layer on the same broker, as if in another process."""
        layer = self.make_layer(**options)
        self.made.append(layer)
        return layer

    def process(self, **options: Any) -> AbstractAsyncContextManager[LayerProcess]:
        """Another layer on the same broker, in a process of its own, for the time of a block.

        ``make_layer`` is pickled to make it there. The process closes its layer and ends with
        the block. Raises :class:`TypeError` when ``make_layer`` cannot be pickled.
        """
        return run_process(self.make_layer, options, self.deadline)

    async def soon(self, awaitable: Awaitable[T], what: str = "") -> T:
        """The result, or ``TimeoutError`` after the deadline; ``what`` was waited for."""
        what = what or getattr(awaitable, "__qualname__", repr(awaitable))
        deadline = asyncio.timeout(self.deadline)
        try:
            async with deadline:
                return await awaitable
        except TimeoutError:
            if not deadline.expired():
                raise
            raise TimeoutError(f"waited {self.deadline:g} s in vain for {what}") from None

    async def receive(self, layer: BaseChannelLayer, channel: str, count: int) -> list[Message]:
        """The next ``count`` messages of a channel."""
        received: list[Message] = []
        while len(received) < count:
            what = f"message {len(received) + 1} of {count} to {channel!r}; so far: {received!r}"
            received.append(await self.soon(layer.receive(channel), what))
        return received

    async def numbers(self, layer: BaseChannelLayer, channel: str, count: int) -> list[int]:
        """What the next ``count`` messages have under ``"n"``."""
        return [message["n"] for message in await self.receive(layer, channel, count)]

    async def member(self, layer: BaseChannelLayer, group: str) -> str:
        """A new channel in a group."""
        channel = await self.soon(layer.new_channel())
        await self.soon(layer.group_add(group, channel))
        return channel

    async def drain(
        self, sender: BaseChannelLayer, layer: BaseChannelLayer, channel: str
    ) -> list[Message]:
        """What a channel holds, up to a message that ``sender`` sends to it now.

        That is all that the same ``sender`` has sent to it directly.
        """
        await self.soon(sender.send(channel, {"type": _LAST}))
        return await self._up_to_last(layer, channel)

    async def drain_group(
        self, sender: BaseChannelLayer, layer: BaseChannelLayer, group: str, channel: str
    ) -> list[Message]:
        """What a channel holds, up to a message that ``sender`` sends to the group now.

        That is all of the group that it gets from the same ``sender``, be it a member or not. It
        is one afterwards: only to a group is what was sent to the group certain to come first.
        """
        # What is still on its way may reach one who joins meanwhile.
        witness = await self.member(layer, group)
        await self.soon(sender.group_send(group, _PASSED))
        while await self.receive(layer, witness, 1) != [_PASSED]:
            pass
        await self.soon(layer.close_channel(witness))
        await self.soon(layer.group_add(group, channel))
        await self.soon(sender.group_send(group, {"type": _LAST}))
        received = await self._up_to_last(layer, channel)
        return [message for message in received if message != _PASSED]

    async def _up_to_last(self, layer: BaseChannelLayer, channel: str) -> list[Message]:
        received: list[Message] = []
        while not received or received[-1]["type"] != _LAST:
            what = f"the last message that was sent to {channel!r}; before it came {received!r}"
            received.append(await self.soon(layer.receive(channel), what))
        return received[:-1]

    async def nothing_waits(
        self, sender: BaseChannelLayer, layer: BaseChannelLayer, channel: str
    ) -> None:
        """Fail unless a message that is sent now is the next one that the channel gets."""
        unexpected = await self.drain(sender, layer, channel)
        assert not unexpected, f"{channel!r} held messages that nobody expected: {unexpected!r}"

    async def close(self) -> None:
        """Close every layer that was made, last one first; one that fails keeps no other open."""
        failures: list[Exception] = []
        for layer in reversed(self.made):
            try:
                await self.soon(layer.close())
            except Exception as error:
                failures.append(error)
        if failures:
            raise failures[0]


def numbered(number: int, **values: Any) -> Message:
    """A message that can be told from others."""
    return {"type": "n", "n": number, **values}


async def rounds(count: int) -> None:
    """Let the event loop run a few times, so that others get somewhere."""
    for _ in range(count):
        await asyncio.sleep(0)
