"""An application whose clients learn which process serves them. It leaves the log as it is."""

import os

from asgi import lifespan

from fast_channels.consumer import AsyncHttpConsumer, AsyncJsonWebsocketConsumer
from fast_channels.layers import InMemoryChannelLayer, register_channel_layer
from fast_channels.types import ASGIApp, Receive, Scope, Send

register_channel_layer("default", InMemoryChannelLayer())


class Process(AsyncJsonWebsocketConsumer):
    channel_layer_alias = "default"
    groups = ["everybody"]

    async def connect(self) -> None:
        await self.accept()
        await self.send_json({"pid": os.getpid()})


class Ready(AsyncHttpConsumer):
    async def handle(self, body: bytes) -> None:
        await self.send_response(200, b"ready")


protocols: dict[str, ASGIApp] = {
    "lifespan": lifespan,
    "http": Ready.as_asgi(),
    "websocket": Process.as_asgi(),
}


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    await protocols[scope["type"]](scope, receive, send)
