"""Rooms, as many as people think of, and who is in them.

There is no table of members. Who joins calls the roll, and each member answers on the newcomer's
own channel, from whichever process it is in.
"""

import os
import re
import secrets
from contextlib import suppress
from typing import Any, TypedDict

from starlette.datastructures import QueryParams

from analytics import record
from fast_channels.exceptions import ChannelFull
from fast_channels.layers import group_name
from fast_channels.types import Event
from page import PageConsumer, now

REFUSED = 4400
"""Close code for a bad room or name: the page shows the reason and does not try again."""

# It has to read well as a path, so no slash, and no leading dot: browsers resolve "..".
ROOM_NAME = re.compile(r"\w[\w .'-]{0,39}")


class BadInput(ValueError):
    """What the page sent is not acceptable; the text says what would be."""


class Member(TypedDict):
    id: str
    name: str


def room_name(value: str) -> str:
    name = " ".join(value.split())
    if not ROOM_NAME.fullmatch(name):
        raise BadInput(
            "A room name has 1 to 40 letters, digits, spaces, dots, dashes or apostrophes, "
            "and starts with a letter or a digit."
        )
    return name


def display_name(value: str) -> str:
    name = " ".join(value.split())
    if not 1 <= len(name) <= 32:
        raise BadInput(f"Your name needs 1 to 32 characters; this one has {len(name)}.")
    return name


def message_text(value: str) -> str:
    text = value.strip()
    if not 1 <= len(text) <= 2000:
        raise BadInput(f"A message needs 1 to 2000 characters; this one has {len(text)}.")
    return text


def new_member(query_string: bytes) -> Member:
    name = QueryParams(query_string).get("name", "")
    return Member(id=secrets.token_hex(8), name=display_name(name))


class Room(PageConsumer):
    """``/ws/rooms/{room}?name=…``: one member of one room.

    An instance lives as long as its connection, and its methods never run side by side, so plain
    attributes hold the connection's state.
    """

    channel_layer_alias = "chat"
    member: Member
    group = ""  # until it is joined

    async def connect(self) -> None:
        try:
            room = room_name(self.scope["path_params"]["room"])
            self.member = new_member(self.scope["query_string"])
        except BadInput as error:
            await self.reject(REFUSED, str(error))
            return
        # Group names are short and ASCII; room names are whatever people type.
        self.group = group_name("room", room)
        await self.channel_layer.group_add(self.group, self.channel_name)
        await self.accept()
        await self.welcome(room=room, you=self.member)
        await self.call_the_roll("joined")

    async def disconnect(self, code: int, /) -> None:
        # This channel has already left its group: the others are told.
        if self.group:
            left = {"type": "left", "member": self.member, "at": now()}
            await self.broadcast(self.group, json=left)

    async def receive_json(self, content: Any, /) -> None:
        try:
            match content:
                case {"type": "message", "text": str(text), "ref": str(ref)} if 1 <= len(ref) <= 64:
                    await self.say(message_text(text), ref)
                case {"type": "rename", "name": str(name)}:
                    await self.rename(display_name(name))
                case _:
                    raise BadInput("Expected a message with text and ref, or a rename with name.")
        except BadInput as error:
            await self.complain(str(error))

    async def say(self, text: str, ref: str) -> None:
        # Everybody gets the same words, so they are encoded once and pass straight to
        # every socket in the group, whichever process holds it.
        message = {"type": "message", "member": self.member, "text": text, "ref": ref}
        await self.broadcast(self.group, json={**message, "at": now(), "process": os.getpid()})
        await record("messages")

    async def rename(self, name: str) -> None:
        previous, self.member = self.member["name"], Member(id=self.member["id"], name=name)
        change = {"type": "renamed", "member": self.member, "previous": previous, "at": now()}
        await self.broadcast(self.group, json=change)

    async def call_the_roll(self, why: str) -> None:
        call = {"type": "roll.call", "why": why, "member": self.member, "at": now()}
        await self.channel_layer.group_send(self.group, {**call, "answer_to": self.channel_name})

    # Handlers of what comes by the layer: "roll.call" is given to roll_call.

    async def roll_call(self, event: Event) -> None:
        if event["answer_to"] == self.channel_name:
            return
        await self.send_json({"type": event["why"], "member": event["member"], "at": event["at"]})
        answer = {"type": "roll.answer", "member": self.member}
        with suppress(ChannelFull):  # so many are here that the newcomer cannot list them all
            await self.channel_layer.send(event["answer_to"], answer)

    async def roll_answer(self, event: Event) -> None:
        await self.send_json({"type": "present", "member": event["member"]})

    async def layer_gap(self, event: Event, /) -> None:
        """Redis was away: some may have come, gone, or said something meanwhile."""
        await self.send_json({"type": "missed"})
        await self.call_the_roll("present")
