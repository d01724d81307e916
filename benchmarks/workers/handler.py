"""A chat in which every member's own handler writes the message to its socket."""

from typing import Any

from fast_channels.consumer.websocket import AsyncJsonWebsocketConsumer
from fast_channels.layers import InMemoryChannelLayer, register_channel_layer

register_channel_layer("default", InMemoryChannelLayer())


class Chat(AsyncJsonWebsocketConsumer):
    channel_layer_alias = "default"
    groups = ["room"]

    async def receive_json(self, content: Any, /) -> None:
        await self.channel_layer.group_send("room", {"type": "chat.message", **content})

    async def chat_message(self, event: dict[str, Any]) -> None:
        await self.send_json(event)


application = Chat.as_asgi()
