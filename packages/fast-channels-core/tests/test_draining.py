"""Draining: who is told, who is refused, what is waited for, and what is left at the end."""

import asyncio
import json
import logging
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from fast_channels import _drain
from fast_channels.consumer import (
    AsyncHttpConsumer,
    AsyncWebsocketConsumer,
    Outbox,
    _connection,
    concurrent,
    in_thread,
)
from fast_channels.draining import DrainMiddleware, drain, draining, is_ready, readiness
from fast_channels.exceptions import ChannelClosed
from fast_channels.layers import InMemoryChannelLayer
from fast_channels.types import Event, Receive, Scope, Send

if TYPE_CHECKING:
    from conftest import Client, Serve

pytestmark = pytest.mark.usefixtures("default_layer")

Settle = Callable[[], Awaitable[None]]
DENIAL: Event = {"websocket.http.response": {}}


class Guest(AsyncWebsocketConsumer):
    """Says goodbye, and keeps book of its end. A frame that it gets makes it busy."""

    channel_layer_alias = "default"
    groups = ["guests"]

    def __init__(self, ends: list[int], go_on: asyncio.Event) -> None:
        self.ends, self.go_on = ends, go_on

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        while not self.go_on.is_set():
            try:
                await self.go_on.wait()
            except asyncio.CancelledError:
                if text_data != "stubborn":
                    raise
        await self.send("done")

    async def note(self, event: Event) -> None:
        await self.send(event["text"])

    async def on_drain(self, retry_after: float, /) -> None:
        await self.send(f"come back in {retry_after}")

    async def disconnect(self, code: int, /) -> None:
        self.ends.append(code)


class House:
    """Where the guests are."""

    def __init__(self, serve: "Serve") -> None:
        self._serve = serve
        self.ends: list[int] = []
        self.go_on = asyncio.Event()
        self.app = Guest.as_asgi(ends=self.ends, go_on=self.go_on)

    async def open(self, count: int) -> "list[Client]":
        return [await self._serve.open(self.app) for _ in range(count)]

    async def busy(self, how: str = "") -> "Client":
        client = await self._serve.open(self.app)
        client.text(how)
        while client.unread:  # noqa: ASYNC110  # the application's own step
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        return client


@pytest.fixture
async def house(serve: "Serve") -> House:
    return House(serve)


async def took_leave(client: "Client") -> float:
    """Wait for the goodbye and the close frame; when the client is to come back."""
    goodbye, close = await client.ended()
    return checked_leave(goodbye, close)


def checked_leave(goodbye: Event, close: Event) -> float:
    retry_after: float = json.loads(close["reason"])["retry_after"]
    assert close["type"] == "websocket.close"
    assert close["code"] == 1012
    assert goodbye["text"] == f"come back in {retry_after}"
    return retry_after


# Who is told.


async def test_everybody_takes_leave(house: House, default_layer: InMemoryChannelLayer) -> None:
    clients = await house.open(30)
    assert is_ready()
    report = await drain(timeout=20, jitter=8)
    assert (report.connections, report.aborted, report.stuck) == (30, 0, 0)
    assert report.seconds < 15
    times = {await took_leave(client) for client in clients}
    assert len(times) > 5
    assert all(0 <= seconds <= 8 for seconds in times)
    assert house.ends == [1012] * 30
    assert not is_ready()
    await default_layer.group_send("guests", {"type": "note", "text": "nobody is there"})


async def test_without_jitter_all_may_come_back_at_once(house: House) -> None:
    (client,) = await house.open(1)
    await drain(jitter=0)
    assert await took_leave(client) == 0


async def test_batches_are_spread_over_the_time(house: House, settle: Settle) -> None:
    clients = await house.open(5)
    draining_now = asyncio.create_task(drain(timeout=3600, batch=2))
    for client in clients[:2]:
        await took_leave(client)
    await settle()
    assert len(house.ends) == 2
    for client in clients[2:]:
        assert await client.leave(1001) == []
    # Nobody is left to be told.
    async with asyncio.timeout(20):
        report = await draining_now
    assert report.connections == 5
    assert sorted(house.ends) == [1001, 1001, 1001, 1012, 1012]


async def test_each_batch_has_its_turn_before_the_deadline(house: House) -> None:
    clients = await house.open(7)
    report = await drain(timeout=0.4, batch=2)
    assert (report.connections, report.aborted) == (7, 0)
    assert report.seconds > 0.25
    for client in clients:
        await took_leave(client)


