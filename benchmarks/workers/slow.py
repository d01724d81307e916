"""Rooms by path, ``/<policy of the outbox>/<name>``; what one says in a room, all hear."""

from typing import Any, get_args

from fast_channels.consumer import AsyncWebsocketConsumer, Outbox
from fast_channels.consumer._outbox import OutboxOverflow
from fast_channels.layers import InMemoryChannelLayer, register_channel_layer
from fast_channels.types import Receive, Scope, Send

register_channel_layer("default", InMemoryChannelLayer())


class Room(AsyncWebsocketConsumer):
    """Without an outbox."""

    channel_layer_alias = "default"

    async def connect(self) -> None:
        self.room = self.scope["path"].strip("/").replace("/", ".")
        await self.channel_layer.group_add(self.room, self.channel_name)
        await self.accept()

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        await self.broadcast(self.room, text=text_data)


def _with_outbox(policy: Any) -> type[Room]:
    outbox = Outbox(max_messages=128, max_bytes=1 << 18, overflow=policy)
    return type(f"Room_{policy}", (Room,), {"outbox": outbox})


_rooms = {policy: _with_outbox(policy).as_asgi() for policy in get_args(OutboxOverflow)}
_rooms["none"] = Room.as_asgi()


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    await _rooms[scope["path"].split("/")[1]](scope, receive, send)
