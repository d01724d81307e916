"""What an application gets for breaking the ASGI protocol: what a server would give it."""

from collections.abc import Sequence
from typing import Any

import pytest

from fast_channels.types import Receive, Scope, Send
from fast_channels_testing import HttpCommunicator, WebsocketCommunicator

ACCEPT = {"type": "websocket.accept"}
TEXT = {"type": "websocket.send", "text": "x"}
CLOSE = {"type": "websocket.close"}
DENIAL = {"type": "websocket.http.response.start", "status": 401}
DENIAL_BODY = {"type": "websocket.http.response.body", "body": b"x"}
START = {"type": "http.response.start", "status": 200}
BODY = {"type": "http.response.body", "body": b"x"}


class Sender:
    """Sends all events but the last for good, and keeps what the last one raised."""

    def __init__(self, events: Sequence[dict[str, Any]]) -> None:
        self.events = events
        self.error: Exception | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        *good, bad = self.events
        for event in good:
            await send(event)
        try:
            await send(bad)
        except Exception as error:
            self.error = error
            raise


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([TEXT], "RuntimeError: Expected ASGI message 'websocket.accept' or 'websocket.close'"),
        ([DENIAL_BODY], "RuntimeError: Expected ASGI message 'websocket.accept'"),
        ([ACCEPT, ACCEPT], "RuntimeError: Expected .* 'websocket.send' or 'websocket.close', but"),
        ([ACCEPT, DENIAL], "RuntimeError: Expected ASGI message 'websocket.send'"),
        ([ACCEPT, BODY], "RuntimeError: .* but got 'http.response.body'"),
        ([ACCEPT, CLOSE, TEXT], "RuntimeError: Unexpected ASGI message 'websocket.send', after"),
        ([ACCEPT, CLOSE, CLOSE], "RuntimeError: Unexpected ASGI message 'websocket.close', after"),
        ([CLOSE, ACCEPT], "RuntimeError: Unexpected ASGI message 'websocket.accept', after"),
        ([DENIAL, ACCEPT], "RuntimeError: Expected ASGI message 'websocket.http.response.body'"),
        ([DENIAL, DENIAL_BODY, DENIAL_BODY], "RuntimeError: Unexpected ASGI message"),
        ([{**DENIAL, "status": 42}], "ValueError: .* int from 200 to 599, got 42"),
        ([{**DENIAL, "headers": [("a", "b")]}], "TypeError: every header .* pair of bytes"),
        ([{**ACCEPT, "headers": 1}], "TypeError: the headers of 'websocket.accept'"),
        ([{**ACCEPT, "subprotocol": b"x"}], "TypeError: the subprotocol must be str or None"),
        ([ACCEPT, {**TEXT, "text": b"x"}], "TypeError: the text of 'websocket.send' must be str"),
        ([ACCEPT, {**TEXT, "text": "\ud800"}], "UnicodeEncodeError: surrogates not allowed"),
        ([ACCEPT, {**TEXT, "text": None}], "ValueError: .* either text or bytes"),
        ([ACCEPT, {**TEXT, "bytes": b"x"}], "ValueError: .* either text or bytes"),
        ([ACCEPT, {"type": "websocket.send", "bytes": "x"}], "TypeError: the bytes of"),
        ([ACCEPT, {**CLOSE, "code": True}], "TypeError: the code of .* must be an int, got True"),
        ([ACCEPT, {**CLOSE, "code": None}], "TypeError: the code of .* must be an int, got None"),
        ([ACCEPT, {**CLOSE, "code": 1006}], "ValueError: the code of .* may not be 1006"),
        ([ACCEPT, {**CLOSE, "code": 999}], "ValueError: the code of .* may not be 999"),
        ([ACCEPT, {**CLOSE, "reason": b"x"}], "TypeError: the reason of .* must be str"),
        ([ACCEPT, {**CLOSE, "reason": "é" * 62}], "ValueError: the reason of .* 123 bytes"),
        ([{**CLOSE, "code": 1005}], "ValueError: the code of 'websocket.close' may not be 1005"),
    ],
)
async def test_websocket(events: list[dict[str, Any]], expected: str) -> None:
    application = Sender(events)
    communicator = WebsocketCommunicator(application, "/")
    kind, _, message = expected.partition(": ")
    with pytest.raises(Exception, match=message) as caught:
        await communicator.connect()
    assert type(caught.value).__name__ == kind
    # The application had it first: the test is shown that very object.
    assert caught.value is application.error


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([BODY], "RuntimeError: Expected ASGI message 'http.response.start', but got"),
        ([START, START], "RuntimeError: Expected ASGI message 'http.response.body', but got"),
        ([START, BODY, BODY], "RuntimeError: Unexpected ASGI message 'http.response.body', after"),
        ([START, TEXT], "RuntimeError: Expected ASGI message 'http.response.body'"),
        ([{**START, "status": "200"}], "ValueError: .* int from 200 to 599, got '200'"),
        ([{"type": "http.response.start"}], "ValueError: .* int from 200 to 599, got None"),
        ([{**START, "headers": [(b"a", "b")]}], "TypeError: every header .* pair of bytes"),
        ([{**START, "headers": [b"a"]}], "TypeError: every header .* pair of bytes"),
        ([START, {**BODY, "body": "x"}], "TypeError: the body of 'http.response.body'"),
        (
            [{**START, "headers": [(b"Content-Length", b"0")]}, BODY],
            "RuntimeError: Response content longer than Content-Length",
        ),
        (
            [{**START, "headers": [(b"content-length", b"2")]}, BODY],
            "RuntimeError: Response content shorter than Content-Length",
        ),
    ],
)
async def test_http(events: list[dict[str, Any]], expected: str) -> None:
    application = Sender(events)
    communicator = HttpCommunicator(application, "GET", "/")
    kind, _, message = expected.partition(": ")
    with pytest.raises(Exception, match=message) as caught:
        await communicator.get_response()
    assert type(caught.value).__name__ == kind
    assert caught.value is application.error


@pytest.mark.parametrize("code", [1000, 1001, 1003, 1011, 1012, 1014, 3000, 4999])
async def test_codes_that_may_be_sent(code: int) -> None:
    async with WebsocketCommunicator(Sender([ACCEPT, {**CLOSE, "code": code}]), "/") as client:
        await client.connect()
        assert (await client.receive_output())["code"] == code


async def test_bytes_like_data_is_sent_as_bytes() -> None:
    data = bytearray(b"before")

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(ACCEPT)
        await send({"type": "websocket.send", "bytes": memoryview(data)})
        data[:] = b"after."

    async with WebsocketCommunicator(app, "/") as client:
        await client.connect()
        assert await client.receive_from() == b"before"