async def test_what_waits_comes_first(
    house: House, default_layer: InMemoryChannelLayer, settle: Settle
) -> None:
    client = await house.busy()
    await default_layer.group_send("guests", {"type": "note", "text": "on its way"})
    client.text("also on its way")
    draining_now = asyncio.create_task(drain())
    await settle()
    assert not draining_now.done()
    house.go_on.set()
    done, note, also_done, *end = await client.ended()
    assert [done["text"], note["text"], also_done["text"]] == ["done", "on its way", "done"]
    checked_leave(*end)
    await draining_now


async def test_on_drain_may_close_in_its_own_way(serve: "Serve") -> None:
    class Polite(AsyncWebsocketConsumer):
        async def on_drain(self, retry_after: float, /) -> None:
            await self.close(4001, "moving house")

    client = await serve.open(Polite)
    await drain()
    (close,) = await client.ended()
    assert (close["code"], close["reason"]) == (4001, "moving house")


async def test_what_waits_to_be_sent_still_goes_out(serve: "Serve", settle: Settle) -> None:
    read = asyncio.Event()

    class Talker(AsyncWebsocketConsumer):
        outbox = Outbox()

        async def on_drain(self, retry_after: float, /) -> None:
            for number in range(3):
                await self.send(str(number))

    async def send(event: Any) -> None:
        if event["type"] == "websocket.send":
            await read.wait()
        await client.sent(event)

    client = serve(Talker, send=send)
    await client.open()
    draining_now = asyncio.create_task(drain())
    await settle()
    assert not draining_now.done()
    read.set()
    *sent, close = await client.ended()
    assert [event["text"] for event in sent] == ["0", "1", "2"]
    assert close["code"] == 1012
    assert (await draining_now).aborted == 0


async def test_on_drain_that_fails_is_logged(
    serve: "Serve", caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(AsyncWebsocketConsumer):
        async def on_drain(self, retry_after: float, /) -> None:
            raise LookupError("in on_drain")

    client = await serve.open(Broken)
    report = await drain()
    assert report.aborted == 0
    closes = await client.ended()
    assert [close["code"] for close in closes] == [1012]
    (record,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], LookupError)


async def test_concurrent_handlers_may_finish(serve: "Serve", settle: Settle) -> None:
    go_on = asyncio.Event()

    class Busy(AsyncWebsocketConsumer):
        @concurrent(key=lambda text_data=None, bytes_data=None: None)
        async def receive(
            self, text_data: str | None = None, bytes_data: bytes | None = None
        ) -> None:
            await go_on.wait()
            await self.send(text_data)

        async def on_drain(self, retry_after: float, /) -> None:
            await self.send("bye")

    client = await serve.open(Busy)
    client.text("first", "second")
    await settle()
    draining_now = asyncio.create_task(drain())
    await settle()
    go_on.set()
    *sent, close = await client.ended()
    assert [event["text"] for event in sent] == ["first", "second", "bye"]
    assert close["code"] == 1012
    assert (await draining_now).aborted == 0


async def test_who_leaves_by_itself_meanwhile_is_not_told(serve: "Serve", settle: Settle) -> None:
    go_on = asyncio.Event()
    told: list[float] = []

    class Leaving(AsyncWebsocketConsumer):
        @concurrent
        async def receive(
            self, text_data: str | None = None, bytes_data: bytes | None = None
        ) -> None:
            await go_on.wait()
            await self.close(4000)

        async def on_drain(self, retry_after: float, /) -> None:
            told.append(retry_after)

    client = await serve.open(Leaving)
    client.text("leave")
    await settle()
    draining_now = asyncio.create_task(drain())
    await settle()
    go_on.set()
    assert [event["code"] for event in await client.ended()] == [4000]
    await draining_now
    assert told == []


async def test_concurrent_handlers_of_a_client_that_leaves_are_cancelled(
    serve: "Serve", settle: Settle
) -> None:
    class Busy(AsyncWebsocketConsumer):
        @concurrent
        async def receive(
            self, text_data: str | None = None, bytes_data: bytes | None = None
        ) -> None:
            await asyncio.Event().wait()

    client = await serve.open(Busy)
    client.text("first")
    await settle()
    draining_now = asyncio.create_task(drain())
    await settle()
    assert await client.leave() == []
    assert (await draining_now).aborted == 0


