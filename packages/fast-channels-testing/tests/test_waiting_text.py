"""The text of a timeout: the frames so far, and the lines at which the application waits."""

import asyncio
import inspect
import re
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from typing import Any

import pytest

from fast_channels.consumer import AsyncWebsocketConsumer, concurrent, in_thread
from fast_channels.types import ASGIApp, Event, Receive, Scope, Send
from fast_channels_testing import (
    ApplicationCommunicator,
    CommunicatorTimeout,
    WebsocketCommunicator,
)

DEADLINE = 20

ACCEPT = {"type": "websocket.accept"}


class Room:
    def __init__(self) -> None:
        self.opened = asyncio.Event()

    async def enter(self) -> None:
        await self.opened.wait()

    async def changes(self) -> AsyncIterator[int]:
        yield 1
        await self.enter()

    def __await__(self) -> Generator[Any, Any, None]:
        return self.enter().__await__()


def line_of(function: Callable[..., object], text: str) -> int:
    lines, first = inspect.getsourcelines(function)
    return first + next(number for number, line in enumerate(lines) if text in line)


def place(function: Callable[..., object], text: str) -> str:
    name = function.__qualname__.rpartition("<locals>.")[2]
    return f"test_waiting_text.py:{line_of(function, text)} in {name}"


ENTER = place(Room.enter, "await self.opened")


async def timeout_of(application: ASGIApp) -> str:
    async with ApplicationCommunicator(application, {"type": "test"}) as communicator:
        with pytest.raises(CommunicatorTimeout) as caught:
            await communicator.receive_output(timeout=0.01)
    return str(caught.value)


def waits_at(text: str, name: str = "application") -> list[str]:
    (line,) = re.findall(rf"^  {name}: (.*)$", text, re.MULTILINE)
    # The folder depends on where pytest was started.
    return [re.sub(r"^.*/(?=test_)", "", step) for step in line.split(" -> ")]


async def test_the_whole_text() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        await receive()
        await send({"type": "websocket.send", "bytes": b"\x00" * 1000})
        await receive()

    communicator = WebsocketCommunicator(app, "/")
    await communicator.connect()
    await communicator.send_to("héllo")
    await communicator.receive_from()
    with pytest.raises(CommunicatorTimeout) as caught:
        await communicator.receive_from(timeout=0.01)
    await communicator.disconnect()
    lines = str(caught.value).splitlines()
    assert lines[:5] == [
        "a frame did not come within 0.01 s; the application was left running",
        "frames so far (-> to the application, <- from it):",
        "  -> websocket.connect",
        "  <- websocket.accept",
        "  -> websocket.receive text='héllo'",
    ]
    assert re.fullmatch(r"  <- websocket.send bytes=b'[\\x0]+\.\.\.[\\x0]+'", lines[5])
    assert len(lines[5]) < 150
    assert lines[6] == "where the application is:"
    expected = line_of(app, "bytes") + 1
    assert re.fullmatch(
        rf"  application: \S*test_waiting_text.py:{expected} in app -> "
        r"receive\(\), waiting for the client",
        lines[7],
    )
    assert len(lines) == 8


async def test_many_frames_leave_the_last_ones() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for number in range(60):
            await send({"type": "n", "number": number})
        await receive()

    communicator = ApplicationCommunicator(app, {"type": "test"})
    with pytest.raises(CommunicatorTimeout) as caught:
        await communicator.wait(timeout=0.01)
    await communicator.stop()
    lines = str(caught.value).splitlines()
    assert lines[2:4] == ["  (20 earlier ones left out)", "  <- n number=20"]
    assert lines[-3] == "  <- n number=59"


async def test_no_frames() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await Room().enter()

    text = await timeout_of(app)
    assert "no frames so far" in text
    assert waits_at(text)[:2] == [place(app, "Room().enter"), ENTER]


async def run_in_line(room: Room) -> None:
    await room.enter()


async def run_in_a_child_task(room: Room) -> None:
    await asyncio.create_task(room.enter())


async def run_by_iterating(room: Room) -> None:
    async for _ in room.changes():
        pass


async def run_an_awaitable_object(room: Room) -> None:
    await room


async def run_with_a_timeout(room: Room) -> None:
    async with asyncio.timeout(3600):
        await room.enter()


