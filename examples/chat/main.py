"""A live chat on FastAPI and the in-memory channel layer.

Run it with ``python examples/chat/main.py`` and open the address that it prints in two tabs.
"""

import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI, Request, Response
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles
from starlette.routing import Route, Router, WebSocketRoute

from consumers import RoomConsumer, SystemConsumer
from fast_channels.draining import draining, readiness
from fast_channels.layers import InMemoryChannelLayer, register_channel_layer
from fast_channels.middleware import OriginValidator
from rooms import Rooms
from serve import serve

STATIC = Path(__file__).parent / "static"

# The page has no inline script or style and loads nothing from elsewhere, so the policy can
# be this strict; whatever a chat message contains, the browser would refuse to run it.
SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; base-uri 'none'; form-action 'self'; "
        "frame-ancestors 'none'; object-src 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
    register_channel_layer("chat", InMemoryChannelLayer())
    # Before the server stops, the pages are told when to come back, and the layer is closed.
    async with draining(timeout=5, jitter=2):
        yield


app = FastAPI(title="Chat", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
# Browsers let the pages of any site open a WebSocket to this server; only ours may. Scripts
# send no Origin, and are welcome.
app.add_middleware(OriginValidator, allow_missing=True)
app.mount("/static", StaticFiles(directory=STATIC), name="static")

rooms = Rooms()
# With ":path", a name that has a slash gets as far as being refused with a reason.
sockets = [
    WebSocketRoute("/rooms/{room:path}", RoomConsumer.as_asgi(rooms=rooms)),
    WebSocketRoute("/system", SystemConsumer.as_asgi(rooms=rooms)),
]
app.mount("/ws", Router(sockets))
app.router.routes.append(Route("/ready", readiness))


@app.get("/")
@app.get("/rooms/{room:path}")
async def page() -> FileResponse:
    """The page reads the room from its own address."""
    return FileResponse(STATIC / "index.html")


@app.middleware("http")
async def add_security_headers(
    request: Request, call_next: Callable[[Request], Awaitable[Response]]
) -> Response:
    response = await call_next(request)
    response.headers.update(SECURITY_HEADERS)
    return response


if __name__ == "__main__":
    sys.exit(serve(app))