async def test_concurrent_handler_may_call_it(serve: "Serve") -> None:
    class Admin(AsyncWebsocketConsumer):
        @concurrent
        async def receive(
            self, text_data: str | None = None, bytes_data: bytes | None = None
        ) -> None:
            await self.send(str((await drain()).connections))

    client = await serve.open(Admin)
    client.text("drain")
    answer, close = await client.ended()
    assert (answer["text"], close["code"]) == ("1", 1012)


async def test_plain_function_may_take_leave(serve: "Serve") -> None:
    left: list[float] = []

    class Plain(AsyncWebsocketConsumer):
        @in_thread
        def on_drain(self, retry_after: float, /) -> None:
            left.append(retry_after)

    client = await serve.open(Plain)
    await drain(jitter=0)
    assert left == [0]
    assert [event["code"] for event in await client.ended()] == [1012]


async def test_no_message_of_a_layer_drains(
    house: House, default_layer: InMemoryChannelLayer, counted: Callable[[], dict[str, int]]
) -> None:
    (client,) = await house.open(1)
    await default_layer.group_send("guests", {"type": "connection.drain", "retry_after": 1})
    await default_layer.group_send("guests", {"type": "on.drain"})
    await default_layer.group_send("guests", {"type": "note", "text": "still here"})
    assert (await client.next())["text"] == "still here"
    assert counted()["event.unhandled"] == 2


@pytest.mark.parametrize("asked", [False, True])
async def test_handshake_that_is_not_answered_is_refused(
    serve: "Serve", settle: Settle, caplog: pytest.LogCaptureFixture, asked: bool
) -> None:
    calls: list[str] = []

    class Undecided(AsyncWebsocketConsumer):
        async def connect(self) -> None:
            calls.append("connect")

        async def on_drain(self, retry_after: float, /) -> None:
            calls.append("on_drain")
            await self.send("nobody is there yet")

        async def disconnect(self, code: int, /) -> None:
            calls.append("disconnect")

    client = serve(Undecided)
    if asked:
        client.give({"type": "websocket.connect"})
    await settle()
    await drain()
    assert [event["type"] for event in await client.ended()] == ["websocket.close"]
    assert calls == (["connect"] if asked else []) + ["disconnect"]
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


# HTTP.


class Page(AsyncHttpConsumer):
    def __init__(self, act: Callable[["Page"], Awaitable[None]]) -> None:
        self.act = act

    async def handle(self, body: bytes) -> None:
        await self.act(self)


class Stream(Page):
    async def on_drain(self, retry_after: float, /) -> None:
        await self.send_body(b"bye", more_body=True)


def body(events: list[Event]) -> bytes:
    assert events[-1]["more_body"] is False
    return b"".join(event["body"] for event in events if event["type"] == "http.response.body")


async def test_request_that_runs_may_finish(serve: "Serve", settle: Settle) -> None:
    entered, go_on = asyncio.Event(), asyncio.Event()

    async def act(page: Page) -> None:
        entered.set()
        await go_on.wait()
        await page.send_response(200, b"whole")

    client = serve(Page.as_asgi(act=act), type="http")
    client.give({"type": "http.request", "body": b""})
    await entered.wait()
    draining_now = asyncio.create_task(drain())
    await settle()
    go_on.set()
    start, *parts = await client.ended()
    assert (start["status"], body(parts)) == (200, b"whole")
    assert (await draining_now).aborted == 0


async def test_stream_takes_leave_and_ends(serve: "Serve") -> None:
    async def act(page: Page) -> None:
        await page.send_headers()
        await page.send_body(b"hello ", more_body=True)

    client = serve(Stream.as_asgi(act=act), type="http")
    client.give({"type": "http.request", "body": b""})
    assert [(await client.next())["type"] for _ in range(2)][-1] == "http.response.body"
    assert (await drain()).connections == 1
    assert body(await client.ended()) == b"bye"


async def test_request_that_is_not_whole_is_refused(serve: "Serve") -> None:
    async def act(page: Page) -> None:
        raise AssertionError("the body never came")

    client = serve(Page.as_asgi(act=act), type="http")
    client.give({"type": "http.request", "body": b"a part", "more_body": True})
    while client.unread:  # noqa: ASYNC110  # the application's own step
        await asyncio.sleep(0)
    await drain()
    start, *parts = await client.ended()
    assert (start["status"], body(parts)) == (503, b"Service Unavailable")


