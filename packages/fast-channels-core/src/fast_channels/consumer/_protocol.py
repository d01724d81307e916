"""What a protocol adds to a connection: when it is open, and how it ends."""

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

    def is_open(self) -> bool:
        """Whether a frame of a broadcast may be written now."""
        return False

    async def transmit(self, event: Event) -> None:
        """Write an event for the client, if the state of the connection allows it."""

    async def say_goodbye(self, ending: Ending) -> None:
        """End the protocol in good form, unless it has ended."""

    def disconnect_event(self, scope: Scope, ending: Ending) -> Event | None:
        """The last event for the consumer."""
        if not ending.by_client:
            return None
        return {"type": f"{scope['type']}.disconnect", "code": ending.code}
