"""What a backend finds ready-made: calls that wait for answers, and its library's own errors."""

import asyncio

import pytest
from tcp_broker import Broker, MakeLayer, TcpConnection, TcpLayer, joined, message, numbers

from fast_channels.exceptions import ChannelLayerUnavailable
from fast_channels.layers import Node, Waiters


class Receivers:
    """Calls that wait under one key, and what they gave back."""

    def __init__(self) -> None:
        self.waiters = Waiters[str, int]()
        self.given_back: list[int] = []

    async def receive(self) -> int:
        with self.waiters.wait("key", self.given_back.append) as value:
            return await value

    async def start(self, count: int) -> list[asyncio.Task[int]]:
        calls = [asyncio.create_task(self.receive()) for _ in range(count)]
        await asyncio.sleep(0)
        return calls


async def test_values_go_to_calls_in_the_order_of_their_waiting() -> None:
    receivers = Receivers()
    calls = await receivers.start(3)
    assert receivers.waiters.count("key") == 3
    assert all(receivers.waiters.give("key", value) for value in range(3))
    assert await asyncio.gather(*calls) == [0, 1, 2]
    assert not receivers.waiters.give("key", 3)
    assert receivers.waiters.count("key") == 0


async def test_a_call_that_is_being_cancelled_gets_no_value() -> None:
    receivers = Receivers()
    first, second = await receivers.start(2)
    first.cancel()  # its future is cancelled now, it itself runs later
    assert receivers.waiters.give("key", 1)
    assert await second == 1
    with pytest.raises(asyncio.CancelledError):
        await first
    assert receivers.given_back == []


async def test_a_call_that_is_cancelled_with_its_value_gives_it_back() -> None:
    receivers = Receivers()
    (call,) = await receivers.start(1)
    assert receivers.waiters.give("key", 1)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert receivers.given_back == [1]


async def test_no_value_is_given_to_calls_that_are_all_cancelled() -> None:
    receivers = Receivers()
    calls = await receivers.start(2)
    for call in calls:
        call.cancel()
    assert not receivers.waiters.give("key", 1)
    await asyncio.wait(calls)
    assert receivers.waiters.count("key") == 0


async def test_calls_that_were_cancelled_wait_no_more() -> None:
    receivers = Receivers()
    first, second = await receivers.start(2)
    first.cancel()
    await asyncio.wait([first])
    assert receivers.waiters.count("key") == 1
    assert receivers.waiters.give("key", 1)
    assert await second == 1


async def test_a_value_that_comes_before_it_is_awaited_is_not_missed() -> None:
    waiters = Waiters[str, int]()
    with waiters.wait("key") as value:
        assert waiters.give("key", 1)
        assert await value == 1


async def test_a_block_that_fails_gives_back_what_came() -> None:
    receivers = Receivers()
    give_back = receivers.given_back.append
    with pytest.raises(OSError, match="not asked"), receivers.waiters.wait("key", give_back):
        receivers.waiters.give("key", 1)
        raise OSError("not asked")
    assert receivers.given_back == [1]
    assert receivers.waiters.count("key") == 0


async def test_a_broken_connection_fails_every_call() -> None:
    receivers = Receivers()
    calls = await receivers.start(2)
    receivers.waiters.fail("it broke")
    for call in calls:
        with pytest.raises(ConnectionError, match="it broke"):
            await call
    (call,) = await receivers.start(1)
    assert receivers.waiters.give("key", 1)
    assert await call == 1


class LibraryError(Exception):
    """No OSError."""


class LibraryConnection(TcpConnection):
    away = (LibraryError,)
    failures = 0

    async def publish(self, group: str, data: bytes) -> None:
        if self.failures:
            self.failures -= 1
            raise LibraryError
        await super().publish(group, data)


class LibraryLayer(TcpLayer):
    def make_connection(self, node: Node) -> LibraryConnection:
        self.connection = LibraryConnection(node, self._port)
        return self.connection


async def test_errors_of_the_library_are_tried_again(broker: Broker) -> None:
    layer = LibraryLayer(broker.port)
    channel = await joined(layer, "room")
    layer.connection.failures = 2
    await layer.group_send("room", message(1))
    assert await numbers(layer, channel, 1) == [1]
    await layer.close()


async def test_errors_of_the_library_end_as_an_error_of_the_layer(broker: Broker) -> None:
    layer = LibraryLayer(broker.port, send_timeout=0.05)
    channel = await joined(layer, "room")
    layer.connection.failures = 1000
    with pytest.raises(ChannelLayerUnavailable, match="within 0.05 s: LibraryError") as raised:
        await layer.group_send("room", message(1))
    assert isinstance(raised.value.__cause__, LibraryError)
    await layer.close_channel(channel)
    await layer.close()


async def test_other_errors_are_not_tried_again(broker: Broker, make_layer: MakeLayer) -> None:
    layer = make_layer()
    await joined(layer, "room")
    calls = 0

    async def publish(group: str, data: bytes) -> None:
        nonlocal calls
        calls += 1
        raise LibraryError

    layer.connections[0].publish = publish  # type: ignore[method-assign]  # of one
    with pytest.raises(LibraryError):
        await layer.group_send("room", message(1))
    assert calls == 1
