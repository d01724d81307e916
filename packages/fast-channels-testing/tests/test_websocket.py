"""What the WebSocket client does and sees."""

import asyncio
import pickle
from typing import Any

import pytest

from fast_channels.exceptions import ConnectionStateError
from fast_channels.types import ASGIApp, Receive, Scope, Send
from fast_channels_testing import (
    ApplicationEnded,
    CommunicatorTimeout,
    UnexpectedFrame,
    WebsocketClosed,
    WebsocketCommunicator,
)


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    assert await receive() == {"type": "websocket.connect"}
    await send({"type": "websocket.accept"})
    while (event := await receive())["type"] == "websocket.receive":
        if event.get("text") == "boom":
            raise KeyError("boom")
        await send({**event, "type": "websocket.send"})


def sends(*events: dict[str, Any]) -> ASGIApp:
    """Return an application that sends this and then waits to be told that it is over."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        for event in events:
            await send(event)
        while (await receive())["type"] != "websocket.disconnect":
            pass

    return app


ACCEPT = {"type": "websocket.accept"}


async def test_text_bytes_and_json_there_and_back() -> None:
    communicator = WebsocketCommunicator(echo, "/ws/chat/")
    assert await communicator.connect() == (True, None)
    await communicator.send_to("héllo")
    await communicator.send_to(text_data="")
    await communicator.send_to(bytes_data=b"\x00\xff")
    await communicator.send_json_to({"message": ["hello", 1, None]})
    assert await communicator.receive_from() == "héllo"
    assert await communicator.receive_from() == ""
    assert await communicator.receive_from() == b"\x00\xff"
    assert await communicator.receive_json_from() == {"message": ["hello", 1, None]}
    assert await communicator.receive_nothing(timeout=0.01)
    await communicator.disconnect()


async def test_the_context_manager_disconnects_and_the_application_ends() -> None:
    events = list[str]()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while not events or events[-1] != "websocket.disconnect":
            events.append((await receive())["type"])
            if events == ["websocket.connect"]:
                await send(ACCEPT)

    async with WebsocketCommunicator(app, "/") as communicator:
        await communicator.connect()
        await communicator.send_to("x")
    assert events == ["websocket.connect", "websocket.receive", "websocket.disconnect"]
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_connection_never_made_is_not_disconnected() -> None:
    events = list[Any]()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        events.append(await receive())

    communicator = WebsocketCommunicator(app, "/")
    communicator.start()
    await communicator.disconnect()
    await WebsocketCommunicator(app, "/").disconnect()
    assert events == []


# The scope


async def test_the_scope_is_a_server_s() -> None:
    scope = WebsocketCommunicator(
        echo,
        "/ws/caf%C3%A9/ü?q=1&next=%2Fa b",
        headers=[("X-Token", "a"), (b"X-Token", b"b")],
        subprotocols=["chat.v2", "chat.v1"],
        cookies={"session": "abc", "theme": "dark"},
    ).scope
    assert scope["type"] == "websocket"
    assert scope["asgi"] == {"version": "3.0", "spec_version": "2.4"}
    assert scope["http_version"] == "1.1"
    assert scope["scheme"] == "ws"
    assert scope["path"] == "/ws/café/ü"
    assert scope["raw_path"] == b"/ws/caf%C3%A9/%C3%BC"
    assert scope["query_string"] == b"q=1&next=%2Fa%20b"
    assert scope["root_path"] == ""
    assert scope["client"] == ("127.0.0.1", 50000)
    assert scope["server"] == ("testserver", 80)
    assert scope["state"] == {}
    assert scope["subprotocols"] == ["chat.v2", "chat.v1"]
    assert scope["extensions"].keys() == {"websocket.http.response", "fast_channels.testing"}
    headers: list[tuple[bytes, bytes]] = scope["headers"]
    assert [value for name, value in headers if name == b"x-token"] == [b"a", b"b"]
    singles = dict(headers)
    assert singles[b"host"] == b"testserver"
    assert singles[b"upgrade"] == b"websocket"
    assert singles[b"sec-websocket-protocol"] == b"chat.v2, chat.v1"
    assert singles[b"cookie"] == b"session=abc; theme=dark"


async def test_headers_may_be_a_mapping_and_replace_the_usual_ones() -> None:
    headers = {"Host": "chat.example", "Sec-WebSocket-Protocol": "a, b"}
    scope = WebsocketCommunicator(echo, "/", headers, spec_version="2.3").scope
    assert [value for name, value in scope["headers"] if name == b"host"] == [b"chat.example"]
    assert scope["subprotocols"] == ["a", "b"]
    assert scope["asgi"]["spec_version"] == "2.3"


async def test_each_scope_is_its_own() -> None:
    first, second = (WebsocketCommunicator(echo, "/").scope for _ in range(2))
    first["state"]["x"] = first["extensions"]["x"] = 1
    assert "x" not in second["state"]
    assert "x" not in second["extensions"]


@pytest.mark.parametrize("path", ["", "ws/chat/", "ws://testserver/ws/"])
def test_a_path_starts_with_a_slash(path: str) -> None:
    with pytest.raises(ValueError, match="starts with '/', got"):
        WebsocketCommunicator(echo, path)


def test_a_query_is_text_or_names_and_values_and_given_one_way() -> None:
    def query_of(query: Any) -> bytes:
        return bytes(WebsocketCommunicator(echo, "/", query=query).scope["query_string"])

    assert query_of("a=1&b=c d") == b"a=1&b=c%20d"
    assert query_of({"a": "ü&", "b": 2}) == b"a=%C3%BC%26&b=2"
    assert query_of({}) == b""
    with pytest.raises(ValueError, match="not both"):
        WebsocketCommunicator(echo, "/?a=1", query={"a": 2})


@pytest.mark.parametrize("cookies", [{"a": "1; admin=1"}, {"": "x"}, {"a=b": "c"}, {"a": "x\r\n"}])
def test_a_cookie_that_would_be_cut_up_is_refused(cookies: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="it would be cut up"):
        WebsocketCommunicator(echo, "/", cookies=cookies)


def test_cookies_are_given_one_way() -> None:
    with pytest.raises(ValueError, match="not both ways"):
        WebsocketCommunicator(echo, "/", {"Cookie": "a=1"}, cookies={"b": "2"})


# The handshake


async def test_accept_with_subprotocol_and_headers() -> None:
    accept = {**ACCEPT, "subprotocol": "chat", "headers": [(b"x-room", b"1")]}
    communicator = WebsocketCommunicator(sends(accept), "/", subprotocols=["chat"])
    assert communicator.handshake_response is None
    assert await communicator.connect() == (True, "chat")
    assert communicator.handshake_response == {
        "status": 101,
        "headers": [(b"x-room", b"1")],
        "body": b"",
    }
    await communicator.disconnect()


async def test_a_refusal_is_1006_and_403_whatever_the_application_closed_with() -> None:
    seen = list[Any]()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.close", "code": 4403, "reason": "no"})
        seen.append(await receive())
        seen.append(await receive())

    communicator = WebsocketCommunicator(app, "/")
    assert await communicator.connect() == (False, 1006)
    assert communicator.handshake_response == {"status": 403, "headers": [], "body": b""}
    with pytest.raises(
        WebsocketClosed, match="refused the handshake with HTTP status 403"
    ) as caught:
        await communicator.receive_from(timeout=3600)
    assert (caught.value.code, caught.value.reason) == (1006, "")
    with pytest.raises(WebsocketClosed):
        await communicator.send_to("x")
    await communicator.disconnect()
    assert seen == [{"type": "websocket.disconnect", "code": 1006, "reason": ""}] * 2


async def test_a_denial_response_is_shown() -> None:
    app = sends(
        {"type": "websocket.http.response.start", "status": 401, "headers": [(b"x", b"y")]},
        {"type": "websocket.http.response.body", "body": b"log ", "more_body": True},
        {"type": "websocket.http.response.body", "body": b"in"},
    )
    async with WebsocketCommunicator(app, "/") as communicator:
        assert await communicator.connect() == (False, 1006)
        assert communicator.handshake_response == {
            "status": 401,
            "headers": [(b"x", b"y")],
            "body": b"log in",
        }
        with pytest.raises(WebsocketClosed, match="refused the handshake with HTTP status 401"):
            await communicator.receive_from()


@pytest.mark.parametrize(
    ("offered", "taken", "reason"),
    [
        (["chat", "v2"], None, r"no subprotocol was taken \(offered: 'chat', 'v2'\)"),
        (["chat"], "news", r"subprotocol 'news' was taken \(offered: 'chat'\)"),
        (None, "chat", r"subprotocol 'chat' was taken \(offered: none\)"),
    ],
)
async def test_a_handshake_that_no_browser_takes(
    offered: list[str] | None, taken: str | None, reason: str
) -> None:
    seen = list[Any]()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({**ACCEPT, "subprotocol": taken})
        with pytest.raises(OSError, match="the client has disconnected"):
            await send({"type": "websocket.send", "text": "x"})
        seen.append(await receive())

    communicator = WebsocketCommunicator(app, "/", subprotocols=offered)
    assert await communicator.connect() == (False, 1006)
    assert communicator.handshake_response is not None
    assert communicator.handshake_response["status"] == 101
    with pytest.raises(WebsocketClosed, match=f"client failed the handshake: {reason}"):
        await communicator.receive_from(timeout=3600)
    await communicator.disconnect()
    assert seen == [{"type": "websocket.disconnect", "code": 1006, "reason": ""}]


async def test_connect_waits_for_a_denial_to_be_complete() -> None:
    app = sends(
        {"type": "websocket.http.response.start", "status": 401},
        {"type": "websocket.http.response.body", "body": b"log ", "more_body": True},
    )
    communicator = WebsocketCommunicator(app, "/")
    with pytest.raises(CommunicatorTimeout, match="the answer to the handshake did not come"):
        await communicator.connect(timeout=0.01)
    await communicator.disconnect()


async def test_an_application_that_ends_without_an_answer() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()

    with pytest.raises(ApplicationEnded, match="application: it returned"):
        await WebsocketCommunicator(app, "/").connect()
    communicator = WebsocketCommunicator(app, "/", raise_app_exceptions=False)
    assert await communicator.connect() == (False, 1006)
    assert communicator.handshake_response == {"status": 500, "headers": [], "body": b""}


async def test_a_denial_that_breaks_off_is_no_answer() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.http.response.start", "status": 401})

    with pytest.raises(ApplicationEnded, match="the answer to the handshake cannot come"):
        await WebsocketCommunicator(app, "/").connect()


async def test_an_application_that_raises_in_the_handshake() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise LookupError("no such room")

    with pytest.raises(LookupError, match="no such room"):
        await WebsocketCommunicator(app, "/").connect()
    communicator = WebsocketCommunicator(app, "/", raise_app_exceptions=False)
    assert await communicator.connect() == (False, 1006)


async def test_connect_goes_on_after_a_timeout_and_returns_its_answer_again() -> None:
    accept = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert await receive() == {"type": "websocket.connect"}
        await accept.wait()
        await send(ACCEPT)
        assert (await receive())["type"] == "websocket.disconnect"

    communicator = WebsocketCommunicator(app, "/")
    with pytest.raises(CommunicatorTimeout):
        await communicator.connect(timeout=0.01)
    accept.set()
    assert await communicator.connect() == (True, None)
    assert await communicator.connect() == (True, None)
    await communicator.disconnect()


async def test_there_is_no_sending_or_receiving_before_connect() -> None:
    communicator = WebsocketCommunicator(echo, "/")
    with pytest.raises(ConnectionStateError, match=r"await connect\(\) first"):
        await communicator.send_to("x")
    with pytest.raises(ConnectionStateError, match=r"await connect\(\) first"):
        await communicator.receive_from()


# The block of `async with`


async def test_the_block_begins_with_an_open_connection() -> None:
    async with WebsocketCommunicator(echo, "/", query={"room": 1, "tag": ["a", "b c"]}) as ws:
        assert ws.scope["query_string"] == b"room=1&tag=a&tag=b+c"
        assert ws.handshake_response is not None
        assert await ws.receive_nothing(timeout=0)
        await ws.send_text("hello")
        await ws.send_bytes(b"\x00")
        await ws.send_json({"a": None})
        assert await ws.receive_text() == "hello"
        assert await ws.receive_bytes() == b"\x00"
        assert await ws.receive_json() == {"a": None}
        assert await ws.connect() == (True, None)
        assert await ws.connect() == (True, None)
        await ws.close(4000, "done")
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def refuses(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "websocket.close", "code": 4403})


async def test_a_refusal_can_be_looked_at_in_the_block() -> None:
    async with WebsocketCommunicator(refuses, "/") as ws:
        assert await ws.connect() == (False, 1006)
    async with WebsocketCommunicator(refuses, "/") as ws:
        assert ws.handshake_response is not None
    async with WebsocketCommunicator(refuses, "/") as ws:
        with pytest.raises(WebsocketClosed, match="refused the handshake"):
            await ws.send_text("x")


async def test_a_refusal_that_nobody_looked_at_is_told_at_the_end() -> None:
    with pytest.raises(WebsocketClosed, match="refused the handshake") as caught:
        async with WebsocketCommunicator(refuses, "/"):
            pass
    assert caught.value.code == 1006
    with pytest.raises(ValueError, match="of the test"):
        async with WebsocketCommunicator(refuses, "/"):
            raise ValueError("of the test")
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_an_error_in_the_handshake_is_raised_in_the_block() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise LookupError("no such room")

    async with WebsocketCommunicator(app, "/") as ws:
        with pytest.raises(LookupError, match="no such room"):
            await ws.receive_text()
    with pytest.raises(LookupError, match="no such room"):
        async with WebsocketCommunicator(app, "/"):
            pass


async def test_a_handshake_without_an_answer_is_told_at_the_end() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive())["type"] != "websocket.disconnect":
            pass

    with pytest.raises(CommunicatorTimeout, match=r"answer to the handshake (?s:.*)-> websocket.c"):
        async with WebsocketCommunicator(app, "/", timeout=0) as ws:
            ws.timeout = 20


async def test_a_handshake_that_takes_its_time_ends_in_the_block() -> None:
    accept = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await accept.wait()
        await send({**ACCEPT, "subprotocol": "chat"})
        await send({**await receive(), "type": "websocket.send"})
        await receive()

    async with WebsocketCommunicator(app, "/", subprotocols=["chat"], timeout=0) as ws:
        with pytest.raises(CommunicatorTimeout, match="the answer to the handshake did not come"):
            await ws.receive_text()
        ws.timeout = 20
        accept.set()
        await ws.send_text("x")
        assert await ws.receive_text() == "x"
        assert await ws.connect() == (True, "chat")


async def test_a_connection_that_is_open_already_is_not_opened_again() -> None:
    ws = WebsocketCommunicator(echo, "/")
    await ws.connect()
    async with ws:
        await ws.send_text("x")
        assert await ws.receive_text() == "x"


async def test_a_block_that_is_cancelled_before_it_begins_leaves_no_application() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.Event().wait()

    async def test() -> None:
        async with WebsocketCommunicator(app, "/"):
            raise AssertionError("the block was entered")

    task = asyncio.create_task(test())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert asyncio.all_tasks() == {asyncio.current_task()}


# Frames


@pytest.mark.parametrize("call", ["receive_text", "receive_bytes"])
async def test_a_frame_of_the_other_kind_is_shown(call: str) -> None:
    async with WebsocketCommunicator(echo, "/") as ws:
        await (ws.send_bytes(b"data") if call == "receive_text" else ws.send_text("data"))
        with pytest.raises(UnexpectedFrame, match=r"got the (bytes b|text )'data'"):
            await getattr(ws, call)()


@pytest.mark.parametrize(
    ("text", "data"), [(None, None), ("a", b"a"), (b"a", None), (None, "a"), (1, None)]
)
async def test_send_to_takes_one_text_or_bytes(text: Any, data: Any) -> None:
    async with WebsocketCommunicator(echo, "/") as communicator:
        await communicator.connect()
        with pytest.raises(TypeError, match="either text_data, a str, or bytes_data, bytes"):
            await communicator.send_to(text, data)


@pytest.mark.parametrize(
    ("frame", "message"),
    [({"bytes": b"{}"}, "expected JSON in a text frame"), ({"text": "{"}, "expected JSON, got")],
)
async def test_receive_json_from_says_what_came_instead(frame: Any, message: str) -> None:
    async with WebsocketCommunicator(
        sends(ACCEPT, {"type": "websocket.send", **frame}), "/"
    ) as communicator:
        await communicator.connect()
        with pytest.raises(UnexpectedFrame, match=message):
            await communicator.receive_json_from()


async def test_a_close_of_the_application() -> None:
    seen = list[Any]()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        await send({"type": "websocket.send", "text": "last words"})
        await send({"type": "websocket.close", "code": 4001, "reason": "bye"})
        seen.append(await receive())

    communicator = WebsocketCommunicator(app, "/")
    await communicator.connect()
    with pytest.raises(WebsocketClosed):
        await communicator.send_to("too late")
    assert await communicator.receive_from() == "last words"
    for _ in range(2):
        with pytest.raises(WebsocketClosed, match="the application closed it") as caught:
            await communicator.receive_from(timeout=3600)
        assert (caught.value.code, caught.value.reason) == (4001, "bye")
    await communicator.disconnect()
    assert seen == [{"type": "websocket.disconnect", "code": 4001, "reason": "bye"}]


def test_the_error_of_a_closed_connection_can_be_pickled() -> None:
    error = WebsocketClosed(4001, "bye", "the application closed it")
    copy: WebsocketClosed = pickle.loads(pickle.dumps(error))
    assert (copy.code, copy.reason, str(copy)) == (4001, "bye", str(error))


async def test_a_close_can_be_read_as_an_event() -> None:
    close = {"type": "websocket.close", "code": 1000}
    async with WebsocketCommunicator(sends(ACCEPT, close), "/") as communicator:
        await communicator.connect()
        assert not await communicator.receive_nothing(timeout=3600)
        assert await communicator.receive_output() == close


async def test_an_application_that_just_returns_is_an_abnormal_close() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        await send({"type": "websocket.send", "text": "one"})

    communicator = WebsocketCommunicator(app, "/")
    await communicator.connect()
    assert await communicator.receive_from() == "one"
    with pytest.raises(WebsocketClosed, match="ended without a close frame") as caught:
        await communicator.receive_from(timeout=3600)
    assert caught.value.code == 1006
    await communicator.disconnect()


async def test_without_raising_a_test_sees_what_a_client_sees_of_an_error() -> None:
    communicator = WebsocketCommunicator(echo, "/", raise_app_exceptions=False)
    await communicator.connect()
    await communicator.send_to("boom")
    with pytest.raises(WebsocketClosed) as caught:
        await communicator.receive_from()
    assert caught.value.code == 1006
    await communicator.disconnect()


@pytest.mark.parametrize("call", ["send_to", "receive_from", "receive_nothing", "disconnect"])
async def test_an_error_of_the_application_reaches_every_kind_of_call(call: str) -> None:
    communicator = WebsocketCommunicator(echo, "/")
    await communicator.connect()
    await communicator.send_to("boom")
    if call == "send_to":
        await asyncio.sleep(0)
    with pytest.raises(KeyError, match="boom"):
        await getattr(communicator, call)(*["x"] if call == "send_to" else [])
    await communicator.disconnect()


# The end


async def test_disconnect_comes_after_the_frames_sent_before_it() -> None:
    seen = list[Any]()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        seen.extend([await receive(), await receive(), await receive()])

    communicator = WebsocketCommunicator(app, "/")
    await communicator.connect()
    await communicator.send_to("a")
    await communicator.send_to("b")
    await communicator.disconnect(code=4000, reason="going")
    assert [event.get("text") for event in seen[:2]] == ["a", "b"]
    assert seen[2] == {"type": "websocket.disconnect", "code": 4000, "reason": "going"}


async def test_a_client_that_leaves_in_the_handshake_has_no_code() -> None:
    seen = list[Any]()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.extend([await receive(), await receive()])
        await send(ACCEPT)

    communicator = WebsocketCommunicator(app, "/")
    with pytest.raises(CommunicatorTimeout):
        await communicator.connect(timeout=0.01)
    await communicator.disconnect()
    assert seen[1] == {"type": "websocket.disconnect", "code": 1006, "reason": ""}


async def test_sending_to_a_client_that_is_gone_raises_oserror_in_the_application() -> None:
    errors = list[BaseException]()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        await receive()
        for kind in ("websocket.send", "websocket.close"):
            try:
                await send({"type": kind, "text": "x"})
            except OSError as error:
                errors.append(error)

    communicator = WebsocketCommunicator(app, "/")
    await communicator.connect()
    await communicator.disconnect()
    assert len(errors) == 2
    # What it sent did not arrive, and a second disconnect has nothing to do.
    with pytest.raises(WebsocketClosed, match="the client closed it"):
        await communicator.receive_from()
    await communicator.disconnect()


async def test_that_oserror_may_pass_out_of_the_application() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        await receive()
        await send({"type": "websocket.send", "text": "x"})

    communicator = WebsocketCommunicator(app, "/")
    await communicator.connect()
    await communicator.disconnect()


async def test_disconnect_says_so_when_the_application_does_not_end() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        await asyncio.Event().wait()

    communicator = WebsocketCommunicator(app, "/")
    await communicator.connect()
    with pytest.raises(CommunicatorTimeout, match="the end of the application did not come"):
        await communicator.disconnect(timeout=0.01)
    await communicator.stop()


async def test_an_application_that_reads_on_and_on_does_not_stop_the_test() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(ACCEPT)
        while True:
            await receive()

    communicator = WebsocketCommunicator(app, "/")
    await communicator.connect()
    with pytest.raises(CommunicatorTimeout):
        await communicator.disconnect(timeout=0.05)
    await communicator.stop()


async def test_the_raw_calls_know_the_same_connection() -> None:
    communicator = WebsocketCommunicator(echo, "/")
    await communicator.send_input({"type": "websocket.connect"})
    assert await communicator.receive_output() == ACCEPT
    await communicator.send_to("x")
    assert await communicator.receive_output() == {"type": "websocket.send", "text": "x"}
    await communicator.send_input({"type": "websocket.disconnect", "code": 1001})
    await communicator.wait()
    with pytest.raises(WebsocketClosed) as caught:
        await communicator.receive_from()
    assert caught.value.code == 1001
