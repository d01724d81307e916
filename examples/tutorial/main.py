"""The application of the tutorial: ``uvicorn main:app``."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles
from starlette.routing import Route, Router, WebSocketRoute

from analytics import CountConnections, counting
from fast_channels.draining import draining, readiness
from fast_channels.middleware import OriginValidator
from jobs import Jobs
from layers import setup_layers
from rooms import Room
from runners import running_jobs
from security import SecurityHeaders
from showcase import Analytics, Notifications, Reliable, router
from system import System

STATIC = Path(__file__).parent / "static"

setup_layers()


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
    # Before the server stops, the pages are told when to come back, and the layers are closed.
    async with draining(timeout=5, jitter=2), running_jobs(), counting():
        yield


app = FastAPI(title="Tutorial", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
app.add_middleware(SecurityHeaders)
# Browsers let the pages of any site open a WebSocket to this server; only ours may. Scripts
# send no Origin, and are welcome.
app.add_middleware(OriginValidator, allow_missing=True)
app.mount("/static", StaticFiles(directory=STATIC), name="static")
app.include_router(router)

sockets = [
    WebSocketRoute("/system", System.as_asgi()),
    # With ":path", a name that has a slash gets as far as being refused with a reason.
    WebSocketRoute("/rooms/{room:path}", Room.as_asgi()),
    WebSocketRoute("/jobs", Jobs.as_asgi()),
    WebSocketRoute("/reliable", Reliable.as_asgi()),
    WebSocketRoute("/notifications", Notifications.as_asgi()),
    WebSocketRoute("/analytics", Analytics.as_asgi()),
]
app.mount("/ws", CountConnections(Router(sockets)))
app.router.routes.append(Route("/ready", readiness))


@app.get("/")
@app.get("/rooms/{room:path}")
async def page() -> FileResponse:
    """The page reads the room from its own address."""
    return FileResponse(STATIC / "index.html")
