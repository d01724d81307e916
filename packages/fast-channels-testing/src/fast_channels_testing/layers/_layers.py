"""What each test of the suite is given: layers, their broker, and what tests do with them."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar

from fast_channels.layers import BaseChannelLayer
from fast_channels.types import Message

T = TypeVar("T")


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
        """Let it stand still: connections stay open and nothing is answered."""

    def resume(self) -> None:
        """Let it go on."""


class Layers:
    """Makes the layers of one test, and closes them behind it."""

    def __init__(self, make_layer: LayerFactory, broker: Broker | None, deadline: float) -> None:
        self.make_layer = make_layer
        self.deadline = deadline
        """Seconds that a single wait may take. Only a test that fails ever waits that long."""
        self._broker = broker
        self._made: list[BaseChannelLayer] = []

    @property
    def broker(self) -> Broker:
        if self._broker is None:
            raise LookupError("this test disturbs the broker; give it one by a fixture `broker`")
        return self._broker

    def make(self, **options: Any) -> BaseChannelLayer:
        """Another layer on the same broker, as if in another process."""
        layer = self.make_layer(**options)
        self._made.append(layer)
        return layer

    async def soon(self, awaitable: Awaitable[T]) -> T:
        """The result, or ``TimeoutError`` after the deadline."""
        async with asyncio.timeout(self.deadline):
            return await awaitable

    async def receive(self, layer: BaseChannelLayer, channel: str, count: int) -> list[Message]:
        """The next ``count`` messages of a channel."""
        return [await self.soon(layer.receive(channel)) for _ in range(count)]

    async def member(self, layer: BaseChannelLayer, group: str) -> str:
        """A new channel in a group."""
        channel = await self.soon(layer.new_channel())
        await self.soon(layer.group_add(group, channel))
        return channel

    async def nothing_waits(
        self, sender: BaseChannelLayer, layer: BaseChannelLayer, channel: str
    ) -> None:
        """Fail unless a message that is sent now is the next one that the channel gets."""
        await self.soon(sender.send(channel, {"type": "last"}))
        received = await self.soon(layer.receive(channel))
        assert received == {"type": "last"}, f"{channel!r} held a message that nobody expected"

    async def close(self) -> None:
        """Close every layer that was made, last one first."""
        for layer in reversed(self._made):
            await self.soon(layer.close())
