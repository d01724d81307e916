"""Endings by cancellation: the server's task is cancelled, or its event loop ends."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Never

import pytest

from fast_channels.layers import InMemoryChannelLayer
from fast_channels.types import Event

if TYPE_CHECKING:
    from conftest import Actor, Client, Scene, Serve


class Wait:
    """A handler that waits for something that never comes; ``entered`` is set when it does."""

    def __init__(self, after: Callable[[], Awaitable[object]] | None = None) -> None:
        self.entered = asyncio.Event()
        self.cancelled = 0
        self._after = after

    async def __call__(self, consumer: "Actor") -> None:
        self.entered.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            if self._after is not None:
                await self._after()


async def cancelled(client: "Client") -> None:
    """The server finds its own cancellation, and none of ours."""
    with pytest.raises(asyncio.CancelledError):
        await client.ended()


# Cancelling.


async def test_cancelled_while_idle(serve: "Serve", scene: "Scene") -> None:
    client = await serve.open(scene.app())
    client.task.cancel()
    await cancelled(client)
    scene.check(1006)
    assert scene.logged() == []


@pytest.mark.parametrize("handler", ["connect", "receive", "event"])
async def test_cancelled_in_a_handler(
    serve: "Serve", scene: "Scene", default_layer: InMemoryChannelLayer, handler: str
) -> None:
    wait = Wait()
    client = serve(scene.app(**{handler: wait}))
    client.give({"type": "websocket.connect"})
    client.text("go")
    if handler == "event":
        await client.next()
        await default_layer.group_send("room", {"type": "event"})
    await wait.entered.wait()
    client.task.cancel()
    await cancelled(client)
    assert wait.cancelled == 1
    scene.check(1006)
    assert scene.logged() == []


async def test_cancelled_before_it_began(serve: "Serve", scene: "Scene") -> None:
    client = serve(scene.app())
    client.task.cancel()
    await cancelled(client)
    assert scene.ends == []


@pytest.mark.parametrize("turns", range(8))
async def test_cancelled_at_every_turn_of_a_beginning(
    serve: "Serve", scene: "Scene", turns: int
) -> None:
    client = serve(scene.app())
    client.give({"type": "websocket.connect"})
    client.text("go")
    for _ in range(turns + 1):
        await asyncio.sleep(0)
    client.task.cancel()
    await cancelled(client)
    scene.check(1006)


@pytest.mark.parametrize("times", [1, 2, 5])
async def test_cancelling_does_not_break_off_disconnect(
    serve: "Serve", scene: "Scene", times: int
) -> None:
    entered, go_on = asyncio.Event(), asyncio.Event()
    finished: list[int] = []

    async def disconnect(consumer: "Actor") -> None:
        entered.set()
        await go_on.wait()
        finished.append(1)

    client = await serve.open(scene.app(disconnect=disconnect))
    client.give({"type": "websocket.disconnect", "code": 1001})
    await entered.wait()
    for _ in range(times):
        client.task.cancel()
        await asyncio.sleep(0)
    assert not client.task.done()
    go_on.set()
    await cancelled(client)
    assert finished == [1]
    scene.check(1001)


async def test_cancelled_again_and_again(serve: "Serve", scene: "Scene") -> None:
    """As anyio does, until the task ends. What is cleaning up is not cancelled again."""
    finished: list[str] = []

    async def clean_up() -> None:
        for _ in range(20):
            await asyncio.sleep(0)
        finished.append("handler")

    async def disconnect(consumer: "Actor") -> None:
        for _ in range(20):
            await asyncio.sleep(0)
        finished.append("disconnect")

    wait = Wait(clean_up)
    client = await serve.open(scene.app(receive=wait, disconnect=disconnect))
    client.text("go")
    await wait.entered.wait()
    while not client.task.done():
        client.task.cancel()
        await asyncio.sleep(0)
    await cancelled(client)
    assert finished == ["handler", "disconnect"]
    assert wait.cancelled == 1
    scene.check(1006)


async def test_the_clean_up_is_not_under_cancellation(serve: "Serve", scene: "Scene") -> None:
    """A task group and a timeout work in it as everywhere: they ask their task's count."""

    async def fail() -> Never:
        raise LookupError("in the group")

    async def disconnect(consumer: "Actor") -> None:
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
        with pytest.raises(ExceptionGroup):
            async with asyncio.TaskGroup() as group:
                group.create_task(fail())
                await asyncio.Event().wait()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.001):
                await asyncio.Event().wait()

    wait = Wait()
    client = await serve.open(scene.app(receive=wait, disconnect=disconnect))
    client.text("go")
    await wait.entered.wait()
    client.task.cancel()
    client.task.cancel()
    await cancelled(client)
    scene.check(1006)
    assert scene.logged() == []


