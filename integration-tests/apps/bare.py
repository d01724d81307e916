"""The consumers without any framework: routing by path, as little of it as there can be."""

from collections.abc import Mapping

from asgi import lifespan
from consumers import (
    Chat,
    Control,
    Described,
    Echo,
    Ending,
    Faulty,
    Mirror,
    Misconfigured,
    Stream,
)
from reporting import report_log

from fast_channels.layers import (
    InMemoryChannelLayer,
    register_channel_layer,
)
from fast_channels.types import ASGIApp, Receive, Scope, Send

report_log()
register_channel_layer("default", InMemoryChannelLayer(capacity=10_000))

chat = Chat.as_asgi()

routes: Mapping[tuple[str, str], ASGIApp] = {
    ("websocket", "/echo"): Echo.as_asgi(),
    ("websocket", "/described"): Described.as_asgi(),
    ("websocket", "/ending"): Ending.as_asgi(),
    ("websocket", "/misconfigured"): Misconfigured.as_asgi(),
    ("http", "/mirror"): Mirror.as_asgi(),
    ("http", "/stream"): Stream.as_asgi(),
    ("http", "/faulty"): Faulty.as_asgi(),
    ("http", "/control"): Control.as_asgi(),
}


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await lifespan(scope, receive, send)
        return
    _, _, room = scope["path"].partition("/chat/")
    if room:
        scope["path_params"] = {"room": room}
        await chat(scope, receive, send)
    else:
        await routes[scope["type"], scope["path"]](scope, receive, send)
