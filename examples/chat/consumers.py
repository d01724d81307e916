"""The two WebSocket endpoints of the chat; README.md describes the JSON they speak."""

import secrets
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs

from fast_channels.consumer import AsyncJsonWebsocketConsumer
from fast_channels.layers import group_name
from rooms import BadInput, Member, Rooms, display_name, message_text, room_name

SYSTEM_GROUP = "system"
HEARTBEAT_INTERVAL = 20
"""Seconds; the page counts on it, too: `SILENCE` in static/socket.js."""
REFUSED = 4400
"""Close code for a bad room or display name: the page shows the reason and does not retry."""


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


class RoomConsumer(AsyncJsonWebsocketConsumer):
    """One member of one room, at ``/ws/rooms/{room}?name=…``.

    An instance lives as long as its connection, and its methods never run side by side,
    so plain attributes hold the connection's state.
    """

    channel_layer_alias = "chat"
    heartbeat_interval = HEARTBEAT_INTERVAL

    def __init__(self, rooms: Rooms) -> None:
        super().__init__()
        self.rooms = rooms
        self.id = secrets.token_hex(8)
        self.member: Member | None = None  # until the room and the name are found to be good

    async def connect(self) -> None:
        # A browser hides the reason of a refused handshake from the page. So accept first:
        # a close after that carries its code and reason.
        await self.accept()
        query = parse_qs(self.scope["query_string"].decode("latin-1"))
        try:
            self.room = room_name(self.scope["path_params"]["room"])
            member = Member(id=self.id, name=display_name(query.get("name", [""])[0]))
        except BadInput as error:
            await self.close(code=REFUSED, reason=str(error))
            return

        # Group names are short and ASCII; room names are whatever people type.
        self.group = group_name("room", self.room)
        await self.channel_layer.group_add(self.group, self.channel_name)
        self.member = member
        self.rooms.put(self.room, member)
        members = self.rooms.members(self.room)
        await self.send_json(
            {"type": "welcome", "room": self.room, "you": member, "members": members}
        )
        await self.announce("member.joined", member)

    async def disconnect(self, code: int, /) -> None:
        # This channel has already left its groups: the notice goes to the others.
        if self.member is not None:
            self.rooms.remove(self.room, self.member)
            await self.announce("member.left", self.member)

    async def receive_json(self, content: Any, /) -> None:
        if self.member is None:
            return  # refused, and on its way out
        try:
            match content:
                case {"type": "message", "text": str(text), "ref": str(ref)} if 1 <= len(ref) <= 64:
                    await self.say(self.member, message_text(text), ref)
                case {"type": "rename", "name": str(name)}:
                    await self.rename(self.member, display_name(name))
                case _:
                    raise BadInput("Expected a message with text and ref, or a rename with name.")
        except BadInput as error:
            await self.send_json({"type": "error", "detail": str(error)})

    async def say(self, member: Member, text: str, ref: str) -> None:
        # Everybody gets the same words, so they are encoded once and pass straight to
        # every socket in the group, whichever process holds it.
        message = {"type": "message", "member": member, "text": text, "ref": ref, "at": now()}
        await self.broadcast(self.group, json=message)

    async def rename(self, member: Member, name: str) -> None:
        self.member = Member(id=self.id, name=name)
        self.rooms.put(self.room, self.member)
        change = {"type": "renamed", "member": self.member, "previous": member["name"]}
        await self.broadcast(self.group, json={**change, "at": now()})

    async def announce(self, event_type: str, member: Member) -> None:
        count = len(self.rooms.members(self.room))
        event = {"type": event_type, "member": member, "count": count, "at": now()}
        await self.channel_layer.group_send(self.group, event)
        await self.broadcast(SYSTEM_GROUP, json={"type": "rooms", "rooms": self.rooms.overview()})

    # Handlers for what others send through the layer: "member.joined" calls member_joined.

    async def member_joined(self, event: dict[str, Any]) -> None:
        # The newcomer has been welcomed; only the others need telling.
        if event["member"]["id"] != self.id:
            await self.send_json({**event, "type": "joined"})

    async def member_left(self, event: dict[str, Any]) -> None:
        await self.send_json({**event, "type": "left"})


class SystemConsumer(AsyncJsonWebsocketConsumer):
    """News about the server as a whole, and an echo, at ``/ws/system``.

    There is no code for the news: ``groups`` makes every connection a member of the group,
    and what ``RoomConsumer`` broadcasts to it goes straight to the sockets.
    """

    channel_layer_alias = "chat"
    groups = [SYSTEM_GROUP]
    heartbeat_interval = HEARTBEAT_INTERVAL

    def __init__(self, rooms: Rooms) -> None:
        super().__init__()
        self.rooms = rooms

    async def connect(self) -> None:
        await self.accept()
        await self.send_json({"type": "rooms", "rooms": self.rooms.overview()})

    async def receive_json(self, content: Any, /) -> None:
        match content:
            case {"type": "echo", "text": str(text)} if len(text) <= 200:
                await self.send_json({"type": "echo", "text": text, "at": now()})
            case _:
                detail = "Expected an echo with a text of at most 200 characters."
                await self.send_json({"type": "error", "detail": detail})