async def test_a_handler_cleans_up_when_cancelled(serve: "Serve", scene: "Scene") -> None:
    steps: list[str] = []

    async def clean_up() -> None:
        await asyncio.sleep(0)
        steps.append("cleaned up")

    async def disconnect(consumer: "Actor") -> None:
        steps.append("disconnect")

    wait = Wait(clean_up)
    client = await serve.open(scene.app(receive=wait, disconnect=disconnect))
    client.text("go")
    await wait.entered.wait()
    client.task.cancel()
    await cancelled(client)
    assert steps == ["cleaned up", "disconnect"]
    scene.check(1006)


async def test_a_handler_that_keeps_its_cancellation_to_itself(
    serve: "Serve", scene: "Scene"
) -> None:
    entered = asyncio.Event()

    async def receive(consumer: "Actor") -> None:
        entered.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await consumer.send("still here")

    client = await serve.open(scene.app(receive=receive))
    client.text("go", "never handled")
    await entered.wait()
    client.task.cancel()
    await cancelled(client)
    scene.check(1006)


async def test_a_handler_that_raises_when_cancelled(serve: "Serve", scene: "Scene") -> None:
    async def fail() -> None:
        raise LookupError

    wait = Wait(fail)
    client = await serve.open(scene.app(receive=wait))
    client.text("go")
    await wait.entered.wait()
    client.task.cancel()
    await cancelled(client)
    scene.check(1006)
    assert scene.logged() == ["ERROR"]


async def test_under_a_timeout_of_the_server(serve: "Serve", scene: "Scene") -> None:
    app = scene.app(receive=Wait())

    async def limited(scope: Any, receive: Any, send: Any) -> None:
        task = asyncio.current_task()
        assert task is not None
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await app(scope, receive, send)
        assert task.cancelling() == 0

    client = await serve.open(limited)
    client.text("go")
    await client.ended()
    scene.check(1006)


async def test_the_servers_task_is_not_left_cancelled(serve: "Serve", scene: "Scene") -> None:
    """The end of the consumer stops a receive() that waits by cancelling it."""
    app = scene.app(receive=lambda consumer: consumer.close(4001))

    async def careful(scope: Any, receive: Any, send: Any) -> None:
        async with asyncio.timeout(20), asyncio.TaskGroup():
            await app(scope, receive, send)
            task = asyncio.current_task()
            assert task is not None
            assert task.cancelling() == 0
            await asyncio.sleep(0)

    client = await serve.open(careful)
    client.text("go")
    assert [event["code"] for event in await client.ended()] == [4001]
    scene.check(4001)


async def test_cancelled_while_it_closes(serve: "Serve", scene: "Scene") -> None:
    async def receive(consumer: "Actor") -> None:
        await consumer.close(4001)
        client.task.cancel()

    client = await serve.open(scene.app(receive=receive))
    client.text("go")
    await cancelled(client)
    scene.check(4001)


def test_the_event_loop_ends_with_open_connections(
    scene: "Scene", default_layer: InMemoryChannelLayer
) -> None:
    finished: list[int] = []

    async def disconnect(consumer: "Actor") -> None:
        await asyncio.sleep(0.001)
        finished.append(1)

    async def main() -> None:
        accepted, receiving = asyncio.Event(), asyncio.Queue[Event]()
        receiving.put_nowait({"type": "websocket.connect"})

        async def send(event: Any) -> None:
            accepted.set()

        app = scene.app(disconnect=disconnect)
        task = asyncio.ensure_future(app({"type": "websocket"}, receiving.get, send))
        await accepted.wait()
        assert not task.done()

    asyncio.run(main())
    assert finished == [1]
    scene.check(1006)