# Who is refused.


async def test_new_connections_are_refused(house: House, serve: "Serve") -> None:
    await drain(jitter=7)
    socket = serve(house.app, extensions=DENIAL)
    socket.give({"type": "websocket.connect"})
    request = serve(house.app, type="http")
    for client, prefix in ((socket, "websocket.http"), (request, "http")):
        start, end = await client.ended()
        assert (start["type"], start["status"]) == (f"{prefix}.response.start", 503)
        assert 1 <= int(dict(start["headers"])[b"retry-after"]) <= 7
        assert end["type"] == f"{prefix}.response.body"
    without_denial = serve(house.app)
    without_denial.give({"type": "websocket.connect"})
    assert [event["type"] for event in await without_denial.ended()] == ["websocket.close"]
    gone = serve(house.app)
    assert await gone.leave(1006) == []
    assert house.ends == []


async def test_who_is_refused_is_not_to_come_back_in_the_same_second(serve: "Serve") -> None:
    await drain(jitter=0)
    start, _ = await serve(Page.as_asgi(act=asyncio.sleep), type="http").ended()
    assert dict(start["headers"])[b"retry-after"] == b"1"


async def test_connection_that_was_on_its_way_takes_leave_at_once(
    serve: "Serve", house: House, settle: Settle
) -> None:
    go_on = asyncio.Event()

    class Late(Guest):
        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            await go_on.wait()
            await super().__call__(scope, receive, send)

    (busy,) = [await house.busy()]
    client = serve(Late.as_asgi(ends=house.ends, go_on=house.go_on))
    client.give({"type": "websocket.connect"})
    await settle()
    draining_now = asyncio.create_task(drain())
    await settle()
    go_on.set()
    events = await client.ended()
    assert events[-1]["type"] == "websocket.close"
    house.go_on.set()
    assert (await draining_now).connections == 2
    await busy.ended()


async def test_middleware_refuses_for_a_whole_application(serve: "Serve") -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 204})

    wrapped = DrainMiddleware(app)
    assert [event["status"] for event in await serve(wrapped, type="http").ended()] == [204]
    await drain()
    assert (await serve(wrapped, type="http").ended())[0]["status"] == 503
    assert (await serve(wrapped, type="lifespan").ended())[0]["status"] == 204


async def test_readiness(serve: "Serve") -> None:
    assert (await serve(readiness, type="http").ended())[0]["status"] == 200
    await drain()
    assert (await serve(readiness, type="http").ended())[0]["status"] == 503
    with pytest.raises(ValueError, match="readiness answers HTTP requests, not 'websocket'"):
        await serve(readiness).ended()


async def test_other_loops_go_on(house: House) -> None:
    (client,) = await house.open(1)

    def elsewhere() -> None:
        assert is_ready()
        assert asyncio.run(drain()).connections == 0
        assert is_ready()  # that loop is no more

    thread = threading.Thread(target=elsewhere)
    thread.start()
    await asyncio.to_thread(thread.join)
    assert await client.leave(1000) == []
    assert await asyncio.to_thread(is_ready)
    await drain()
    assert not await asyncio.to_thread(is_ready)


# The deadline.


