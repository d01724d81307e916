"""The consumers beside a Quart application: a few lines of ASGI choose between them."""

from typing import cast

from consumers import Chat, Control, Ending, Faulty, Mirror, Stream
from quart import Quart, request
from reporting import report_log

from fast_channels.layers import (
    InMemoryChannelLayer,
    close_channel_layers,
    get_channel_layer,
    group_name,
    register_channel_layer,
)
from fast_channels.types import ASGIApp, Receive, Scope, Send

report_log()
quart = Quart(__name__)


@quart.before_serving
async def open_layers() -> None:
    register_channel_layer("default", InMemoryChannelLayer(capacity=10_000))


@quart.after_serving
async def close_layers() -> None:
    await close_channel_layers()


@quart.post("/announce/<room>")
async def announce(room: str) -> dict[str, str]:
    event = {"type": "chat.message", "name": "announcer", "text": request.args["text"]}
    await get_channel_layer().group_send(group_name("room", room), event)
    return {"announced": request.args["text"]}


# Quart's types name every event of ASGI; ours, as Starlette's, are mappings.
quart_application = cast("ASGIApp", quart)
chat = Chat.as_asgi()
consumers: dict[tuple[str, str], ASGIApp] = {
    ("websocket", "/ending"): Ending.as_asgi(),
    ("http", "/control"): Control.as_asgi(),
    ("http", "/mirror"): Mirror.as_asgi(),
    ("http", "/stream"): Stream.as_asgi(),
    ("http", "/faulty"): Faulty.as_asgi(),
}


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    kind, path = scope["type"], scope.get("path", "")
    if kind == "websocket" and path.startswith("/chat/"):
        scope["path_params"] = {"room": path.removeprefix("/chat/")}
        await chat(scope, receive, send)
    elif (kind, path) in consumers:
        await consumers[kind, path](scope, receive, send)
    else:
        await quart_application(scope, receive, send)
