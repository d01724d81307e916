"""The consumers in a Starlette application, as its routes."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from consumers import Chat, Control, Described, Ending, Faulty, Mirror, Stream
from reporting import report_log
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute

from fast_channels.layers import (
    InMemoryChannelLayer,
    channel_layers_lifespan,
    get_channel_layer,
    group_name,
    register_channel_layer,
)

report_log()


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncGenerator[None]:
    register_channel_layer("default", InMemoryChannelLayer(capacity=10_000))
    async with channel_layers_lifespan(app):
        yield


async def announce(request: Request) -> JSONResponse:
    room, text = request.path_params["room"], request.query_params["text"]
    event = {"type": "chat.message", "name": "announcer", "text": text}
    await get_channel_layer().group_send(group_name("room", room), event)
    return JSONResponse({"announced": text})


class AddHeader(BaseHTTPMiddleware):
    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        response = await call_next(request)
        response.headers["X-Middleware"] = "was here"
        return response


app = Starlette(
    routes=[
        Route("/announce/{room}", announce, methods=["POST"]),
        WebSocketRoute("/chat/{room}", Chat.as_asgi()),
        WebSocketRoute("/described/{number:int}", Described.as_asgi()),
        Mount("/mounted", routes=[WebSocketRoute("/{room}", Chat.as_asgi())]),
        Mount("/mounted-alone", Described.as_asgi()),
        WebSocketRoute("/ending", Ending.as_asgi()),
        Route("/control", Control.as_asgi()),
        Route("/mirror", Mirror.as_asgi()),
        Route("/stream", Stream.as_asgi()),
        Route("/faulty", Faulty.as_asgi()),
    ],
    middleware=[
        Middleware(AddHeader),
        Middleware(CORSMiddleware, allow_origins=["https://page.example"]),
        Middleware(GZipMiddleware, minimum_size=1),
    ],
    lifespan=lifespan,
)
