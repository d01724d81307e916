"""What the soak lets real connections come to; `/control` says what is left of them."""

import json
import os
import sys
from pathlib import Path
from typing import Any

sys.path += [
    str(Path(__file__).parents[2] / "packages" / "fast-channels-core" / "tests"),
    str(Path(__file__).parents[1]),
]

from leak_census import census, log_lines
from soak.memory import resident_bytes

from fast_channels.consumer import AsyncWebsocketConsumer, Outbox
from fast_channels.layers import InMemoryChannelLayer, register_channel_layer
from fast_channels.types import Event, Receive, Scope, Send

_layer = InMemoryChannelLayer()
register_channel_layer("default", _layer)
_log = log_lines()
_lines = _log.__enter__()  # for as long as the process lives


class Visitor(AsyncWebsocketConsumer):
    """Does what the client's frame says."""

    channel_layer_alias = "default"
    groups = ["lobby"]
    outbox = Outbox(overflow="drop_oldest")
    heartbeat_interval = 30
    connects = 0
    disconnects = 0

    async def connect(self) -> None:
        Visitor.connects += 1
        await self.channel_layer.group_add(f"own.{Visitor.connects}", self.channel_name)
        await self.accept()

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        match text_data:
            case "close":
                await self.close(4000)
            case "raise":
                raise LookupError("as the client wants it")
            case _:
                await self.channel_layer.send(self.channel_name, {"type": "echo"})

    async def echo(self, event: Event) -> None:
        await self.send("hello")

    async def disconnect(self, code: int, /) -> None:
        Visitor.disconnects += 1


_visitor = Visitor.as_asgi()


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await _visitor(scope, receive, send)
    elif scope["type"] == "http":
        counts = census(_layer)
        found: dict[str, Any] = {
            "connects": Visitor.connects,
            "disconnects": Visitor.disconnects,
            "memory": resident_bytes(),
            "counts": counts,
            "logged": [line for line in _lines if "as the client wants it" not in line],
            "files": len(os.listdir("/proc/self/fd")),
        }
        _lines.clear()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": json.dumps(found).encode()})
