"""Startup and shutdown around a test, of whole applications and of bare ones."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Annotated, Any, TypedDict

import pytest
from fastapi import Depends, FastAPI, WebSocket
from starlette.applications import Starlette
from starlette.requests import HTTPConnection, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute

from fast_channels.consumer import AsyncWebsocketConsumer
from fast_channels.types import Receive, Scope, Send
from fast_channels_testing import (
    ApplicationEnded,
    CommunicatorTimeout,
    HttpCommunicator,
    LifespanFailed,
    WebsocketCommunicator,
    lifespan,
)


class State(TypedDict):
    pool: list[str]


def make_lifespan(log: list[str], *, fails: str = "") -> Callable[[Any], Any]:
    @asynccontextmanager
    async def life(app: object) -> AsyncGenerator[State]:
        log.append("startup")
        if fails == "startup":
            raise LookupError("no database")
        yield {"pool": log}
        log.append("shutdown")
        if fails == "shutdown":
            raise LookupError("not flushed")

    return life


async def home(request: Request) -> Response:
    request.state.pool.append("request")
    request.state.mine = True
    return PlainTextResponse("home")


class Pooled(AsyncWebsocketConsumer):
    async def connect(self) -> None:
        self.scope["state"]["pool"].append("websocket")
        await self.accept()


def starlette_app(log: list[str], **options: Any) -> Starlette:
    return Starlette(
        routes=[Route("/", home), WebSocketRoute("/ws", Pooled.as_asgi())],
        lifespan=make_lifespan(log, **options),
    )


async def test_the_whole_life_of_an_application() -> None:
    log = list[str]()
    async with lifespan(starlette_app(log)) as running:
        assert log == ["startup"]
        assert running.state == {"pool": log}
        response = await HttpCommunicator(running, "GET", "/").get_response()
        assert response["body"] == b"home"
        async with WebsocketCommunicator(running, "/ws") as ws:
            await ws.settle(20)
        assert log == ["startup", "request", "websocket"]
        # Each connection has a copy of the state.
        assert running.state == {"pool": log}
    assert log[3:] == ["shutdown"]
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_state_of_the_test_goes_first() -> None:
    log, own = list[str](), list[str]()
    async with lifespan(starlette_app(log)) as running:
        client = HttpCommunicator(running, "GET", "/")
        client.scope["state"]["pool"] = own
        await client.get_response()
    assert own == ["request"]


def user_of_token(connection: HTTPConnection) -> str:
    raise LookupError("asks a service that tests have not got")


fastapi_app = FastAPI(lifespan=make_lifespan([]))


@fastapi_app.websocket("/whoami")
async def whoami(websocket: WebSocket, user: Annotated[str, Depends(user_of_token)]) -> None:
    await websocket.accept()
    await websocket.send_text(f"{user} of {len(websocket.state.pool)}")


class Named(AsyncWebsocketConsumer):
    async def connect(self) -> None:
        await self.accept()
        await self.send(self.scope["user"])


@fastapi_app.websocket("/consumer")
async def consumer(websocket: WebSocket, user: Annotated[str, Depends(user_of_token)]) -> None:
    websocket.scope["user"] = user
    await Named.as_asgi()(websocket)


async def test_dependency_overrides() -> None:
    fastapi_app.dependency_overrides[user_of_token] = lambda: "ada"
    try:
        async with lifespan(fastapi_app) as running:
            async with WebsocketCommunicator(running, "/whoami") as ws:
                assert await ws.receive_text() == "ada of 1"
            async with WebsocketCommunicator(running, "/consumer") as ws:
                assert await ws.receive_text() == "ada"
    finally:
        fastapi_app.dependency_overrides.clear()


@pytest.mark.parametrize(("phase", "error"), [("startup", "no database"), ("shutdown", "not flu")])
async def test_what_fails_is_raised(phase: str, error: str) -> None:
    log = list[str]()
    with pytest.raises(LookupError, match=error):
        async with lifespan(starlette_app(log, fails=phase)):
            log.append("block")
    assert log == (["startup"] if phase == "startup" else ["startup", "block", "shutdown"])
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_an_error_of_the_block_goes_first_and_the_application_is_shut_down() -> None:
    log = list[str]()
    with pytest.raises(ValueError, match="in the test") as caught:
        async with lifespan(starlette_app(log, fails="shutdown")):
            raise ValueError("in the test")
    assert log == ["startup", "shutdown"]
    assert caught.value.__notes__ == [
        "the shutdown of the application failed, too: LookupError('not flushed')"
    ]
    assert asyncio.all_tasks() == {asyncio.current_task()}


def answers(*answers: dict[str, str] | None) -> Callable[[Scope, Receive, Send], Awaitable[None]]:
    """An application that answers each lifespan event like this; None: it never does."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for answer in answers:
            await receive()
            if answer is None:
                await asyncio.Event().wait()
            else:
                await send(answer)

    return app


STARTED = {"type": "lifespan.startup.complete"}
STOPPED = {"type": "lifespan.shutdown.complete"}


@pytest.mark.parametrize(
    ("app", "error", "message"),
    [
        (answers(), ApplicationEnded, "an event from the application cannot come"),
        (
            answers({"type": "lifespan.startup.failed", "message": "no port"}),
            LifespanFailed,
            r"expected 'lifespan.startup.complete' .*, got .*'no port'",
        ),
        (answers(STOPPED), LifespanFailed, "expected 'lifespan.startup.complete'"),
        (answers(None), CommunicatorTimeout, r"test_lifespan\.py:\d+ in app"),
        (
            answers(STARTED, {"type": "lifespan.shutdown.failed"}),
            LifespanFailed,
            "expected 'lifespan.shutdown.complete'",
        ),
        (answers(STARTED, None), CommunicatorTimeout, r"test_lifespan\.py:\d+ in app"),
        (answers(STARTED, STOPPED, None), CommunicatorTimeout, "the end of the application"),
    ],
)
async def test_applications_that_fail_in_other_ways(
    app: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        async with lifespan(app, timeout=0.05):
            pass
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_an_application_whose_lifespan_ends_early_is_not_asked_again() -> None:
    async with lifespan(answers(STARTED)):
        pass


async def test_startup_and_shutdown_in_different_tasks() -> None:
    """As with fixtures of some runners; the lifespan itself is in one task."""
    tasks = list[object]()

    @asynccontextmanager
    async def life(app: object) -> AsyncGenerator[None]:
        tasks.append(asyncio.current_task())
        async with asyncio.timeout(None), asyncio.TaskGroup():
            yield
        tasks.append(asyncio.current_task())

    manager = lifespan(Starlette(lifespan=life))
    await asyncio.create_task(manager.__aenter__())
    await asyncio.create_task(manager.__aexit__(None, None, None))
    assert len(tasks) == 2
    assert tasks[0] is tasks[1]
