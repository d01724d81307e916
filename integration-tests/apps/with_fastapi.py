"""The consumers in a FastAPI application, between its own views and middlewares."""

from typing import Annotated

from consumers import Chat, Control, Described, Ending, Faulty, Mirror, Stream
from fastapi import Depends, FastAPI, Request, WebSocket, WebSocketException
from fastapi.middleware.cors import CORSMiddleware
from fastapi.middleware.gzip import GZipMiddleware
from reporting import report_log
from starlette.middleware.base import RequestResponseEndpoint
from starlette.responses import Response
from starlette.routing import Route, Router, WebSocketRoute

from fast_channels.layers import (
    InMemoryChannelLayer,
    channel_layers_lifespan,
    get_channel_layer,
    group_name,
    register_channel_layer,
)

report_log()
register_channel_layer("default", InMemoryChannelLayer(capacity=10_000))

app = FastAPI(lifespan=channel_layers_lifespan)
app.add_middleware(CORSMiddleware, allow_origins=["https://page.example"])
app.add_middleware(GZipMiddleware, minimum_size=1)


@app.middleware("http")
async def add_header(request: Request, call_next: RequestResponseEndpoint) -> Response:
    response = await call_next(request)
    response.headers["X-Middleware"] = "was here"
    return response


def allowed(token: str = "") -> str:
    if token != "secret":
        raise WebSocketException(1008)
    return token


@app.post("/announce/{room}")
async def announce(room: str, text: str) -> dict[str, str]:
    event = {"type": "chat.message", "name": "announcer", "text": text}
    await get_channel_layer().group_send(group_name("room", room), event)
    return {"announced": text}


@app.websocket("/view/{room}")
async def view(websocket: WebSocket, token: Annotated[str, Depends(allowed)]) -> None:
    await Chat.as_asgi()(websocket)


@app.websocket("/ending-of-a-view")
async def ending_of_a_view(websocket: WebSocket) -> None:
    await Ending.as_asgi()(websocket)


app.router.add_websocket_route("/chat/{room}", Chat.as_asgi())
app.router.routes.append(WebSocketRoute("/described/{number:int}", Described.as_asgi()))
app.mount("/mounted", Router([WebSocketRoute("/{room}", Chat.as_asgi())]))
app.mount("/mounted-alone", Described.as_asgi())
app.router.add_websocket_route("/ending", Ending.as_asgi())
app.router.routes += [
    Route("/control", Control.as_asgi()),
    Route("/mirror", Mirror.as_asgi()),
    Route("/stream", Stream.as_asgi()),
    Route("/faulty", Faulty.as_asgi()),
]
