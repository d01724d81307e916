"""Writes of a broadcast to sockets that have to wait, fail, are cancelled, or ask who they are.

Such a frame is written without waking the member's task as long as that is possible. Nothing of
it may show: these tests hold for a frame that a handler writes, too.
"""

import asyncio
import contextvars
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import pytest

from fast_channels.consumer import AsyncWebsocketConsumer
from fast_channels.exceptions import StopConsumer
from fast_channels.layers import InMemoryChannelLayer, register_channel_layer
from fast_channels.types import Event, Send

if TYPE_CHECKING:
    from conftest import Client, Serve

Counted = Callable[[], dict[str, int]]
Wrap = Callable[[Send], Send]

request_id = contextvars.ContextVar("request_id", default="none")


class Member(AsyncWebsocketConsumer):
    channel_layer_alias = "default"
    groups = ["room"]

    def __init__(self) -> None:
        self.log: list[str] = []

    async def connect(self) -> None:
        request_id.set("of the member")
        await self.accept()

    async def mark(self, event: Event) -> None:
        await self.send("handled")

    async def disconnect(self, code: int, /) -> None:
        self.log.append(f"disconnect {code}")

    async def on_error(self, exc: Exception, event: Event, /) -> None:
        self.log.append(f"{event['type']}: {exc!r}")
        raise StopConsumer


class ServersProtocol(asyncio.Protocol):
    """Has the server's own ``send``, as uvicorn does."""

    def __init__(self, send: Send) -> None:
        self._send = send

    async def asgi_send(self, event: Any) -> None:
        await self._send(event)


@pytest.fixture(params=["middleware", "server"])
def wrap(request: pytest.FixtureRequest) -> Wrap:
    """Makes a ``send`` look like that of middleware, or of a server."""
    if request.param == "server":
        return lambda send: ServersProtocol(send).asgi_send
    return lambda send: send


class Room:
    """One member whose frames are written by ``write``, and a neighbour who has no trouble."""

    def __init__(self, serve: "Serve", layer: InMemoryChannelLayer, wrap: Wrap) -> None:
        self.serve, self.layer, self.wrap = serve, layer, wrap
        self.consumer = Member()
        self.write: Callable[[], Awaitable[object]] = asyncio.Event().wait
        self.first: Client
        self.neighbour: Client

    async def open(self, write: Callable[[], Awaitable[object]]) -> "Room":
        self.write = write
        self.first = self.serve(self.consumer, send=self.wrap(self.send))
        await self.first.open()
        self.neighbour = await self.serve.open(Member)
        return self

    async def send(self, event: Any) -> None:
        if event["type"] == "websocket.send":
            await self.write()
        await self.first.sent(event)

    async def say(self, *texts: str) -> None:
        """Broadcast frames; handler events where the text is "mark"."""
        for text in texts:
            kind = "mark" if text == "mark" else "websocket.send"
            await self.layer.group_send("room", {"type": kind, "text": text})

    async def hear(self, *texts: str) -> None:
        """The neighbour got these, whatever happened to the first member."""
        assert [(await self.neighbour.next())["text"] for _ in texts] == list(texts)


@pytest.fixture
def room(serve: "Serve", default_layer: InMemoryChannelLayer, wrap: Wrap) -> Room:
    return Room(serve, default_layer, wrap)


# Waiting.


async def test_a_write_that_need_not_wait_is_done_when_group_send_returns(room: Room) -> None:
    written: list[int] = []

    async def write() -> None:
        written.append(1)

    await room.open(write)
    await asyncio.sleep(0)
    await room.say("a", "b", "c")
    assert len(written) == 3


async def test_a_write_that_waits_is_finished_before_what_came_later(room: Room) -> None:
    gate = asyncio.Event()
    await room.open(gate.wait)
    await asyncio.sleep(0)
    await room.say("a", "mark", "b")
    room.first.text("ignored")
    await room.say("c")
    await room.hear("a", "handled", "b", "c")
    gate.set()
    texts = [(await room.first.next())["text"] for _ in range(4)]
    assert texts == ["a", "handled", "b", "c"]


