"""The tutorial's page, with no more of its parts than the first chapter builds."""

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles

TUTORIAL = Path(__file__).parents[2] / "examples" / "tutorial"
sys.path.append(str(TUTORIAL))
System: Any = import_module("system").System


async def page(request: Request) -> FileResponse:
    return FileResponse(TUTORIAL / "static" / "index.html")


application = Starlette(
    routes=[
        Route("/", page),
        Mount("/static", StaticFiles(directory=TUTORIAL / "static")),
        WebSocketRoute("/ws/system", System.as_asgi()),
    ]
)
