"""HTTP requests: whole, in parts, streamed by a layer, failed, and left by their client."""

import asyncio
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import pytest

from fast_channels.consumer import AsyncHttpConsumer, ConsumerApplication
from fast_channels.exceptions import ConnectionStateError, StopConsumer
from fast_channels.layers import InMemoryChannelLayer
from fast_channels.types import Event

if TYPE_CHECKING:
    from conftest import Client, Serve

Counted = Callable[[], dict[str, int]]
Handle = Callable[["Page", bytes], Awaitable[None]]


class Page(AsyncHttpConsumer):
    """Handles the request with what it was made with; logs what happens after."""

    channel_layer_alias = "default"

    def __init__(self, log: list[str], handle: Handle) -> None:
        self.log, self.handler = log, handle

    async def handle(self, body: bytes) -> None:
        await self.handler(self, body)

    async def part(self, event: Event) -> None:
        await self.send_body(event["text"].encode(), more_body=not event.get("last"))

    async def fail(self, event: Event) -> None:
        raise LookupError("in a handler of the layer")

    async def disconnect(self) -> None:
        self.log.append("disconnect")
        await self.send_body(b"late")


pytestmark = pytest.mark.usefixtures("default_layer")


@pytest.fixture
def log() -> list[str]:
    return []


def page(log: list[str], handle: Handle) -> ConsumerApplication:
    return Page.as_asgi(log=log, handle=handle)


def request(serve: "Serve", app: ConsumerApplication, *body: bytes, **scope: Any) -> "Client":
    client = serve(app, type="http", method="POST", **scope)
    chunks = body or (b"",)
    for number, chunk in enumerate(chunks, 1):
        client.give({"type": "http.request", "body": chunk, "more_body": number < len(chunks)})
    return client


START: Event = {"type": "http.response.start", "status": 200, "headers": []}


def body(data: bytes, *, more: bool = False) -> Event:
    return {"type": "http.response.body", "body": data, "more_body": more}


ERROR: list[Event] = [
    {
        "type": "http.response.start",
        "status": 500,
        "headers": [(b"content-type", b"text/plain; charset=utf-8")],
    },
    body(b"Internal Server Error"),
]


# Requests and responses.


@pytest.mark.parametrize("chunks", [(b"",), (b"abc",), (b"a", b"", b"bc"), (b"", b"")])
async def test_the_body_comes_whole(
    serve: "Serve", log: list[str], chunks: tuple[bytes, ...]
) -> None:
    async def echo(page: Page, body: bytes) -> None:
        await page.send_response(200, body, headers=[(b"x", b"1"), (b"x", b"2")])

    client = request(serve, page(log, echo), *chunks)
    assert await client.ended() == [
        {**START, "headers": [(b"x", b"1"), (b"x", b"2")]},
        body(b"".join(chunks)),
    ]
    assert log == ["disconnect"]


async def test_a_request_without_its_optional_fields(serve: "Serve", log: list[str]) -> None:
    client = serve(page(log, lambda page, body: page.send_response(204, body)), type="http")
    client.give({"type": "http.request"})
    assert [event.get("status") for event in await client.ended()] == [204, None]


@pytest.mark.parametrize(
    ("headers", "sent"),
    [
        (None, []),
        ({b"a": b"1", b"b": b"2"}, [(b"a", b"1"), (b"b", b"2")]),
        (iter([(b"a", b"1")]), [(b"a", b"1")]),
    ],
)
async def test_headers_of_every_form(
    serve: "Serve", log: list[str], headers: Any, sent: list[tuple[bytes, bytes]]
) -> None:
    async def handle(page: Page, body: bytes) -> None:
        await page.send_headers(status=HTTPStatus.NOT_FOUND, headers=headers)
        await page.send_body(b"")

    start, _ = await request(serve, page(log, handle)).ended()
    assert start == {**START, "status": 404, "headers": sent}
    assert type(start["status"]) is int


async def test_a_response_in_parts(serve: "Serve", log: list[str]) -> None:
    async def handle(page: Page, data: bytes) -> None:
        await page.send_headers()
        await page.send_body(b"a", more_body=True)
        await page.send_body(b"b", more_body=True)
        await page.send_body(b"")

    events = await request(serve, page(log, handle)).ended()
    assert events == [START, body(b"a", more=True), body(b"b", more=True), body(b"")]


