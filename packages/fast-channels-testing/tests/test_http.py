"""What the HTTP client does and sees."""

import asyncio
from typing import Any

import pytest

from fast_channels.exceptions import ConnectionStateError
from fast_channels.types import Receive, Scope, Send
from fast_channels_testing import (
    ApplicationEnded,
    CommunicatorTimeout,
    HttpCommunicator,
)

START = {"type": "http.response.start", "status": 200, "headers": [(b"x-a", b"1")]}


def body(data: bytes, more_body: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": data, "more_body": more_body}


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Returns each piece of the request's body as it comes."""
    await send(START)
    while True:
        event = await receive()
        assert event["type"] == "http.request"
        await send(body(event["body"], event["more_body"]))
        if not event["more_body"]:
            return


async def stream(scope: Scope, receive: Receive, send: Send) -> None:
    """Sends an event whenever it is told to, until its client leaves."""
    queue: asyncio.Queue[bytes] = scope["state"]["queue"]
    await receive()
    await send(START)

    async def write() -> None:
        while True:
            await send(body(await queue.get(), more_body=True))

    writer = asyncio.create_task(write())
    assert await receive() == {"type": "http.disconnect"}
    writer.cancel()


async def test_a_request_and_its_response() -> None:
    communicator = HttpCommunicator(echo, "post", "/items/?page=2", b"hello", {"X-Token": "t"})
    assert await communicator.get_response() == {
        "status": 200,
        "headers": [(b"x-a", b"1")],
        "body": b"hello",
    }
    scope = communicator.scope
    assert scope["type"] == "http"
    assert scope["asgi"] == {"version": "3.0", "spec_version": "2.3"}
    assert (scope["method"], scope["scheme"]) == ("POST", "http")
    assert (scope["path"], scope["query_string"]) == ("/items/", b"page=2")
    assert (b"x-token", b"t") in scope["headers"]
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_request_and_response_in_pieces() -> None:
    async with HttpCommunicator(echo, "POST", "/") as communicator:
        await communicator.send_request(b"one", more_body=True)
        assert (await communicator.get_response_start())["status"] == 200
        assert await communicator.receive_body_chunk() == b"one"
        await communicator.send_request(b"two", more_body=True)
        assert await communicator.receive_body_chunk() == b"two"
        await communicator.send_request(b"three")
        assert await communicator.get_response() == {
            "status": 200,
            "headers": [(b"x-a", b"1")],
            "body": b"three",
        }
        assert await communicator.receive_body_chunk() == b""
        with pytest.raises(ConnectionStateError, match="already sent to its end"):
            await communicator.send_request(b"four")


async def test_an_endless_response_is_read_until_the_client_leaves() -> None:
    communicator = HttpCommunicator(stream, "GET", "/events")
    queue = asyncio.Queue[bytes]()
    communicator.scope["state"]["queue"] = queue
    assert (await communicator.get_response_start())["status"] == 200
    for number in (b"1", b"", b"2"):
        queue.put_nowait(number)
    # An empty piece is nothing on the wire.
    chunks = communicator.iter_body()
    assert [await anext(chunks), await anext(chunks)] == [b"1", b"2"]
    with pytest.raises(CommunicatorTimeout, match="a piece of the response's body did not come"):
        await communicator.receive_body_chunk(timeout=0.01)
    with pytest.raises(CommunicatorTimeout, match="the whole response"):
        await communicator.get_response(timeout=0.01)
    queue.put_nowait(b"3")
    assert await communicator.receive_body_chunk() == b"3"
    await communicator.disconnect()


async def test_the_application_is_told_when_its_response_is_complete() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(START)
        await send(body(b"x"))
        assert await receive() == {"type": "http.disconnect"}

    assert (await HttpCommunicator(app, "GET", "/").get_response())["body"] == b"x"


async def test_sending_to_a_client_that_is_gone_does_nothing() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(START)
        await receive()
        await send(body(b"nobody reads this"))

    communicator = HttpCommunicator(app, "GET", "/")
    await communicator.get_response_start()
    await communicator.disconnect()
    with pytest.raises(ApplicationEnded, match="the rest of the response"):
        await communicator.receive_body_chunk()


async def test_a_response_to_head_has_no_body() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({**START, "headers": [(b"content-length", b"5")]})
        await send(body(b"hello"))

    assert (await HttpCommunicator(app, "HEAD", "/").get_response())["body"] == b""
    assert (await HttpCommunicator(app, "GET", "/").get_response())["body"] == b"hello"


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "DELETE"])
async def test_async_with_sends_the_request(method: str) -> None:
    requests = list[object]()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        requests.append(await receive())
        await send(START)
        await send(body(b""))

    async with HttpCommunicator(app, method, "/"):
        assert requests == [{"type": "http.request", "body": b"", "more_body": False}]
    async with HttpCommunicator(app, "POST", "/", b"all of it"):
        assert requests[1:] == [{"type": "http.request", "body": b"all of it", "more_body": False}]


async def test_an_error_at_the_start_of_a_block_is_the_first_call_s_to_tell() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise LookupError("no item")

    async with HttpCommunicator(app, "GET", "/") as communicator:
        with pytest.raises(LookupError, match="no item"):
            await communicator.get_response()
    with pytest.raises(LookupError, match="no item"):
        async with HttpCommunicator(app, "GET", "/"):
            pass


async def test_an_answer_without_reading_the_request() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({**START, "status": 413})
        await send(body(b""))

    async with HttpCommunicator(app, "POST", "/", b"x" * 100) as communicator:
        await communicator.wait()
        assert (await communicator.get_response())["status"] == 413


async def test_an_error_before_the_response() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise LookupError("no item")

    with pytest.raises(LookupError, match="no item"):
        await HttpCommunicator(app, "GET", "/").get_response()
    communicator = HttpCommunicator(app, "GET", "/", raise_app_exceptions=False)
    assert await communicator.get_response() == {"status": 500, "headers": [], "body": b""}


async def test_no_response_at_all() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        pass

    with pytest.raises(ApplicationEnded, match="the start of the response cannot come any more"):
        await HttpCommunicator(app, "GET", "/").get_response()
    communicator = HttpCommunicator(app, "GET", "/", raise_app_exceptions=False)
    assert (await communicator.get_response())["status"] == 500


@pytest.mark.parametrize("raise_app_exceptions", [True, False])
async def test_a_response_that_breaks_off_is_never_taken_for_a_whole_one(
    raise_app_exceptions: bool,
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(START)
        await send(body(b"half", more_body=True))

    communicator = HttpCommunicator(app, "GET", "/", raise_app_exceptions=raise_app_exceptions)
    with pytest.raises(ApplicationEnded, match="the rest of the response cannot come any more"):
        await communicator.get_response()


async def test_an_error_after_the_response_is_not_lost_nor_is_the_response() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(START)
        await send(body(b"fine"))
        raise LookupError("in the background")

    communicator = HttpCommunicator(app, "GET", "/")
    with pytest.raises(LookupError, match="in the background"):
        await communicator.get_response()
    assert (await communicator.get_response())["body"] == b"fine"


async def test_disconnect_raises_what_the_test_has_not_seen() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(START)
        await receive()
        raise LookupError("in the clean-up")

    communicator = HttpCommunicator(app, "GET", "/")
    await communicator.disconnect()  # nothing was begun
    await communicator.get_response_start()
    with pytest.raises(LookupError, match="in the clean-up"):
        await communicator.disconnect()
