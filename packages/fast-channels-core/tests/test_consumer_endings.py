"""Endings that the client or the application brings about: disconnect runs once, and last."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from fast_channels.exceptions import AcceptConnection, DenyConnection, StopConsumer
from fast_channels.layers import InMemoryChannelLayer
from fast_channels.types import Event

if TYPE_CHECKING:
    from conftest import Actor, Client, Scene, Serve

Act = Callable[["Actor"], Awaitable[None]]


def raising(error: type[BaseException]) -> Act:
    async def act(consumer: "Actor") -> None:
        raise error

    return act


def closing(*arguments: Any) -> Act:
    return lambda consumer: consumer.close(*arguments)


def sending(text: str, close: bool | int = False) -> Act:
    return lambda consumer: consumer.send(text, close=close)


def codes(events: list[Event]) -> list[int]:
    """The codes that the client is sent."""
    return [event["code"] for event in events if event["type"] == "websocket.close"]


# By the client.


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"code": 1000}, 1000),
        ({"code": 1001, "reason": "moved on"}, 1001),
        ({"code": 1005}, 1005),
        ({"code": 1006, "reason": None}, 1006),
        ({"code": 4999}, 4999),
        ({}, 1005),
        ({"code": None}, 1005),
    ],
)
async def test_the_client_leaves(
    serve: "Serve",
    scene: "Scene",
    fields: Event,
    code: int,
) -> None:
    client = await serve.open(scene.app())
    client.give({"type": "websocket.disconnect", **fields})
    assert await client.ended() == []
    scene.check(code)
    assert scene.logged() == []


async def test_the_client_leaves_while_connect_runs(serve: "Serve", scene: "Scene") -> None:
    entered, go_on = asyncio.Event(), asyncio.Event()

    async def connect(consumer: "Actor") -> None:
        entered.set()
        await go_on.wait()
        await consumer.accept()
        await consumer.send("hello")

    client = serve(scene.app(connect=connect))
    client.give({"type": "websocket.connect"})
    await entered.wait()
    client.give({"type": "websocket.disconnect", "code": 1006})
    while client.unread:  # noqa: ASYNC110  # the application's own step
        await asyncio.sleep(0)
    go_on.set()
    assert await client.ended() == []
    scene.check(1006)
    assert scene.counted()["send.after_close"] == 2


async def test_the_client_leaves_while_a_handler_is_busy(serve: "Serve", scene: "Scene") -> None:
    entered, go_on = asyncio.Event(), asyncio.Event()

    async def receive(consumer: "Actor") -> None:
        entered.set()
        await go_on.wait()
        assert scene.ends == []
        await consumer.send("to nobody", close=True)

    client = await serve.open(scene.app(receive=receive))
    client.text("go")
    await entered.wait()
    client.give({"type": "websocket.disconnect", "code": 1001})
    while client.unread:  # noqa: ASYNC110  # the application's own step
        await asyncio.sleep(0)
    go_on.set()
    assert await client.ended() == []
    scene.check(1001)
    assert scene.counted()["send.after_close"] == 1


async def test_the_client_leaves_before_it_was_connected(serve: "Serve", scene: "Scene") -> None:
    client = serve(scene.app())
    assert await client.leave(1006) == []
    scene.check(1006)


# By the application.


@pytest.mark.parametrize(
    ("connect", "sent", "code"),
    [
        (closing(4003, "no"), ["websocket.close 4003"], 4003),
        (raising(DenyConnection), ["websocket.close 1000"], 1000),
        (raising(StopConsumer), ["websocket.close 1000"], 1000),
        (raising(LookupError), ["websocket.accept", "websocket.close 1011"], 1011),
    ],
)
async def test_ended_in_connect(
    serve: "Serve", scene: "Scene", connect: Act, sent: list[str], code: int
) -> None:
    client = serve(scene.app(connect=connect))
    client.give({"type": "websocket.connect"})
    assert [
        f"{event['type']} {event.get('code', '')}".strip() for event in await client.ended()
    ] == sent
    scene.check(code)


@pytest.mark.parametrize("handler", ["receive", "event"])
@pytest.mark.parametrize(
    ("act", "code"),
    [
        (closing(), 1000),
        (closing(4001, "bye"), 4001),
        (sending("bye", close=4002), 4002),
        (raising(StopConsumer), 1000),
        (raising(LookupError), 1011),
        (raising(AcceptConnection), 1011),
        (raising(DenyConnection), 1011),
        (raising(asyncio.CancelledError), 1011),
        (raising(asyncio.TimeoutError), 1011),
        (raising(StopAsyncIteration), 1011),
    ],
)
async def test_ended_in_a_handler(
    serve: "Serve",
    default_layer: InMemoryChannelLayer,
    scene: "Scene",
    handler: str,
    act: Act,
    code: int,
) -> None:
    client = await serve.open(scene.app(**{handler: act}))
    if handler == "receive":
        client.text("go")
    await default_layer.group_send("room", {"type": "event"})
    assert codes(await client.ended()) == [code]
    scene.check(code)


async def test_ended_by_a_task_of_the_application(serve: "Serve", scene: "Scene") -> None:
    tasks: list[asyncio.Task[None]] = []

    async def receive(consumer: "Actor") -> None:
        tasks.append(asyncio.create_task(consumer.close(4001)))

    client = await serve.open(scene.app(receive=receive))
    client.text("go")
    assert codes(await client.ended()) == [4001]
    await asyncio.gather(*tasks)
    scene.check(4001)


async def test_the_handler_that_closes_goes_on(serve: "Serve", scene: "Scene") -> None:
    steps: list[str] = []

    async def receive(consumer: "Actor") -> None:
        await consumer.close(4001)
        await asyncio.sleep(0)
        steps.append(f"disconnected: {scene.ends}")

    client = await serve.open(scene.app(receive=receive))
    client.text("go", "never handled")
    await client.ended()
    assert steps == ["disconnected: []"]
    scene.check(4001)


@pytest.mark.parametrize(
    ("on_error", "code", "errors"),
    [
        (closing(4500), 4500, 0),
        (raising(StopConsumer), 1000, 0),
        (raising(ZeroDivisionError), 1011, 1),
        (raising(asyncio.CancelledError), 1011, 1),
    ],
)
async def test_ended_in_on_error(
    serve: "Serve",
    scene: "Scene",
    on_error: Act,
    code: int,
    errors: int,
) -> None:
    app = scene.app(receive=raising(LookupError), on_error=on_error)
    client = await serve.open(app)
    client.text("go")
    assert codes(await client.ended()) == [code]
    scene.check(code)
    assert scene.logged() == ["ERROR"] * errors


async def test_an_error_that_is_forgiven_ends_nothing(serve: "Serve", scene: "Scene") -> None:
    async def forgive(consumer: "Actor") -> None:
        await consumer.send("never mind")

    app = scene.app(receive=raising(LookupError), on_error=forgive)
    client = await serve.open(app)
    client.text("one", "two")
    assert [(await client.next())["text"] for _ in range(2)] == ["never mind"] * 2
    assert await client.leave(1001) == []
    scene.check(1001)


@pytest.mark.parametrize(
    ("disconnect", "errors"),
    [
        (raising(LookupError), 1),
        (raising(asyncio.CancelledError), 1),
        (raising(StopConsumer), 0),
        (closing(4001), 0),
    ],
)
async def test_what_disconnect_does_changes_nothing(
    serve: "Serve",
    scene: "Scene",
    disconnect: Act,
    errors: int,
) -> None:
    client = await serve.open(scene.app(disconnect=disconnect))
    assert await client.leave(1001) == []
    scene.check(1001)
    assert scene.logged() == ["ERROR"] * errors


# Nobody waits for somebody who may not answer.


async def test_disconnect_does_not_wait_for_the_clients_answer(
    serve: "Serve", scene: "Scene"
) -> None:
    answered, disconnected = asyncio.Event(), asyncio.Event()

    async def send(event: Any) -> None:
        if event["type"] == "websocket.close":
            await answered.wait()
        await client.sent(event)

    async def receive(consumer: "Actor") -> None:
        await consumer.close(4001)

    async def disconnect(consumer: "Actor") -> None:
        disconnected.set()

    client = serve(scene.app(receive=receive, disconnect=disconnect), send=send)
    await client.open()
    client.text("go")
    await disconnected.wait()
    assert not client.task.done()
    answered.set()
    assert codes(await client.ended()) == [4001]
    scene.check(4001)


async def test_a_client_that_never_answers_is_given_up(serve: "Serve", scene: "Scene") -> None:
    async def send(event: Any) -> None:
        if event["type"] == "websocket.close":
            await asyncio.Event().wait()
        await client.sent(event)

    async def receive(consumer: "Actor") -> None:
        consumer.close_timeout = 0.01
        await consumer.close(4001)

    client = serve(scene.app(receive=receive), send=send)
    await client.open()
    client.text("go")
    assert await client.ended() == []
    scene.check(4001)
    assert scene.logged() == ["DEBUG"]


async def test_a_server_that_does_not_heed_its_cancellation_is_given_up(
    serve: "Serve", scene: "Scene"
) -> None:
    """As `websockets` does in uvicorn: it goes on waiting for a client that does not answer."""
    cancellations = 0

    async def send(event: Any) -> None:
        nonlocal cancellations
        while event["type"] == "websocket.close" and cancellations < 2:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancellations += 1
        await client.sent(event)

    async def receive(consumer: "Actor") -> None:
        consumer.close_timeout = 0.01
        await consumer.close(4001)

    client = serve(scene.app(receive=receive), send=send)
    await client.open()
    client.text("go")
    assert codes(await client.ended()) == [4001]
    assert cancellations == 2
    scene.check(4001)


async def test_the_client_is_told_while_a_handler_is_busy(serve: "Serve", scene: "Scene") -> None:
    consumers: list[Actor] = []
    go_on = asyncio.Event()

    async def receive(consumer: "Actor") -> None:
        consumers.append(consumer)
        await go_on.wait()

    client = await serve.open(scene.app(receive=receive))
    client.text("go")
    while not consumers:  # noqa: ASYNC110  # the application's own step
        await asyncio.sleep(0)
    await consumers[0].close(4001)
    assert (await client.next())["code"] == 4001
    assert scene.ends == []
    go_on.set()
    assert await client.ended() == []
    scene.check(4001)


async def test_events_that_wait_when_the_client_leaves_are_dropped(
    serve: "Serve", default_layer: InMemoryChannelLayer, scene: "Scene"
) -> None:
    entered, go_on = asyncio.Event(), asyncio.Event()
    handled: list[str] = []

    async def receive(consumer: "Actor") -> None:
        entered.set()
        await go_on.wait()

    async def event(consumer: "Actor") -> None:
        handled.append("event")

    client = await serve.open(scene.app(receive=receive, event=event))
    client.text("go")
    await entered.wait()
    await default_layer.group_send("room", {"type": "event"})
    client.give({"type": "websocket.disconnect", "code": 1001})
    while client.unread:  # noqa: ASYNC110  # the application's own step
        await asyncio.sleep(0)
    go_on.set()
    await client.ended()
    assert handled == []
    scene.check(1001)


# cancel_on_disconnect


async def hasty(serve: "Serve", scene: "Scene", **acts: Act) -> "Client":
    app = scene.app(**acts)
    app.consumer_class = type("Hasty", (app.consumer_class,), {"cancel_on_disconnect": True})
    return await serve.open(app)


async def test_the_busy_handler_is_cancelled(serve: "Serve", scene: "Scene") -> None:
    steps: list[str] = []
    entered = asyncio.Event()

    async def receive(consumer: "Actor") -> None:
        entered.set()
        try:
            await asyncio.Event().wait()
        finally:
            # Its clean-up is not broken off, too.
            await asyncio.sleep(0)
            steps.append(f"cleaned up, {scene.ends}")

    client = await hasty(serve, scene, receive=receive)
    # The leaving is noticed behind frames that wait.
    client.text("go", "waits", "waits, too")
    await entered.wait()
    assert await client.leave(1001) == []
    assert steps == ["cleaned up, []"]
    scene.check(1001)
    assert scene.logged() == []


async def test_a_handler_that_is_not_busy_is_not_cancelled(serve: "Serve", scene: "Scene") -> None:
    client = await hasty(serve, scene)
    assert await client.leave(1001) == []
    scene.check(1001)
    assert scene.logged() == []


async def test_a_handler_may_resist(serve: "Serve", scene: "Scene") -> None:
    entered = asyncio.Event()
    steps: list[str] = []

    async def receive(consumer: "Actor") -> None:
        entered.set()
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        await asyncio.sleep(0)
        steps.append("resisted")

    client = await hasty(serve, scene, receive=receive)
    client.text("go", "never handled")
    await entered.wait()
    assert await client.leave(1001) == []
    assert steps == ["resisted"]
    scene.check(1001)


async def test_only_so_much_is_read_ahead(serve: "Serve", scene: "Scene") -> None:
    entered, go_on = asyncio.Event(), asyncio.Event()

    async def receive(consumer: "Actor") -> None:
        entered.set()
        await go_on.wait()

    client = await hasty(serve, scene, receive=receive)
    client.text(*map(str, range(100)))
    await entered.wait()
    unread = -1
    while client.unread != unread:
        unread = client.unread
        await asyncio.sleep(0)
    assert unread == 100 - 1 - 32
    go_on.set()
    assert await client.leave(1001) == []
    scene.check(1001)