@pytest.mark.parametrize(
    ("run", "text"),
    [
        (run_in_line, "room.enter"),
        (run_in_a_child_task, "room.enter"),
        (run_by_iterating, "room.changes"),
        (run_an_awaitable_object, "await room"),
        (run_with_a_timeout, "room.enter"),
    ],
)
async def test_the_user_s_lines_are_shown_however_it_waits(
    run: Callable[[Room], Awaitable[None]], text: str
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await run(Room())

    steps = waits_at(await timeout_of(app))
    assert steps[:2] == [place(app, "run(Room"), place(run, text)]
    assert ENTER in steps
    assert steps[-1].startswith("asyncio/locks.py:")


async def test_what_waits_for_a_plain_future_ends_there() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.get_running_loop().create_future()

    assert waits_at(await timeout_of(app)) == [place(app, "create_future")]


async def test_a_deep_stack_keeps_its_inner_end() -> None:
    async def deep(level: int) -> None:
        await (deep(level - 1) if level else Room().enter())

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await deep(50)

    steps = waits_at(await timeout_of(app))
    assert steps[0] == "…"
    assert len(steps) == 11
    assert steps[-2] == ENTER


async def test_an_application_that_has_not_run_yet() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise RuntimeError("never runs")

    communicator = ApplicationCommunicator(app, {"type": "test"})
    communicator.start()
    error = communicator._link.timeout_error("nothing", 0)  # pyright: ignore[reportPrivateUsage]
    assert waits_at(str(error)) == ["not started yet"]
    await communicator.stop()


async def test_the_task_that_runs_a_consumer_s_handlers_is_shown_too() -> None:
    class ChatConsumer:
        async def dispatch(self) -> None:
            await Room().enter()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        consumer = ChatConsumer()
        task = asyncio.create_task(consumer.dispatch())
        scope["extensions"]["fast_channels.testing"].application_started(consumer, task, list)
        try:
            await receive()
        finally:
            task.cancel()

    text = await timeout_of(app)
    assert waits_at(text) == [
        place(app, "await receive"),
        "receive(), waiting for the client",
    ]
    assert waits_at(text, "ChatConsumer")[:2] == [
        place(ChatConsumer.dispatch, "Room().enter"),
        ENTER,
    ]


async def test_how_a_consumer_s_task_ended_is_shown() -> None:
    async def fails() -> None:
        raise KeyError("x")

    async def returns() -> None:
        pass

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        probe = scope["extensions"]["fast_channels.testing"]
        tasks = [asyncio.create_task(fails()), asyncio.create_task(returns())]
        for consumer, task in zip((1, "x"), tasks, strict=True):
            probe.application_started(consumer, task, list)
        cancelled = asyncio.create_task(returns())
        cancelled.cancel()
        probe.application_started(b"x", cancelled, list)
        await asyncio.wait([*tasks, cancelled])
        await receive()

    text = await timeout_of(app)
    assert waits_at(text, "int") == ["ended with KeyError: 'x'"]
    assert waits_at(text, "str") == ["ended, it returned"]
    assert waits_at(text, "bytes") == ["ended, cancelled"]


async def test_concurrent_handlers_and_threads_are_shown_too() -> None:
    class Busy(AsyncWebsocketConsumer):
        begun = asyncio.Event()
        over = threading.Event()

        @concurrent
        async def receive(self, text_data: str | None = None, bytes_data: object = None) -> None:
            if text_data == "thread":
                await self.look_up({})
            await Room().enter()

        @in_thread
        def look_up(self, event: Event) -> None:
            loop.call_soon_threadsafe(self.begun.set)
            self.over.wait(DEADLINE)

    loop = asyncio.get_running_loop()
    async with WebsocketCommunicator(Busy, "/") as ws:
        await ws.send_text("room")
        await ws.send_text("thread")
        async with asyncio.timeout(DEADLINE):
            await Busy.begun.wait()
        with pytest.raises(CommunicatorTimeout) as caught:
            await ws.settle(timeout=0)
        Busy.over.set()
    lines = str(caught.value).splitlines()
    beside = [line for line in lines if line.startswith("  Busy, beside that: ")]
    assert len(beside) == 2
    assert sum(ENTER in line for line in beside) == 1
    assert sum(place(Busy.receive, "self.look_up") in line for line in beside) == 1
    in_look_up = r"  a thread: .* -> \S*test_waiting_text\.py:\d+ in Busy\.look_up( -> .*)?"
    assert any(re.fullmatch(in_look_up, line) for line in lines)


async def test_an_error_kept_from_the_test_is_among_the_frames() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            raise ValueError("in a handler")
        except ValueError as error:
            scope["extensions"]["fast_channels.testing"].application_error(error)
        await receive()

    communicator = ApplicationCommunicator(app, {"type": "test"}, raise_app_exceptions=False)
    with pytest.raises(CommunicatorTimeout) as caught:
        await communicator.receive_output(timeout=0.01)
    await communicator.stop()
    lines = str(caught.value).splitlines()
    assert lines[2].startswith("  !! ValueError: in a handler, raised at ")
    assert lines[2].endswith(place(app, "raise ValueError"))
