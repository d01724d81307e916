"""What all consumers have in common: at the other end is a card of the page, which speaks JSON."""

import os
from datetime import UTC, datetime
from typing import Any

from fast_channels.consumer import AsyncJsonWebsocketConsumer
from fast_channels.limits import Limits
from fast_channels.types import Event

LIMITS = Limits(
    frame_bytes=16_384,
    json_depth=5,
    on_oversize="report",
    frames_per_second=20,
    on_excess="delay",
)


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


class PageConsumer(AsyncJsonWebsocketConsumer):
    """Accepts, says which process it is in, and answers what is wrong with an error frame."""

    heartbeat_interval = 20  # the page counts on it: SILENCE in static/socket.js
    error_policy = "report"
    limits = LIMITS

    async def connect(self) -> None:
        await self.accept()
        await self.welcome()

    async def welcome(self, **details: Any) -> None:
        await self.send_json({"type": "welcome", "process": os.getpid(), **details})

    async def complain(self, detail: str) -> None:
        await self.send_json({"type": "error", "detail": detail})

    def error_frame(self, exc: Exception, event: Event, /) -> object:
        return {"type": "error", "detail": "That did not work. The server's log says why."}
