"""How many WebSockets a client may have at a time."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import TYPE_CHECKING, Any

import pytest

from fast_channels.limits import Limits, LimitsMiddleware, by_user
from fast_channels.types import Event, Receive, Scope, Send

if TYPE_CHECKING:
    from conftest import Serve

DENIAL: dict[str, Any] = {"websocket.http.response": {}}


async def patient(scope: Scope, receive: Receive, send: Send) -> None:
    while (event := await receive())["type"] != "websocket.disconnect":
        if event["type"] == "websocket.connect":
            await send({"type": "websocket.accept"})
        elif event["text"] == "raise":
            raise LookupError


def limited(allowed: int, **options: Any) -> LimitsMiddleware:
    return LimitsMiddleware(patient, connections_per_client=allowed, **options)


def is_empty(app: LimitsMiddleware) -> bool:
    return not app._open  # pyright: ignore[reportPrivateUsage]  # the table that must not grow


async def refused(serve: "Serve", app: LimitsMiddleware, **scope: Any) -> list[Event]:
    client = serve(app, **scope)
    client.give({"type": "websocket.connect"})
    return await client.ended()


@pytest.mark.parametrize(
    ("scope", "answer"),
    [
        ({}, [("websocket.close", 1008)]),
        ({"extensions": None}, [("websocket.close", 1008)]),
        ({"extensions": {"tls": {}}}, [("websocket.close", 1008)]),
        (
            {"extensions": DENIAL},
            [("websocket.http.response.start", 429), ("websocket.http.response.body", None)],
        ),
    ],
)
async def test_one_more_is_refused(
    serve: "Serve",
    counted: Callable[[], dict[str, int]],
    scope: dict[str, Any],
    answer: list[tuple[str, int | None]],
) -> None:
    app = limited(2)
    clients = [await serve.open(app) for _ in range(2)]
    events = await refused(serve, app, **scope)
    assert [(event["type"], event.get("code") or event.get("status")) for event in events] == answer
    assert counted() == {"limit.connections": 1}
    other = await serve.open(app, client=["::2", 5])
    await clients.pop().leave()
    clients.append(await serve.open(app))
    for client in (*clients, other):
        await client.leave()
    assert is_empty(app)


async def test_who_has_left_before_it_is_refused_gets_no_answer(serve: "Serve") -> None:
    app = limited(1)
    client = await serve.open(app)
    assert await serve(app).leave() == []
    await client.leave()
    assert is_empty(app)


async def test_connections_count_before_they_are_accepted(
    serve: "Serve", settle: Callable[[], Awaitable[None]]
) -> None:
    app = limited(1)
    client = serve(app)
    await settle()
    assert [event["type"] for event in await refused(serve, app)] == ["websocket.close"]
    await client.leave()
    assert is_empty(app)


async def test_however_a_connection_ends_it_is_counted_no_more(serve: "Serve") -> None:
    app = limited(3, limits=Limits(frame_bytes=5))
    raising, cancelled, closed = [await serve.open(app) for _ in range(3)]
    raising.text("raise")
    with pytest.raises(LookupError):
        await raising.ended()
    cancelled.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelled.ended()
    closed.text("too large")
    closed.give({"type": "websocket.disconnect", "code": 1006})
    assert [event["code"] for event in await closed.ended()] == [1009]
    assert is_empty(app)


async def test_clients_are_who_the_application_says(serve: "Serve") -> None:
    def key(scope: Scope) -> Hashable | None:
        name: str | None = scope["who"]
        return name

    app = limited(1, client_key=key)
    clients = [await serve.open(app, who=who) for who in ("ada", "bob", None, None)]
    assert len(await refused(serve, app, who="ada")) == 1
    for client in clients:
        await client.leave()
    assert is_empty(app)


async def test_a_user_is_one_client_at_any_address(serve: "Serve") -> None:
    class User:
        is_authenticated = True
        pk = 7

    app = limited(1, client_key=by_user)
    client = await serve.open(app, user=User())
    assert len(await refused(serve, app, user=User(), client=["::2", 5])) == 1
    stranger = await serve.open(app)
    await client.leave()
    await stranger.leave()
    assert is_empty(app)


async def test_without_a_number_nobody_is_counted(serve: "Serve") -> None:
    def key(scope: Scope) -> Hashable | None:
        raise AssertionError("not called")

    app = LimitsMiddleware(patient, client_key=key)
    clients = [await serve.open(app) for _ in range(50)]
    for client in clients:
        await client.leave()


@pytest.mark.parametrize(("allowed", "error"), [(0, ValueError), ("9", TypeError)])
def test_numbers_that_make_no_sense(allowed: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="connections_per_client"):
        limited(allowed)
