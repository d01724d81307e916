"""What a proxy has to pass on: WebSockets, streams, and who the client is."""

from typing import Any

from asgi import routed

from fast_channels.consumer import AsyncJsonWebsocketConsumer, AsyncSSEConsumer
from fast_channels.draining import readiness
from fast_channels.layers import InMemoryChannelLayer, register_channel_layer
from fast_channels.middleware import OriginValidator

register_channel_layer("default", InMemoryChannelLayer())


class Echo(AsyncJsonWebsocketConsumer):
    async def connect(self) -> None:
        await self.accept()
        address, _ = self.scope["client"]
        await self.send_json({"address": address, "scheme": self.scope["scheme"]})

    async def receive_json(self, content: Any, /) -> None:
        await self.send_json(content)


class Stream(AsyncSSEConsumer):
    """Its second event comes when somebody asks for it, who has seen the first."""

    channel_layer_alias = "default"
    groups = ["stream"]

    async def connect(self, last_event_id: str | None) -> None:
        await self.send_event("first")


class Next(AsyncJsonWebsocketConsumer):
    channel_layer_alias = "default"

    async def connect(self) -> None:
        await self.channel_layer.group_send("stream", {"type": "sse.event", "data": "second"})
        await self.accept()


application = OriginValidator(
    routed(
        {
            "/ready": readiness,
            "/ws/echo": Echo.as_asgi(),
            "/ws/next": Next.as_asgi(),
            "/stream": Stream.as_asgi(),
        }
    ),
    allow_missing=True,
)