async def test_writes_that_wait_for_the_same_future(room: Room) -> None:
    ready = asyncio.get_running_loop().create_future()

    async def write() -> None:
        await ready

    await room.open(write)
    second = room.serve(Member(), send=room.wrap(room.send))
    second.give({"type": "websocket.connect"})
    assert (await room.first.next())["type"] == "websocket.accept"
    await asyncio.sleep(0)
    await room.say("a")
    other = asyncio.create_task(write())
    await asyncio.sleep(0)
    ready.set_result(None)
    await other
    assert [(await room.first.next())["text"] for _ in range(2)] == ["a", "a"]
    assert not second.task.done()


async def test_a_write_that_only_lets_others_run(room: Room) -> None:
    async def write() -> None:
        for _ in range(3):
            await asyncio.sleep(0)

    await room.open(write)
    await asyncio.sleep(0)
    await room.say("a", "b")
    assert [(await room.first.next())["text"] for _ in range(2)] == ["a", "b"]


@pytest.mark.parametrize("seconds", [-1, 0, 0.01])
async def test_middleware_may_limit_the_time_of_a_write(
    serve: "Serve", default_layer: InMemoryChannelLayer, seconds: float
) -> None:
    async def write() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(seconds):
                await asyncio.Event().wait()
        async with asyncio.timeout(20), asyncio.TaskGroup() as group:
            group.create_task(asyncio.sleep(0))

    room = await Room(serve, default_layer, lambda send: send).open(write)
    await asyncio.sleep(0)
    await room.say("a", "mark")
    assert [(await room.first.next())["text"] for _ in range(2)] == ["a", "handled"]


# Whose write it is.


async def test_middleware_finds_the_members_task_and_context(
    serve: "Serve", default_layer: InMemoryChannelLayer
) -> None:
    seen: list[tuple[object, str]] = []

    async def write() -> None:
        seen.append((asyncio.current_task(), request_id.get()))
        request_id.set(f"{request_id.get()}, written")
        await asyncio.sleep(0)
        seen.append((asyncio.current_task(), request_id.get()))

    room = await Room(serve, default_layer, lambda send: send).open(write)
    await asyncio.sleep(0)
    request_id.set("of the sender")
    sender = asyncio.current_task()
    await room.say("direct")
    assert (asyncio.current_task(), request_id.get()) == (sender, "of the sender")
    await room.first.next()
    await room.say("mark")
    await room.first.next()
    tasks, contexts = {task for task, _ in seen}, [context for _, context in seen]
    assert len(tasks) == 1
    assert not tasks & {sender, room.first.task}
    assert contexts == [
        "of the member",
        "of the member, written",
        "of the member, written",
        "of the member, written, written",
    ]


async def test_middleware_may_broadcast_what_it_sees(
    serve: "Serve", default_layer: InMemoryChannelLayer
) -> None:
    copies: list[str] = []

    async def write() -> None:
        if not copies:
            copies.append("copy")
            await default_layer.group_send("room", {"type": "websocket.send", "text": "copy"})

    room = await Room(serve, default_layer, lambda send: send).open(write)
    await asyncio.sleep(0)
    await room.say("a", "mark")
    assert [(await room.first.next())["text"] for _ in range(3)] == ["a", "copy", "handled"]
    assert sorted([(await room.neighbour.next())["text"] for _ in range(3)]) == [
        "a",
        "copy",
        "handled",
    ]


async def test_a_member_may_broadcast_from_its_handler(
    serve: "Serve", default_layer: InMemoryChannelLayer
) -> None:
    class Loud(Member):
        async def mark(self, event: Event) -> None:
            await self.broadcast("room", text="1")
            await self.send("2")
            await self.broadcast("room", text="3")

    client = await serve.open(Loud)
    await default_layer.group_send("room", {"type": "mark"})
    assert [(await client.next())["text"] for _ in range(3)] == ["2", "1", "3"]


# Failing.