@pytest.mark.parametrize(
    ("method", "arguments", "complaint"),
    [
        ("send_headers", {"status": "200"}, "ValueError: status must be an HTTP status"),
        ("send_headers", {"status": 99}, "ValueError: status must be an HTTP status"),
        ("send_headers", {"status": 600}, "ValueError: status must be an HTTP status"),
        ("send_headers", {"status": True}, "ValueError: status must be an HTTP status"),
        ("send_headers", {"headers": {"a": b"1"}}, "TypeError: header names and values must be"),
        ("send_headers", {"headers": [(b"a", 1)]}, "TypeError: header names and values must be"),
        ("send_body", {"body": b"x"}, "ConnectionStateError: send_headers() comes before"),
        ("send_response", {"status": 200, "body": "x"}, "TypeError: body must be bytes, not str"),
    ],
)
async def test_what_is_refused_sends_nothing(
    serve: "Serve", log: list[str], method: str, arguments: dict[str, Any], complaint: str
) -> None:
    async def handle(page: Page, body: bytes) -> None:
        try:
            await getattr(page, method)(**arguments)
        except (ValueError, TypeError, ConnectionStateError) as error:
            await page.send_response(400, f"{type(error).__name__}: {error}".encode())

    start, answer = await request(serve, page(log, handle)).ended()
    assert start["status"] == 400
    assert answer["body"].decode().startswith(complaint)


async def test_headers_come_once(serve: "Serve", log: list[str]) -> None:
    async def handle(page: Page, body: bytes) -> None:
        await page.send_headers()
        with pytest.raises(ConnectionStateError, match="the headers were sent already"):
            await page.send_headers(status=201)
        await page.send_body(b"done")

    assert await request(serve, page(log, handle)).ended() == [START, body(b"done")]


async def test_what_follows_the_last_part_is_dropped_and_counted(
    serve: "Serve", log: list[str], counted: Counted
) -> None:
    async def handle(page: Page, body: bytes) -> None:
        await page.send_response(200, b"all")
        await page.send_body(b"more")
        await page.send_headers()

    assert await request(serve, page(log, handle)).ended() == [START, body(b"all")]
    assert log == ["disconnect"]
    assert counted() == {"send.after_close": 3}


# Streams.


async def stream(page: Page, body: bytes) -> None:
    await page.channel_layer.group_add("stream", page.channel_name)
    await page.send_headers()
    await page.send_body(b"begin", more_body=True)


async def test_events_of_the_layer_go_on_with_the_response(
    serve: "Serve", log: list[str], default_layer: InMemoryChannelLayer
) -> None:
    client = request(serve, page(log, stream))
    assert [await client.next() for _ in range(2)] == [START, body(b"begin", more=True)]
    await default_layer.group_send("stream", {"type": "part", "text": "one"})
    assert await client.next() == body(b"one", more=True)
    assert log == []
    await default_layer.group_send("stream", {"type": "part", "text": "end", "last": True})
    assert await client.ended() == [body(b"end")]
    assert log == ["disconnect"]


async def test_a_response_may_wait_for_the_layer(
    serve: "Serve", log: list[str], default_layer: InMemoryChannelLayer
) -> None:
    async def handle(page: Page, body: bytes) -> None:
        await page.send_headers()
        page.log.append(page.channel_name)

    client = request(serve, page(log, handle))
    assert await client.next() == START
    await default_layer.send(log[0], {"type": "part", "text": "answer", "last": True})
    assert await client.ended() == [body(b"answer")]


async def test_the_client_leaves_a_stream(
    serve: "Serve", log: list[str], default_layer: InMemoryChannelLayer, counted: Counted
) -> None:
    client = request(serve, page(log, stream))
    await client.next()
    await client.next()
    client.give({"type": "http.disconnect"})
    assert await client.ended() == []
    assert log == ["disconnect"]
    await default_layer.group_send("stream", {"type": "part", "text": "to nobody"})
    assert counted() == {"send.after_close": 1}


async def test_the_client_leaves_while_the_request_is_handled(
    serve: "Serve", log: list[str], counted: Counted
) -> None:
    entered, go_on = asyncio.Event(), asyncio.Event()

    async def handle(page: Page, body: bytes) -> None:
        entered.set()
        await go_on.wait()
        await page.send_response(200, b"to nobody")

    client = request(serve, page(log, handle))
    client.give({"type": "http.disconnect"})
    await entered.wait()
    while client.unread:  # noqa: ASYNC110  # the application's own step
        await asyncio.sleep(0)
    go_on.set()
    assert await client.ended() == []
    assert log == ["disconnect"]
    assert counted() == {"send.after_close": 3}


