"""Connections that end in every way, at any moment, leave nothing behind.

``nox -s soak`` does the same a hundred thousand times, on all layers.
"""

import asyncio
import logging
import sys
from collections.abc import AsyncIterator, Generator, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, ClassVar

import pytest
from leak_cases import AT_ONCE, CAPACITY, CASES, STAYING, Guest, IsTooSlow
from leak_census import census, only_what_is_new
from leak_matrix import MUST_BE_EMPTY, Matrix
from leak_visits import Case, Cut, Visit, watched_tasks
from tcp_broker import Broker, MakeLayer

from fast_channels.draining import drain
from fast_channels.layers import (
    BaseChannelLayer,
    InMemoryChannelLayer,
    register_channel_layer,
    unregister_channel_layer,
)
from fast_channels.types import Message, Receive, Scope, Send

ENDINGS = 20
"""Of each case at least, and as often as it takes to be cancelled at each of its awaits."""


class PullLayer(BaseChannelLayer):
    """What the contract has and no more, so that consumers have to ask it for each message."""

    def __init__(self) -> None:
        super().__init__(capacity=CAPACITY)
        self._inner = InMemoryChannelLayer(capacity=CAPACITY)

    async def send(self, channel: str, message: Mapping[str, Any]) -> None:
        await self._inner.send(channel, message)

    async def receive(self, channel: str) -> Message:
        return await self._inner.receive(channel)

    async def new_channel(self, prefix: str = "specific") -> str:
        return await self._inner.new_channel(prefix)

    async def close_channel(self, channel: str) -> None:
        await asyncio.sleep(0)
        await self._inner.close_channel(channel)

    async def group_add(self, group: str, channel: str) -> None:
        await asyncio.sleep(0)
        await self._inner.group_add(group, channel)

    async def group_discard(self, group: str, channel: str) -> None:
        await self._inner.group_discard(group, channel)

    async def group_send(self, group: str, message: Mapping[str, Any]) -> None:
        await asyncio.sleep(0)
        await self._inner.group_send(group, message)

    async def flush(self) -> None:
        await self._inner.flush()

    async def close(self) -> None:
        await self._inner.close()


@contextmanager
def as_default(layer: BaseChannelLayer) -> Generator[None]:
    register_channel_layer("default", layer)
    try:
        yield
    finally:
        unregister_channel_layer("default")


@pytest.fixture(autouse=True)
def _quick_census() -> Iterator[None]:
    with only_what_is_new():
        yield


@pytest.fixture
async def watched() -> AsyncIterator[None]:
    with watched_tasks():
        yield


async def check(matrix: Matrix, layer: BaseChannelLayer) -> None:
    with as_default(layer):
        await matrix.warm_up()
        rows = [await matrix.run(way, ENDINGS) for way in matrix.ways]
    assert [row for row in rows if not row.is_clean] == []
    assert all(row.cancelled >= 5 for row in rows[1::2])


@pytest.mark.parametrize("at_once", [1, AT_ONCE])
async def test_nothing_is_left_on_the_in_memory_layer(at_once: int) -> None:
    layer = InMemoryChannelLayer(capacity=CAPACITY)
    await check(Matrix(layer, at_once=at_once), layer)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="asyncio has no eager tasks")
async def test_nothing_is_left_of_eager_tasks() -> None:
    layer = InMemoryChannelLayer(capacity=CAPACITY)
    await check(Matrix(layer, at_once=1, eager=True), layer)


async def test_nothing_is_left_on_a_layer_that_has_to_be_asked() -> None:
    layer = PullLayer()
    # The layer's own queue is what fills, not the mailbox.
    cases = [case for case in CASES if case.consumer is not IsTooSlow]
    await check(Matrix(layer, cases=cases), layer)


async def test_nothing_is_left_on_a_layer_with_a_broker(
    broker: Broker, make_layer: MakeLayer
) -> None:
    layer = make_layer(capacity=CAPACITY, linger=0.01)
    await layer.close_channel(await layer.new_channel())  # what is connected now, stays
    await check(Matrix(layer, broker, at_once=1), layer)


@pytest.mark.parametrize("late", [False, True])
async def test_cancelled_while_the_layer_connects(
    make_layer: MakeLayer, watched: None, late: bool
) -> None:
    """Of the first connection of a process, which has everything to wait for."""
    visit = Visit(CASES[0], Cut(1, late))
    while True:
        layer = make_layer(capacity=CAPACITY)
        with as_default(layer):
            await visit.run()
            await layer.close()
        assert visit.problems == []
        if not visit.cancelled:
            break
        visit = Visit(CASES[0], Cut(visit.awaits + 1, late))


@pytest.mark.parametrize("late", [False, True])
async def test_nothing_is_left_of_a_drain(watched: None, late: bool) -> None:
    """It meets connections at any point, and some of them are cancelled at any other."""
    with as_default(layer := InMemoryChannelLayer(capacity=CAPACITY)):
        cuts = [None, *(Cut(at, late) for at in range(1, 40))]
        visits = [Visit(case, cut) for case in STAYING for cut in cuts]
        running = [asyncio.create_task(visit.run()) for visit in visits]
        for _ in range(5):
            await asyncio.sleep(0)
        report = await drain(timeout=1, jitter=0)
        await asyncio.wait(running)
    assert report.stuck == 0
    assert [visit.problems for visit in visits if visit.problems] == []
    assert sum(visit.begun for visit in visits) >= 40
    visits.clear()
    running.clear()
    left = census(layer)
    assert {name: left[name] for name in MUST_BE_EMPTY if left[name]} == {}


# Whether all this finds anything.


class KeepsATask(Guest):
    """Its task lives for as long as the test, and so does the consumer by it."""

    tasks: ClassVar[list[asyncio.Task[None]]] = []

    async def connect(self) -> None:
        await super().connect()
        self.tasks.append(asyncio.create_task(self.wait()))

    async def wait(self) -> None:
        await asyncio.Event().wait()


class KeepsAChannel(Guest):
    names: ClassVar[list[str]] = []

    async def connect(self) -> None:
        await super().connect()
        self.names.append(await self.channel_layer.new_channel())


class DisconnectsTwice(Guest):
    async def disconnect(self, code: int, /) -> None:
        await super().disconnect(code)
        await super().disconnect(code)


class KeepsItsCancellation(Guest):
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with suppress(asyncio.CancelledError):
            await super().__call__(scope, receive, send)


class Logs(Guest):
    async def connect(self) -> None:
        await super().connect()
        logging.getLogger("asyncio").warning("something is wrong")


@pytest.mark.parametrize(
    ("consumer", "found"),
    [
        (KeepsATask, {"KeepsATask", "Connection", "Task", "running"}),
        (KeepsAChannel, {"LocalTable.channels", "Mailbox"}),
        (DisconnectsTwice, {"2 calls of disconnect()"}),
        (KeepsItsCancellation, {"ended with NoneType, not CancelledError"}),
        (Logs, {"something is wrong"}),
    ],
)
async def test_the_matrix_finds(consumer: type[Guest], found: set[str]) -> None:
    layer = InMemoryChannelLayer(capacity=CAPACITY)
    case = Case("of this test", consumer, CASES[0].steps)
    with as_default(layer):
        matrix = Matrix(layer, cases=[case], patience=0)
        await matrix.warm_up()
        rows = [await matrix.run(way, ENDINGS) for way in matrix.ways]
    for task in KeepsATask.tasks:
        task.cancel()
    KeepsATask.tasks.clear()
    words = " ".join(str(row) for row in rows)
    assert {each for each in found if each not in words} == set()
