"""What else the layers can do: a chat that loses nothing, notifications, and live counters."""

import os
from typing import Annotated, Any, Literal

from fastapi import APIRouter, HTTPException
from pydantic import BaseModel, StringConstraints

from analytics import record, tell_counter
from fast_channels.exceptions import ChannelLayerUnavailable
from fast_channels.layers import get_channel_layer
from fast_channels.types import Event
from page import PageConsumer, now
from rooms import REFUSED, BadInput, Member, message_text, new_member

router = APIRouter()


class Reliable(PageConsumer):
    """``/ws/reliable?name=…``: on the queue layer, which outlives a restart of Redis."""

    channel_layer_alias = "queue"
    groups = ["reliable"]
    member: Member

    async def connect(self) -> None:
        try:
            self.member = new_member(self.scope["query_string"])
        except BadInput as error:
            await self.reject(REFUSED, str(error))
            return
        await self.accept()
        await self.welcome(you=self.member)

    async def receive_json(self, content: Any, /) -> None:
        try:
            match content:
                case {"type": "message", "text": str(text), "ref": str(ref)} if 1 <= len(ref) <= 64:
                    await self.say(message_text(text), ref)
                case _:
                    raise BadInput("Expected a message with text and ref.")
        except BadInput as error:
            await self.complain(str(error))

    async def say(self, text: str, ref: str) -> None:
        message = {"type": "message", "member": self.member, "text": text, "ref": ref}
        await self.broadcast("reliable", json={**message, "at": now(), "process": os.getpid()})
        await record("messages")

    async def layer_gap(self, event: Event, /) -> None:
        """Redis has come back without its data."""
        await self.send_json({"type": "missed"})


class Notifications(PageConsumer):
    """``/ws/notifications``: what anybody sends to the group, a script for example."""

    channel_layer_alias = "notifications"
    groups = ["notifications"]

    async def notification(self, event: Event) -> None:
        await self.send_json(event)


class Notification(BaseModel):
    text: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
    level: Literal["info", "warning"] = "info"


@router.post("/notifications", status_code=202)
async def notify(notification: Notification) -> None:
    """A view is no consumer, and reaches the group just as well."""
    message = {"type": "notification", **notification.model_dump(), "source": "page", "at": now()}
    try:
        await get_channel_layer("notifications").group_send("notifications", message)
    except ChannelLayerUnavailable:
        raise HTTPException(503, "Redis is away. Try again in a moment.") from None
    await record("notifications")


class Analytics(PageConsumer):
    """``/ws/analytics``: the totals, at once and whenever they change."""

    channel_layer_alias = "analytics"
    groups = ["totals"]

    async def connect(self) -> None:
        await super().connect()
        await tell_counter({"type": "totals.wanted", "answer_to": self.channel_name})

    async def totals(self, event: Event) -> None:
        await self.send_json(event)
