"""Signals that a drain holds back from the server, whichever way the server asked for them."""

import asyncio
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import TYPE_CHECKING, Any

import pytest

from fast_channels.consumer import AsyncWebsocketConsumer
from fast_channels.draining import draining, is_ready

if TYPE_CHECKING:
    from conftest import Serve

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="loops have no handlers there")

DEADLINE = 20


class Server:
    """Notes the signals that get to it."""

    def __init__(self) -> None:
        self.got: list[int] = []
        self.news = asyncio.Event()

    def note(self, number: int, frame: FrameType | None = None) -> None:
        self.got.append(number)
        self.news.set()

    async def gets(self) -> list[int]:
        async with asyncio.timeout(DEADLINE):
            await self.news.wait()
        return self.got


def by_module(server: Server) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, server.note)


def by_loop(server: Server) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, server.note, number)


Install = Callable[[Server], None]
both_ways = pytest.mark.parametrize("install", [by_module, by_loop])


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


class Busy(AsyncWebsocketConsumer):
    def __init__(self, go_on: asyncio.Event) -> None:
        self.go_on = go_on

    async def on_drain(self, retry_after: float, /) -> None:
        await self.send("bye")
        await self.go_on.wait()


def kill(number: int) -> None:
    os.kill(os.getpid(), number)


@both_ways
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_server_gets_the_signal_after_the_drain(
    serve: "Serve", install: Install, number: int
) -> None:
    server, go_on = Server(), asyncio.Event()
    install(server)
    async with draining():
        client = await serve.open(Busy.as_asgi(go_on=go_on))
        kill(number)
        assert (await client.next())["text"] == "bye"
        assert server.got == []
        assert not is_ready()
        go_on.set()
        await client.ended()
        assert await server.gets() == [number]
        # From here on they are the server's.
        server.news.clear()
        kill(signal.SIGTERM)
        assert await server.gets() == [number, signal.SIGTERM]


@both_ways
async def test_without_connections_there_is_nothing_to_wait_for(
    install: Install, settle: Callable[[], Any]
) -> None:
    server = Server()
    install(server)
    async with draining(timeout=3600):
        kill(signal.SIGTERM)
        assert await server.gets() == [signal.SIGTERM]
        assert not is_ready()
        await settle()
    assert server.got == [signal.SIGTERM]


@both_ways
async def test_second_interrupt_is_for_the_server_at_once(
    serve: "Serve", install: Install, settle: Callable[[], Any]
) -> None:
    server, go_on = Server(), asyncio.Event()
    install(server)
    async with draining():
        client = await serve.open(Busy.as_asgi(go_on=go_on))
        kill(signal.SIGTERM)
        assert (await client.next())["text"] == "bye"
        kill(signal.SIGTERM)  # supervisors send it twice
        await settle()
        assert server.got == []
        kill(signal.SIGINT)
        assert await server.gets() == [signal.SIGINT]
        assert not client.task.done()
        go_on.set()
        await client.ended()
    assert server.got == [signal.SIGINT]


@both_ways
async def test_other_signals_pass(install: Install) -> None:
    server, other = Server(), Server()
    install(server)
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGUSR1, other.note, signal.SIGUSR1)
    try:
        async with draining():
            kill(signal.SIGUSR1)
            assert await other.gets() == [signal.SIGUSR1]
            other.news.clear()
        kill(signal.SIGUSR1)
        assert await other.gets() == [signal.SIGUSR1] * 2
    finally:
        loop.remove_signal_handler(signal.SIGUSR1)


@both_ways
async def test_handlers_are_back_after_the_lifespan(install: Install) -> None:
    server = Server()
    install(server)
    before = signal.getsignal(signal.SIGTERM)
    async with draining():
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before
    kill(signal.SIGTERM)
    assert await server.gets() == [signal.SIGTERM]


@both_ways
async def test_one_lifespan_in_another_drains_once(serve: "Serve", install: Install) -> None:
    server, go_on = Server(), asyncio.Event()
    install(server)
    async with draining(), draining():
        client = await serve.open(Busy.as_asgi(go_on=go_on))
        go_on.set()
        kill(signal.SIGTERM)
        assert [event["type"] for event in await client.ended()][-1] == "websocket.close"
        assert await server.gets() == [signal.SIGTERM]


async def test_loop_that_has_gone_back_to_reading_signals_itself_is_noticed(
    serve: "Serve",
) -> None:
    server, go_on = Server(), asyncio.Event()
    by_loop(server)
    descriptor = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(descriptor)
    async with draining():
        signal.set_wakeup_fd(descriptor)
        client = await serve.open(Busy.as_asgi(go_on=go_on))
        kill(signal.SIGTERM)
        assert (await client.next())["text"] == "bye"
        assert server.got == []
        go_on.set()
        assert await server.gets() == [signal.SIGTERM]


async def test_file_descriptor_of_somebody_who_came_later_stays() -> None:
    by_loop(Server())
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    async with draining():
        signal.set_wakeup_fd(writer.fileno())
    assert signal.set_wakeup_fd(-1) == writer.fileno()
    reader.close()
    writer.close()


async def test_signals_that_the_process_ignores_or_dies_of_stay_as_they_are() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    async with draining():
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


async def test_handler_of_somebody_who_came_later_stays() -> None:
    server, later = Server(), Server()
    by_module(server)
    async with draining():
        signal.signal(signal.SIGTERM, later.note)
    assert signal.getsignal(signal.SIGTERM) == later.note


async def test_other_threads_leave_signals_alone() -> None:
    before = signal.getsignal(signal.SIGTERM)

    async def elsewhere() -> None:
        async with draining():
            assert signal.getsignal(signal.SIGTERM) is before

    thread = threading.Thread(target=lambda: asyncio.run(elsewhere()))
    thread.start()
    await asyncio.to_thread(thread.join)