async def test_the_client_leaves_before_the_body_is_whole(serve: "Serve", log: list[str]) -> None:
    client = serve(page(log, stream), type="http")
    client.give({"type": "http.request", "body": b"a", "more_body": True})
    client.give({"type": "http.disconnect"})
    assert await client.ended() == []
    assert log == ["disconnect"]


# Errors: no request is left hanging.


async def raise_at_once(page: Page, body: bytes) -> None:
    raise LookupError


async def raise_after_headers(page: Page, body: bytes) -> None:
    await page.send_headers()
    raise LookupError


async def raise_in_the_body(page: Page, body: bytes) -> None:
    await page.send_headers()
    await page.send_body(b"a", more_body=True)
    raise LookupError


async def send_nothing(page: Page, body: bytes) -> None:
    pass


async def stop(page: Page, body: bytes) -> None:
    raise StopConsumer


@pytest.mark.parametrize(
    ("handle", "events", "errors"),
    [
        (raise_at_once, ERROR, 1),
        (raise_after_headers, [START, body(b"")], 1),
        (raise_in_the_body, [START, body(b"a", more=True), body(b"")], 1),
        (send_nothing, ERROR, 1),
        (stop, ERROR, 0),
    ],
)
async def test_a_failed_request_is_answered(
    serve: "Serve",
    log: list[str],
    caplog: pytest.LogCaptureFixture,
    handle: Handle,
    events: list[Event],
    errors: int,
) -> None:
    assert await request(serve, page(log, handle)).ended() == events
    assert [record.levelname for record in caplog.records] == ["ERROR"] * errors
    assert log == ["disconnect"]


async def test_handle_must_be_overridden(serve: "Serve", caplog: pytest.LogCaptureFixture) -> None:
    assert await request(serve, AsyncHttpConsumer.as_asgi()).ended() == ERROR
    assert "AsyncHttpConsumer must override handle(self, body)" in caplog.text


async def test_an_error_in_a_handler_of_the_layer_ends_the_response(
    serve: "Serve", log: list[str], default_layer: InMemoryChannelLayer
) -> None:
    client = request(serve, page(log, stream))
    await client.next()
    await default_layer.group_send("stream", {"type": "fail"})
    assert await client.ended() == [body(b"begin", more=True), body(b"")]
    assert log == ["disconnect"]


async def test_on_error_may_answer_itself(serve: "Serve") -> None:
    class Sorry(AsyncHttpConsumer):
        async def handle(self, body: bytes) -> None:
            raise LookupError("nothing here")

        async def on_error(self, exc: Exception, event: Event, /) -> None:
            await self.send_response(404, str(exc).encode())

    events = await request(serve, Sorry.as_asgi()).ended()
    assert [event.get("status", event.get("body")) for event in events] == [404, b"nothing here"]


@pytest.mark.parametrize(
    ("handle", "events"),
    [(stream, [START, body(b"begin", more=True)]), (send_nothing, [])],
)
async def test_a_server_that_breaks_off_is_sent_nothing_more(
    serve: "Serve", log: list[str], counted: Counted, handle: Handle, events: list[Event]
) -> None:
    entered = asyncio.Event()

    async def wait(page: Page, data: bytes) -> None:
        await handle(page, data)
        entered.set()
        await asyncio.Event().wait()

    client = request(serve, page(log, wait))
    await entered.wait()
    client.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await client.ended()
    assert client.rest() == events
    assert log == ["disconnect"]
    assert counted() == {"send.after_close": 1}


async def test_a_client_that_is_gone_is_no_error(
    serve: "Serve", log: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    async def send(event: Any) -> None:
        raise BrokenPipeError

    app = page(log, lambda page, body: page.send_response(200, b"x"))
    client = serve(app, type="http", send=send)
    client.give({"type": "http.request"}, {"type": "http.disconnect"})
    await client.ended()
    assert log == ["disconnect"]
    assert caplog.records == []


async def test_a_scope_of_another_type_is_refused(serve: "Serve", log: list[str]) -> None:
    client = serve(page(log, stream))
    with pytest.raises(ValueError, match="Page was called for a scope of type 'websocket'"):
        await client.ended()
