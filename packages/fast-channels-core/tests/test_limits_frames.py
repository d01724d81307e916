"""Limits for frames: as a consumer's attribute and as middleware, with the same effect."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import pytest

from fast_channels.consumer import AsyncWebsocketConsumer
from fast_channels.limits import Limits, LimitsMiddleware
from fast_channels.types import ASGIApp, Event, Receive, Scope, Send

if TYPE_CHECKING:
    from conftest import Client, Serve

Wrap = Callable[[Limits], tuple[ASGIApp, list[Any]]]
"""An application with these limits, and what it gets: its frames, then the code of its end."""

GONE: Event = {"type": "websocket.disconnect", "code": 1006}
"""What a server says when the connection that it was to close is closed."""

SELDOM = 1e-6
"""Frames a second: none comes after the burst, as long as a test runs."""


def as_consumer(limits: Limits) -> tuple[ASGIApp, list[Any]]:
    given: list[Any] = []

    class Echo(AsyncWebsocketConsumer):
        async def receive(
            self, text_data: str | None = None, bytes_data: bytes | None = None
        ) -> None:
            given.append(text_data if text_data is not None else bytes_data)
            await self.send(text_data, bytes_data)

        async def disconnect(self, code: int, /) -> None:
            given.append(code)

    Echo.limits = limits
    return Echo.as_asgi(), given


def as_middleware(limits: Limits) -> tuple[ASGIApp, list[Any]]:
    given: list[Any] = []

    async def echo(scope: Scope, receive: Receive, send: Send) -> None:
        assert (await receive())["type"] == "websocket.connect"
        await send({"type": "websocket.accept"})
        while (event := await receive())["type"] == "websocket.receive":
            text, data = event.get("text"), event.get("bytes")
            given.append(text if text is not None else data)
            await send({"type": "websocket.send", "text": text, "bytes": data})
        given.append(event["code"])
        if event["code"] == 1001:
            return
        with pytest.raises(ConnectionError, match="too"):
            await send({"type": "websocket.send", "text": "too late"})

    return LimitsMiddleware(echo, limits=limits), given


wrappings = pytest.mark.parametrize("wrap", [as_consumer, as_middleware])


def texts(events: list[Event]) -> list[str | None]:
    return [event.get("text") for event in events if event["type"] == "websocket.send"]


def closes(events: list[Event]) -> list[tuple[int, str]]:
    return [
        (event["code"], event["reason"]) for event in events if event["type"] == "websocket.close"
    ]


async def reports(client: "Client", count: int) -> list[dict[str, Any]]:
    return [json.loads((await client.next())["text"]) for _ in range(count)]


# Frames that are closed for.


@wrappings
@pytest.mark.parametrize(
    ("limits", "good", "bad", "code", "reason"),
    [
        ({"frame_bytes": 4}, "1234", "12345", 1009, "limit.frame_bytes"),
        ({"frame_bytes": 4}, "\U0001f389", "\U0001f389!", 1009, "limit.frame_bytes"),
        ({"frame_bytes": 4}, b"1234", b"12345", 1009, "limit.frame_bytes"),
        ({"frame_bytes": 4}, "", "\udce9\udce9", 1009, "limit.frame_bytes"),
        ({"json_depth": 2}, "[[1]]", "[[[]]]", 1008, "limit.json_depth"),
        ({"json_depth": 2}, '["[[["]', '[{"a":[', 1008, "limit.json_depth"),
        ({"json_depth": 2}, b"[[[[", "[[[[", 1008, "limit.json_depth"),
        ({"frames_per_second": SELDOM}, "a", "b", 1008, "limit.rate"),
    ],
)
async def test_a_frame_over_a_limit_closes(
    serve: "Serve",
    counted: Callable[[], dict[str, int]],
    wrap: Wrap,
    limits: dict[str, Any],
    good: str | bytes,
    bad: str | bytes,
    code: int,
    reason: str,
) -> None:
    app, given = wrap(Limits(**limits))
    client = await serve.open(app)
    for frame in (good, bad, good):
        client.give({"type": "websocket.receive", _kind(frame): frame})
    client.give(GONE)
    events = await client.ended()
    assert [event["type"] for event in events] == ["websocket.send", "websocket.close"]
    assert [(each, "too" in text) for each, text in closes(events)] == [(code, True)]
    assert given == [good, code]
    assert counted()[reason] == 1
    # hypercorn never ends a connection of which frames are left.
    assert client.unread == 0


def _kind(frame: str | bytes) -> str:
    return "text" if isinstance(frame, str) else "bytes"


@wrappings
async def test_the_application_hears_of_the_end_while_the_server_waits_for_the_client(
    serve: "Serve", wrap: Wrap, settle: Callable[[], Awaitable[None]]
) -> None:
    # uvicorn's send() of a close frame returns when the client has answered it.
    answered = asyncio.Event()

    async def send(event: Any) -> None:
        await client.sent(event)
        if event["type"] == "websocket.close":
            await answered.wait()

    app, given = wrap(Limits(frame_bytes=1))
    client = serve(app, send=send)
    await client.open()
    client.text("too large")
    assert (await client.next())["type"] == "websocket.close"
    await settle()
    assert given == [1009]
    assert not client.task.done()
    answered.set()
    client.give(GONE)
    assert await client.ended() == []


@wrappings
async def test_cancelled_while_the_close_frame_is_on_its_way(
    serve: "Serve", monkeypatch: pytest.MonkeyPatch, wrap: Wrap
) -> None:
    monkeypatch.setattr("fast_channels._guard.CLOSE_TIMEOUT", 1000)
    closing = asyncio.Event()

    async def send(event: Any) -> None:
        await client.sent(event)
        if event["type"] == "websocket.close":
            closing.set()
            await asyncio.Event().wait()

    app, given = wrap(Limits(frame_bytes=1))
    client = serve(app, send=send)
    await client.open()
    client.text("too large")
    await closing.wait()
    client.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await client.ended()
    assert given == [1009]


@wrappings
async def test_a_server_that_waits_too_long_for_the_client_ends_it_itself(
    serve: "Serve", monkeypatch: pytest.MonkeyPatch, wrap: Wrap
) -> None:
    async def send(event: Any) -> None:
        await client.sent(event)
        if event["type"] == "websocket.close":
            await asyncio.Event().wait()

    monkeypatch.setattr("fast_channels._guard.CLOSE_TIMEOUT", 0.01)
    app, given = wrap(Limits(frame_bytes=1))
    client = serve(app, send=send)
    await client.open()
    client.text("too large")
    assert [code for code, _ in closes(await client.ended())] == [1009]
    assert given == [1009]


@wrappings
async def test_a_server_that_takes_few_codes_gets_another(serve: "Serve", wrap: Wrap) -> None:
    async def send(event: Any) -> None:
        if event["type"] == "websocket.close" and event["code"] < 3000:
            raise AssertionError("as daphne does")
        await client.sent(event)

    app, given = wrap(Limits(frame_bytes=1))
    client = serve(app, send=send)
    await client.open()
    client.text("too large")
    client.give(GONE)
    assert [code for code, _ in closes(await client.ended())] == [4009]
    assert given == [1009]


@wrappings
async def test_the_client_has_gone_when_it_is_to_be_closed(serve: "Serve", wrap: Wrap) -> None:
    async def send(event: Any) -> None:
        if event["type"] == "websocket.close":
            raise ConnectionResetError
        await client.sent(event)

    app, given = wrap(Limits(frame_bytes=1))
    client = serve(app, send=send)
    await client.open()
    client.text("too large")
    assert await client.ended() == []
    assert given == [1009]


async def test_an_application_that_goes_on_asking_gets_the_same_end(serve: "Serve") -> None:
    async def stubborn(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        turns: list[str] = []
        asyncio.get_running_loop().call_soon(turns.append, "somebody else's")
        ends = [await receive() for _ in range(3)]
        assert [end["code"] for end in ends] == [1009] * 3
        assert len(set(map(id, ends))) == 3
        assert turns

    client = await serve.open(LimitsMiddleware(stubborn, limits=Limits(frame_bytes=1)))
    client.text("too large", "never given to it")
    client.give(GONE)
    assert [code for code, _ in closes(await client.ended())] == [1009]


async def test_a_handler_that_is_sending_meanwhile(
    serve: "Serve", counted: Callable[[], dict[str, int]]
) -> None:
    sending, go_on = asyncio.Event(), asyncio.Event()

    async def send(event: Any) -> None:
        if event.get("text") == "slow":
            sending.set()
            await go_on.wait()
        await client.sent(event)

    app, given = as_consumer(Limits(frame_bytes=4))
    client = serve(app, send=send)
    await client.open()
    client.text("slow", "too large")
    await sending.wait()
    assert closes([await client.next()]) == [(1009, "a frame is too large: the limit is 4 bytes")]
    go_on.set()
    client.give(GONE)
    assert closes(await client.ended()) == []
    assert given == ["slow", 1009]


async def test_frames_before_the_handshake_is_complete(serve: "Serve") -> None:
    """uvicorn hands them over as they come."""
    ends: list[int] = []

    class Hesitant(AsyncWebsocketConsumer):
        limits = Limits(frame_bytes=1)

        async def connect(self) -> None:
            await go_on.wait()
            await self.accept()

        async def disconnect(self, code: int, /) -> None:
            ends.append(code)

    go_on = asyncio.Event()
    client = serve(Hesitant)
    client.give({"type": "websocket.connect"})
    client.text("too large")
    assert (await client.next())["type"] == "websocket.close"
    go_on.set()
    client.give(GONE)
    assert await client.ended() == []
    assert ends == [1009]


# Frames that are dropped and reported.


@wrappings
async def test_a_frame_over_a_limit_is_reported(
    serve: "Serve", counted: Callable[[], dict[str, int]], wrap: Wrap
) -> None:
    app, given = wrap(Limits(frame_bytes=6, json_depth=2, on_oversize="report"))
    client = await serve.open(app)
    client.text("[[[]]]", "one", "1234567", "two")
    deep, one, large, two = [await client.next() for _ in range(4)]
    assert json.loads(deep["text"]) == {
        "type": "error",
        "code": 1008,
        "error": "limit.json_depth",
        "message": "JSON is nested too deeply: the limit is 2 levels",
        "dropped": 1,
    }
    assert json.loads(large["text"])["error"] == "limit.frame_bytes"
    assert (one["text"], two["text"]) == ("one", "two")
    assert counted() == {"limit.json_depth": 1, "limit.frame_bytes": 1}
    await client.leave()
    assert given == ["one", "two", 1001]


async def test_reports_are_few_however_many_frames_are_dropped(
    serve: "Serve", counted: Callable[[], dict[str, int]]
) -> None:
    app, given = as_consumer(Limits(frame_bytes=1, on_oversize="report"))
    client = await serve.open(app)
    client.text(*["too large"] * 500, "!")
    while (text := (await client.next())["text"]) != "!":
        assert json.loads(text)["dropped"] == 1
    assert await client.leave() == []
    assert given == ["!", 1001]
    assert counted()["limit.frame_bytes"] == 500


async def test_a_report_says_how_many_were_dropped_since_the_last(
    serve: "Serve", counted: Callable[[], dict[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fast_channels._guard.REPORTS_AT_ONCE", 1)
    monkeypatch.setattr("fast_channels._guard.REPORTS_PER_SECOND", 100)
    events = ["websocket.connect"]
    ended = False

    async def receive() -> Event:
        kind = events.pop() if events else "websocket.receive"
        return {"type": "websocket.disconnect" if ended else kind, "text": "12", "code": 1001}

    app, _ = as_consumer(Limits(frame_bytes=1, on_oversize="report"))
    client = serve(app, receive=receive)
    assert (await client.next())["type"] == "websocket.accept"
    found = await reports(client, 3)
    ended = True
    await client.ended()
    assert found[0]["dropped"] == 1
    assert found[1]["dropped"] > 1
    assert sum(report["dropped"] for report in found) <= counted()["limit.frame_bytes"]


async def test_the_rate_is_reported_and_who_ignores_that_is_slowed_down(
    serve: "Serve",
    counted: Callable[[], dict[str, int]],
    settle: Callable[[], Awaitable[None]],
) -> None:
    app, given = as_consumer(Limits(frames_per_second=SELDOM, burst=3, on_excess="report"))
    client = await serve.open(app)
    client.text(*"abcdefghijklmnopqrstuvwxyz")
    events = [await client.next() for _ in range(7)]
    await settle()
    assert given == ["a", "b", "c"]
    sent = [event["text"] for event in events]
    assert [text for text in sent if text in "abc"] == ["a", "b", "c"]
    found = [json.loads(text) for text in sent if text not in "abc"]
    assert [report["error"] for report in found] == ["limit.rate"] * 4
    # Three are let through, three dropped, and after one more the client has to wait.
    assert counted() == {"limit.rate": 4}
    assert client.unread == 26 - 7
    client.task.cancel()


async def test_a_report_that_cannot_be_sent_ends_nothing(serve: "Serve") -> None:
    async def send(event: Any) -> None:
        if "error" in event.get("text", ""):
            raise RuntimeError("not accepted yet")
        await client.sent(event)

    app, given = as_consumer(Limits(frame_bytes=1, on_oversize="report"))
    client = serve(app, send=send)
    await client.open()
    client.text("too large", "!")
    assert (await client.next())["text"] == "!"
    await client.leave()
    assert given == ["!", 1001]


# Frames that have to wait.


@wrappings
async def test_delay_asks_the_server_for_nothing_until_it_is_time(
    serve: "Serve",
    counted: Callable[[], dict[str, int]],
    settle: Callable[[], Awaitable[None]],
    wrap: Wrap,
) -> None:
    app, given = wrap(Limits(frames_per_second=SELDOM, burst=2, on_excess="delay"))
    client = await serve.open(app)
    client.text(*"abcdef")
    await settle()
    assert given == ["a", "b"]
    assert client.unread == 3  # one is held
    assert counted() == {"limit.rate": 1}
    client.task.cancel()


async def test_delay_loses_nothing_and_keeps_the_order(serve: "Serve") -> None:
    app, given = as_consumer(Limits(frames_per_second=500, burst=1, on_excess="delay"))
    client = await serve.open(app)
    frames = [str(number) for number in range(30)]
    client.text(*frames)
    await client.leave()
    assert given == [*frames, 1001]


async def test_delay_sees_at_once_that_a_client_has_left(serve: "Serve") -> None:
    app, given = as_consumer(Limits(frames_per_second=SELDOM, on_excess="delay"))
    client = await serve.open(app)
    client.text("the only one")
    await client.leave()
    assert given == ["the only one", 1001]


async def test_a_handler_closes_while_a_frame_has_to_wait(serve: "Serve") -> None:
    ends: list[int] = []

    class Closing(AsyncWebsocketConsumer):
        limits = Limits(frames_per_second=SELDOM, on_excess="delay")

        async def receive(
            self, text_data: str | None = None, bytes_data: bytes | None = None
        ) -> None:
            while client.unread > 1:  # noqa: ASYNC110  # the application's own step
                await asyncio.sleep(0)
            await self.close(4001)

        async def disconnect(self, code: int, /) -> None:
            ends.append(code)

    client = await serve.open(Closing)
    client.text("a", "b", "c")
    assert [event["code"] for event in await client.ended()] == [4001]
    assert ends == [4001]


async def test_receive_that_is_cancelled_while_a_frame_waits_loses_none(serve: "Serve") -> None:
    given: list[str] = []

    async def impatient(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        while len(given) < 10:
            asking = asyncio.ensure_future(receive())
            for _ in range(3):
                await asyncio.sleep(0)
            asking.cancel()
            await asyncio.wait([asking])
            if not asking.cancelled():
                given.append(asking.result()["text"])

    limits = Limits(frames_per_second=500, burst=1, on_excess="delay")
    client = await serve.open(LimitsMiddleware(impatient, limits=limits))
    client.text(*"abcdefghij")
    await client.ended()
    assert given == list("abcdefghij")


@pytest.mark.parametrize("wait", ["delay", "report"])
async def test_cancelled_while_it_has_to_wait(
    serve: "Serve", settle: Callable[[], Awaitable[None]], wait: Any
) -> None:
    app, given = as_consumer(Limits(frames_per_second=SELDOM, on_excess=wait))
    client = await serve.open(app)
    client.text(*"abcdef")
    await settle()
    client.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await client.ended()
    assert given == ["a", 1006]


# Where there is nothing to limit.


@pytest.mark.parametrize("limits", [None, Limits(groups=3)])
async def test_without_a_limit_for_frames_nobody_looks_at_them(
    serve: "Serve", monkeypatch: pytest.MonkeyPatch, limits: Limits | None
) -> None:
    class Plain(AsyncWebsocketConsumer):
        pass

    Plain.limits = limits
    monkeypatch.setattr("fast_channels._guard.Guard", None)
    client = await serve.open(Plain)
    client.text("anything")
    assert await client.leave() == []


@pytest.mark.parametrize("kind", ["http", "lifespan"])
async def test_other_protocols_pass_through(kind: str) -> None:
    given: list[tuple[Any, ...]] = []

    async def inner(*arguments: Any) -> None:
        given.append(arguments)

    async def receive() -> Event:
        raise AssertionError("not called")

    async def send(event: Any) -> None:
        raise AssertionError("not called")

    app = LimitsMiddleware(inner, limits=Limits(frame_bytes=1), connections_per_client=1)
    scope = {"type": kind}
    await app(scope, receive, send)
    assert given == [(scope, receive, send)]


def test_the_attribute_is_checked_with_the_class() -> None:
    with pytest.raises(TypeError, match=r"Wrong\.limits must be a Limits or None, not 5"):

        class Wrong(AsyncWebsocketConsumer):  # pyright: ignore[reportUnusedClass]
            limits = 5  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]


def test_groups_are_no_affair_of_the_middleware() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None: ...

    with pytest.raises(ValueError, match="set it in the consumer's attribute limits"):
        LimitsMiddleware(app, limits=Limits(groups=5))
