"""A FastAPI application whose layer is on Redis, beside others: a Django project, or its own kind.

Its clients have the manners of those of `django_project`.
"""

import os
from typing import Any

import redis_layer as redis_layer  # registers it
from fastapi import FastAPI
from starlette.routing import WebSocketRoute

from fast_channels.consumer import AsyncJsonWebsocketConsumer
from fast_channels.layers import channel_layers_lifespan, get_channel_layer


class Room(AsyncJsonWebsocketConsumer):
    channel_layer_alias = "default"

    async def connect(self) -> None:
        room = self.scope["path_params"]["room"]
        await self.channel_layer.group_add(room, self.channel_name)
        await self.accept()
        await self.send_json({"channel": self.channel_name, "pid": os.getpid()})

    async def receive_json(self, content: Any) -> None:
        message = {
            "type": content.get("type", "chat.message"),
            "text": content["text"],
            "reply_to": self.channel_name,
        }
        layer = self.channel_layer
        await (layer.group_send if content["to"] == "group" else layer.send)(
            content["name"], message
        )

    async def chat_message(self, event: dict[str, Any]) -> None:
        await self.send_json({"text": event["text"]})


app = FastAPI(
    lifespan=channel_layers_lifespan, routes=[WebSocketRoute("/room/{room}", Room.as_asgi())]
)


@app.post("/announce/{group}/{text}")
async def announce(group: str, text: str) -> str:
    await get_channel_layer().group_send(group, {"type": "chat.message", "text": text})
    return "sent"
