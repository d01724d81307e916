"""What a protocol adds to a connection: when it is open, and how it ends."""

from collections.abc import Awaitable
from typing import NamedTuple

from fast_channels.types import Event, Scope


class Ending(NamedTuple):
    """Why a connection ends; the first reason counts."""

    code: int
    reason: str
    by_client: bool


class Protocol:
    """Any ASGI protocol: nothing is known of its events."""

    __slots__ = ()

    def client_left(self) -> None:
        """The server said that the client is gone."""

    async def finish(self, write: Awaitable[None]) -> None:
        """Await the rest of a write that was begun for a broadcast."""
        await write

    async def say_goodbye(self, ending: Ending) -> None:
        """End the protocol in good form, unless it has ended."""

    def disconnect_event(self, scope: Scope, ending: Ending) -> Event | None:
        """The last event for the consumer."""
        if not ending.by_client:
            return None
        return {"type": f"{scope['type']}.disconnect", "code": ending.code}
