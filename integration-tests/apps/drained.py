"""An application that drains when its process is told to stop, or by ``POST /drain``.

``DRAIN`` in the environment has the options as JSON. Clients may keep their consumer busy.
"""

import asyncio
import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from reporting import report, report_log

from fast_channels.consumer import AsyncHttpConsumer, AsyncWebsocketConsumer
from fast_channels.draining import drain, draining, readiness
from fast_channels.exceptions import ChannelClosed
from fast_channels.layers import InMemoryChannelLayer, register_channel_layer
from fast_channels.types import ASGIApp, Receive, Scope, Send

OPTIONS: dict[str, Any] = json.loads(os.environ.get("DRAIN", "{}"))

released = asyncio.Event()

report_log()
register_channel_layer("default", InMemoryChannelLayer())


class Guest(AsyncWebsocketConsumer):
    channel_layer_alias = "default"
    groups = ["guests"]

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        if text_data == "pid":
            await self.send(str(os.getpid()))
            return
        report("busy")
        try:
            await released.wait()
        except asyncio.CancelledError:
            report("cancelled")
            raise
        await self.send("done")

    async def on_drain(self, retry_after: float, /) -> None:
        await self.send(f"come back in {retry_after}")

    async def disconnect(self, code: int, /) -> None:
        try:
            async with asyncio.timeout(1):
                await self.channel_layer.receive(self.channel_name)
        except ChannelClosed:
            report("disconnect", code=code)


class Stream(AsyncHttpConsumer):
    async def handle(self, body: bytes) -> None:
        await self.send_headers()
        await self.send_body(b"hello, ", more_body=True)

    async def on_drain(self, retry_after: float, /) -> None:
        await self.send_body(b"bye", more_body=True)

    async def disconnect(self) -> None:
        report("http disconnect")


async def lifespan(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    async with draining(**OPTIONS):
        await send({"type": "lifespan.startup.complete"})
        await receive()
    report("drained", **asdict(await drain()))
    await send({"type": "lifespan.shutdown.complete"})


async def drain_now(scope: Scope, receive: Receive, send: Send) -> None:
    """What the orchestrator asks for before it stops the process."""
    result = json.dumps(asdict(await drain(**OPTIONS))).encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": result})


async def release(scope: Scope, receive: Receive, send: Send) -> None:
    """Let go the consumers that are busy."""
    released.set()
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


guest = Guest.as_asgi()
http: Mapping[str, ASGIApp] = {
    "/ready": readiness,
    "/drain": drain_now,
    "/release": release,
    "/stream": Stream.as_asgi(),
}


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await lifespan(scope, receive, send)
    elif scope["type"] == "websocket":
        await guest(scope, receive, send)
    else:
        await http[scope["path"]](scope, receive, send)
