"""Members and senders of Redis layers that count what arrives, and what does not."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final, Protocol

import pytest
from redis_servers._binaries import chosen_names

from fast_channels.exceptions import ChannelClosed, ChannelLayerUnavailable
from fast_channels.layers._mailbox import Mailbox
from fast_channels_redis._layer import RedisLayer
from fast_channels_redis.pubsub import RedisPubSubChannelLayer
from fast_channels_redis.queue import RedisChannelLayer

DEADLINE: Final = 40.0
"""Seconds. Only a test that fails ever waits that long."""

LAYERS: Final[dict[str, type[RedisLayer]]] = {
    "queue": RedisChannelLayer,
    "pubsub": RedisPubSubChannelLayer,
}

both_layers: Final = pytest.mark.parametrize("kind", LAYERS)

on_one_server: Final = pytest.mark.parametrize("redis_binary", chosen_names()[:1], indirect=True)
"""For what takes long, and depends on the client more than on the server."""


class MakeLayer(Protocol):
    def __call__(self, kind: str, *hosts: str, **options: Any) -> RedisLayer: ...


async def layers_of_a_test() -> AsyncIterator[MakeLayer]:
    """Makes layers, closes them in the end, and checks that they leave no task behind."""
    layers: list[RedisLayer] = []

    def make(kind: str, *hosts: str, **options: Any) -> RedisLayer:
        options.setdefault("capacity", 10_000)
        layer = LAYERS[kind](list(hosts), **options)
        layers.append(layer)
        return layer

    yield make
    async with asyncio.timeout(DEADLINE):
        for layer in layers:
            await layer.close()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def eventually(holds: Callable[[], object], what: str) -> None:
    """For what there is no event for."""
    try:
        async with asyncio.timeout(DEADLINE):
            while not holds():  # noqa: ASYNC110  # nothing tells of it
                await asyncio.sleep(0.01)
    except TimeoutError:
        pytest.fail(f"waited {DEADLINE:g} s in vain until {what}")


async def within_deadline(work: Awaitable[Any]) -> Any:
    async with asyncio.timeout(DEADLINE):
        return await work


class GapMailbox(Mailbox):
    """As that of a consumer, which is told of gaps."""

    takes_gaps = True


class Member:
    """A member of a group, and all that it received: ``(sender, number)``, or "gap"."""

    def __init__(self) -> None:
        self.mailbox = GapMailbox()
        self.received: list[tuple[str, int] | str] = []
        self.times: list[float] = []
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def join(self, layer: RedisLayer, *groups: str) -> "Member":
        await layer.open_mailbox(self.mailbox)
        self._task = asyncio.create_task(self._receive())
        for group in groups:
            await layer.group_add(group, self.mailbox.name)
        return self

    @property
    def name(self) -> str:
        return self.mailbox.name

    @property
    def gaps(self) -> int:
        return self.received.count("gap")

    @property
    def numbers(self) -> dict[str, list[int]]:
        """What came from each sender, in order."""
        numbers: defaultdict[str, list[int]] = defaultdict(list)
        for item in self.received:
            if not isinstance(item, str):
                numbers[item[0]].append(item[1])
        return numbers

    async def until(self, holds: Callable[[], object], what: str) -> None:
        try:
            async with asyncio.timeout(DEADLINE):
                while not holds():
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            pytest.fail(f"waited {DEADLINE:g} s in vain until {what}; has {self.received[-10:]}")

    async def has(self, *items: tuple[str, int] | str) -> None:
        """Wait until all of them are there."""
        await self.until(lambda: set(items) <= set(self.received), f"{items} came")

    async def has_any_since(self, numbers: dict[str, int]) -> None:
        """Wait for a message with such a number of its sender, or a later one."""

        def came() -> bool:
            return any(
                number >= numbers[name] for name, own in self.numbers.items() for number in own
            )

        await self.until(came, f"any since {numbers} came")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _receive(self) -> None:
        while True:
            try:
                message = await self.mailbox.receive()
            except ChannelClosed:
                return
            kind = message["type"]
            self.received.append("gap" if kind == "layer.gap" else (kind, message["number"]))
            self.times.append(asyncio.get_running_loop().time())
            self._news.set()


class Sender:
    """Sends numbers to a group, one after the other, and knows which of them were accepted."""

    def __init__(self, layer: RedisLayer, name: str, group: str, pause: float = 0.05) -> None:
        self.name = name
        self.begun = 0
        self.accepted: list[int] = []
        self._layer = layer
        self._group = group
        self._pause = pause
        self._ends = False
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        while not self._ends:
            await self.send()
            await asyncio.sleep(self._pause)

    async def send(self) -> int:
        number, self.begun = self.begun, self.begun + 1
        try:
            await self._layer.group_send(self._group, {"type": self.name, "number": number})
        except ChannelLayerUnavailable:
            pass
        else:
            self.accepted.append(number)
        return number

    async def finish(self) -> None:
        """End in peace, with a last message that was accepted."""
        self._ends = True
        await within_deadline(self._task)
        while await self.send() not in self.accepted[-1:]:
            pass

    def check(self, received: list[int], *, since: int = 0) -> None:
        """In order, none twice, and all that was accepted of those from ``since`` on."""
        assert received == sorted(set(received))
        missing = {number for number in self.accepted if number >= since} - set(received)
        assert not missing, f"{self.name}: {sorted(missing)} of {self.begun} are lost"
