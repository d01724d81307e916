"""The consumers in a Litestar application: in views of its own, and as ASGI applications."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from consumers import Chat, Control, Described, Ending, Faulty, Mirror, Stream
from litestar import Litestar, Request, WebSocket, asgi, post, websocket
from litestar.connection import ASGIConnection
from litestar.exceptions import NotAuthorizedException
from litestar.handlers import ASGIRouteHandler, BaseRouteHandler
from reporting import report_log

from fast_channels.consumer import AsyncConsumer
from fast_channels.layers import (
    InMemoryChannelLayer,
    channel_layers_lifespan,
    get_channel_layer,
    group_name,
    register_channel_layer,
)
from fast_channels.types import Receive, Scope, Send

report_log()


@asynccontextmanager
async def lifespan(app: Litestar) -> AsyncGenerator[None]:
    register_channel_layer("default", InMemoryChannelLayer(capacity=10_000))
    async with channel_layers_lifespan(app):
        yield


def allowed(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    if connection.query_params.get("token") != "secret":
        raise NotAuthorizedException


@post("/announce/{room:str}", status_code=200)
async def announce(request: Request[Any, Any, Any]) -> dict[str, str]:
    room, text = request.path_params["room"], request.query_params["text"]
    event = {"type": "chat.message", "name": "announcer", "text": text}
    await get_channel_layer().group_send(group_name("room", room), event)
    return {"announced": text}


@websocket("/chat/{room:str}")
async def chat(socket: WebSocket[Any, Any, Any]) -> None:
    await Chat.as_asgi()(socket)


@websocket("/view/{room:str}", guards=[allowed])
async def view(socket: WebSocket[Any, Any, Any]) -> None:
    await Chat.as_asgi()(socket)


@websocket("/described/{number:int}")
async def described(socket: WebSocket[Any, Any, Any]) -> None:
    await Described.as_asgi()(socket)


@websocket("/ending-of-a-view")
async def ending_of_a_view(socket: WebSocket[Any, Any, Any]) -> None:
    await Ending.as_asgi()(socket)


def mounted(
    path: str, consumer: type[AsyncConsumer], *, is_mount: bool = False
) -> ASGIRouteHandler:
    """Litestar takes a function, and looks at the names of its parameters."""
    application = consumer.as_asgi()

    @asgi(path, is_mount=is_mount, copy_scope=True)
    async def handler(scope: Scope, receive: Receive, send: Send) -> None:
        await application(scope, receive, send)

    return handler


app = Litestar(
    [
        announce,
        chat,
        view,
        described,
        ending_of_a_view,
        mounted("/mounted/{room:str}", Chat),
        mounted("/mounted-alone", Described, is_mount=True),
        mounted("/ending", Ending),
        mounted("/control", Control),
        mounted("/mirror", Mirror),
        mounted("/stream", Stream),
        mounted("/faulty", Faulty),
    ],
    lifespan=[lifespan],
    openapi_config=None,
)