@pytest.mark.parametrize("steps", [0, 1])
async def test_a_client_that_is_gone_is_no_error(room: Room, steps: int, counted: Counted) -> None:
    async def write() -> None:
        for _ in range(steps):
            await asyncio.sleep(0)
        raise BrokenPipeError

    await room.open(write)
    await asyncio.sleep(0)
    await room.say("a", "b", "mark")
    await room.hear("a", "b", "handled")
    assert counted() == {"send.after_close": 3}
    assert await room.first.leave(1005) == []
    assert room.consumer.log == ["disconnect 1005"]


async def test_a_client_that_was_gone_when_it_was_accepted(room: Room, counted: Counted) -> None:
    written: list[Event] = []

    async def send(event: Any) -> None:
        if event["type"] == "websocket.accept":
            raise BrokenPipeError
        written.append(event)

    member = room.serve(Member, send=room.wrap(send))
    member.give({"type": "websocket.connect"})
    neighbour = await room.serve.open(Member)
    await asyncio.sleep(0)
    await room.say("a", "mark")
    assert [(await neighbour.next())["text"] for _ in range(2)] == ["a", "handled"]
    await member.leave(1006)
    assert written == []
    assert counted() == {"send.after_close": 3}


@pytest.mark.parametrize("steps", [0, 1])
async def test_an_error_is_the_members_not_the_senders(room: Room, steps: int) -> None:
    async def write() -> None:
        for _ in range(steps):
            await asyncio.sleep(0)
        raise LookupError("write")

    await room.open(write)
    await asyncio.sleep(0)
    await room.say("a")
    await room.hear("a")
    assert [event["type"] for event in await room.first.ended()] == ["websocket.close"]
    assert room.consumer.log == ["websocket.send: LookupError('write')", "disconnect 1000"]


@pytest.mark.parametrize("steps", [0, 1])
async def test_a_cancelled_future_in_a_write_is_an_error_of_the_member(
    room: Room, steps: int
) -> None:
    async def write() -> None:
        for _ in range(steps):
            await asyncio.sleep(0)
        cancelled = asyncio.get_running_loop().create_future()
        cancelled.cancel()
        await cancelled

    await room.open(write)
    await asyncio.sleep(0)
    await room.say("a")
    await room.hear("a")
    await room.first.ended()
    error, end = room.consumer.log
    assert error.startswith("websocket.send: RuntimeError(")
    assert end == "disconnect 1000"


# Cancelling.


@pytest.mark.parametrize(
    ("by", "turns"), [("server", 0), ("server", 1), ("server", 3), ("end of the loop", 0)]
)
async def test_cancelling_reaches_a_write_that_waits(room: Room, turns: int, by: str) -> None:
    log = room.consumer.log
    ready = asyncio.get_running_loop().create_future()

    async def write() -> None:
        try:
            await ready
        except asyncio.CancelledError:
            log.append("cancelled")
            raise
        finally:
            await asyncio.sleep(0)
            log.append("cleaned up")

    await room.open(write)
    await asyncio.sleep(0)
    await room.say("a", "b")
    for _ in range(turns):
        await asyncio.sleep(0)
    ours = asyncio.all_tasks() - {asyncio.current_task()}
    for task in {room.first.task} if by == "server" else ours:
        task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await room.first.ended()
    assert log == ["cancelled", "cleaned up", "disconnect 1006"]
    assert ready.cancelled()
    await room.hear("a", "b")


async def test_ending_waits_for_a_write_that_was_begun(room: Room) -> None:
    gate = asyncio.Event()
    await room.open(gate.wait)
    await asyncio.sleep(0)
    await room.say("a")
    await room.consumer.close(4000)
    gate.set()
    types = [event["type"] for event in await room.first.ended()]
    assert sorted(types) == ["websocket.close", "websocket.send"]
    assert room.consumer.log == ["disconnect 4000"]


async def test_nothing_is_written_while_a_connection_ends(room: Room) -> None:
    class Slow(InMemoryChannelLayer):
        async def close_channel(self, channel: str) -> None:
            await self.group_send("room", {"type": "websocket.send", "text": "too late"})
            await super().close_channel(channel)

    async def write() -> None:
        pass

    register_channel_layer("default", Slow())
    await room.open(write)
    room.first.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await room.first.ended()
    assert room.first.rest() == []
    await room.hear("too late")