async def test_handlers_are_cancelled_at_the_deadline(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    client = await house.busy()
    report = await drain(timeout=0.05)
    assert (report.connections, report.aborted, report.stuck) == (1, 1, 0)
    (close,) = await client.ended()
    assert close["code"] == 1012
    assert "retry_after" in close["reason"]
    assert house.ends == [1012]
    (record,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert record.getMessage() == (
        "1 connections have not ended in 0.05 s, so their handlers are cancelled: "
        "Guest at '/' for ::1:5"
    )


async def test_nobody_holds_up_the_end(
    house: House, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_drain, "GRACE", 0.2)
    monkeypatch.setattr(_drain, "LAYERS_GRACE", 0.1)
    client = await house.busy("stubborn")
    async with asyncio.timeout(20):
        report = await drain(timeout=0.05)
    assert (report.connections, report.aborted, report.stuck) == (1, 1, 1)
    assert "1 connections do not end: Guest at '/' for ::1:5" in caplog.messages
    house.go_on.set()
    await client.ended()


@pytest.mark.parametrize("busy", [False, True])
async def test_client_that_does_not_let_go_holds_up_nothing(
    serve: "Serve", house: House, busy: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some servers wait for the client's close frame."""
    monkeypatch.setattr(_connection, "ABORT_TIMEOUT", 0.05)
    taken = asyncio.Event()

    async def send(event: Any) -> None:
        if event["type"] == "websocket.close":
            await asyncio.Event().wait()
        taken.set()

    client = serve(house.app, send=send)
    client.give({"type": "websocket.connect"})
    await taken.wait()
    if busy:
        client.text("")
    async with asyncio.timeout(20):
        report = await drain(timeout=0.05)
    assert (report.aborted, report.stuck) == (1, 0)
    assert house.ends == [1012]


async def test_goodbye_of_a_connection_whose_channel_cannot_be_opened_is_given_up(
    serve: "Serve",
    settle: Settle,
    monkeypatch: pytest.MonkeyPatch,
    default_layer: InMemoryChannelLayer,
) -> None:
    go_on = asyncio.Event()

    async def open_mailbox(mailbox: object) -> None:
        await go_on.wait()
        raise ConnectionError("the broker is away")

    async def send(event: Any) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(default_layer, "open_mailbox", open_mailbox)
    monkeypatch.setattr(_drain, "GRACE", 0)
    client = serve(Guest.as_asgi(ends=[], go_on=go_on), send=send)
    await settle()
    assert (await drain(timeout=0)).stuck == 1
    go_on.set()
    with pytest.raises(ConnectionError, match="the broker is away"):
        await client.ended()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_layer_that_does_not_close_holds_up_nothing(
    default_layer: InMemoryChannelLayer,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_drain, "GRACE", 0.1)
    monkeypatch.setattr(default_layer, "close", asyncio.Event().wait)
    async with asyncio.timeout(20):
        await drain(timeout=0)
    (message,) = [m for m in caplog.messages if "layers" in m]
    assert message == "the channel layers could not be closed: TimeoutError()"


# Several calls.


async def test_second_call_joins_the_first(house: House, settle: Settle) -> None:
    client = await house.busy()
    first, second = asyncio.create_task(drain()), asyncio.create_task(drain(timeout=0))
    await settle()
    first.cancel()
    with suppress(asyncio.CancelledError):
        await first
    house.go_on.set()
    report = await second
    assert report.aborted == 0
    assert await drain() is report
    await client.ended()


async def test_handler_of_a_consumer_may_call_it(house: House, serve: "Serve") -> None:
    async def act(page: Page) -> None:
        report = await drain()
        await page.send_response(200, str(report.connections).encode())

    (guest,) = await house.open(1)
    client = serve(Page.as_asgi(act=act), type="http")
    client.give({"type": "http.request", "body": b""})
    start, *parts = await client.ended()
    assert (start["status"], body(parts)) == (200, b"2")
    await took_leave(guest)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"timeout": "20"}, "timeout must be a number of seconds, not '20'"),
        ({"jitter": None}, "jitter must be a number of seconds, not None"),
        ({"batch": 2.5}, "batch must be an int, not 2.5"),
    ],
)
async def test_numbers_that_are_none_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        await drain(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"timeout": -1}, "timeout is a number of seconds, not negative; this is -1"),
        ({"timeout": float("inf")}, "timeout is a number of seconds, not negative; this is inf"),
        ({"jitter": float("nan")}, "jitter is a number of seconds, not negative; this is nan"),
        ({"batch": 0}, "batch is a number of connections, 1 or more; this is 0"),
    ],
)
async def test_numbers_that_make_no_sense_are_refused(
    options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        await drain(**options)
    with pytest.raises(ValueError, match=message):
        async with draining(**options):
            pass
    assert is_ready()


# The lifespan.


async def test_lifespan_ends_in_a_drain(house: House, default_layer: InMemoryChannelLayer) -> None:
    for _ in range(2):
        async with draining():
            assert is_ready()
            (client,) = await house.open(1)
        assert not is_ready()
        await took_leave(client)
    assert house.ends == [1012, 1012]


async def test_lifespan_closes_the_layers_in_the_end(default_layer: InMemoryChannelLayer) -> None:
    channels: list[str] = []
    async with draining():
        channels.append(await default_layer.new_channel())
        await drain()
        # By a request that still runs.
        channels.append(await default_layer.new_channel())
    for channel in channels:
        with pytest.raises(ChannelClosed):
            await default_layer.receive(channel)
