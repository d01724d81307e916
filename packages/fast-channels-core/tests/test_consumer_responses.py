"""No response leaves its client waiting: lengths that are wrong, methods and statuses without a
body, errors that are kept to oneself, and servers that raise."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import pytest

from fast_channels.consumer import AsyncHttpConsumer
from fast_channels.types import Event

if TYPE_CHECKING:
    from conftest import Client, Serve

Handle = Callable[["Page"], Awaitable[None]]


class Page(AsyncHttpConsumer):
    """Keeps every error to itself."""

    def __init__(self, log: list[object], handle: Handle) -> None:
        self.log, self.handler = log, handle

    async def handle(self, body: bytes) -> None:
        await self.handler(self)

    async def on_error(self, exc: Exception, event: Event, /) -> None:
        self.log.append(repr(exc))

    async def disconnect(self) -> None:
        self.log.append("disconnect")
        await self.send_body(b"!", more_body=True)


@pytest.fixture
def log() -> list[object]:
    return []


def request(serve: "Serve", log: list[object], handle: Handle, **scope: Any) -> "Client":
    app = Page.as_asgi(log=log, handle=handle)
    scope = {"type": "http", "method": "GET"} | scope
    client = serve(app, **scope)
    client.give({"type": "http.request"})
    return client


def outline(events: list[Event]) -> list[object]:
    return [
        event["status"] if "status" in event else (event["body"], event["more_body"])
        for event in events
    ]


def sending(
    *parts: bytes, length: int | None = None, status: int = 200, end: bool = True
) -> Handle:
    async def handle(page: Page) -> None:
        headers = [] if length is None else [(b"Content-Length", b"%d" % length)]
        await page.send_headers(status=status, headers=headers)
        for part in parts:
            await page.send_body(part, more_body=True)
        if not end:
            raise LookupError
        await page.send_body(b"")

    return handle


@pytest.mark.parametrize(
    ("handle", "sent", "error"),
    [
        (sending(b"ab", b"cd", length=4), [200, (b"ab", True), (b"cd", True), (b"", False)], None),
        (sending(b"ab", length=3), [200, (b"ab", True)], "1 bytes shorter"),
        (sending(length=3), [200], "3 bytes shorter"),
        (sending(b"ab", b"cd", length=3), [200, (b"ab", True)], "1 bytes longer"),
        (sending(b"a", status=204), [204, (b"", False)], "status 204 or 304 has no body"),
        (sending(status=304, length=9), [304, (b"", False)], None),
    ],
)
async def test_a_length_that_is_wrong(
    serve: "Serve", log: list[object], handle: Handle, sent: list[object], error: str | None
) -> None:
    """An error leaves what was begun without an end: the server closes the connection."""
    client = request(serve, log, handle)
    assert outline(await client.ended()) == sent
    assert log[-1] == "disconnect"
    assert error is None or error in str(log[0])


async def test_the_answer_to_head_has_no_body(serve: "Serve", log: list[object]) -> None:
    client = request(serve, log, sending(b"ab", b"c", length=9), method="HEAD")
    assert outline(await client.ended()) == [200, (b"", True), (b"", True), (b"", False)]
    client = request(serve, log, sending(b"ab", end=False), method="HEAD")
    assert outline(await client.ended()) == [200, (b"", True), (b"", False)]


async def test_a_status_without_a_body_is_refused_one_before_anything_is_sent(
    serve: "Serve", log: list[object]
) -> None:
    client = request(serve, log, lambda page: page.send_response(304, b"x"))
    assert outline(await client.ended()) == [500, (b"Internal Server Error", False)]
    assert "a response of status 304 has no body (RFC 9110, 6.4.1)" in str(log[0])


async def fail(page: Page) -> None:
    raise LookupError


@pytest.mark.parametrize(
    ("handle", "sent"),
    [
        (fail, [500, (b"Internal Server Error", False)]),
        (sending(b"a", end=False), [200, (b"a", True), (b"", False)]),
        (sending(b"a", length=2, end=False), [200, (b"a", True)]),
        (sending(b"a", length=1, end=False), [200, (b"a", True), (b"", False)]),
    ],
)
async def test_an_error_that_is_kept_ends_the_response_all_the_same(
    serve: "Serve", log: list[object], handle: Handle, sent: list[object]
) -> None:
    assert outline(await request(serve, log, handle).ended()) == sent
    assert log == ["LookupError()", "disconnect"]


async def test_a_server_that_raises_for_the_last_part(serve: "Serve", log: list[object]) -> None:
    async def send(event: Any) -> None:
        if not event.get("more_body", True):
            raise RuntimeError("no more of this")

    client = request(serve, log, sending(b"a"), send=send)
    assert await client.ended() == []
    assert log == ["RuntimeError('no more of this')", "disconnect"]


async def test_what_a_server_raises_when_the_client_has_left_is_no_error(
    serve: "Serve", log: list[object], counted: Callable[[], dict[str, int]]
) -> None:
    entered, go_on = asyncio.Event(), asyncio.Event()

    async def send(event: Any) -> None:
        entered.set()
        await go_on.wait()
        raise RuntimeError("there is nobody")

    client = request(serve, log, sending(b"a"), send=send)
    await entered.wait()
    client.give({"type": "http.disconnect"})
    while client.unread:  # noqa: ASYNC110  # the application's own step
        await asyncio.sleep(0)
    go_on.set()
    assert await client.ended() == []
    assert log == ["disconnect"]
    assert counted() == {"send.after_close": 4}
