"""What a protocol adds to a connection: when it is open, and how it ends."""

import asyncio
from collections.abc import Awaitable
from typing import TYPE_CHECKING, ClassVar, Final, NamedTuple

from fast_channels.types import Event, Receive, Scope

if TYPE_CHECKING:
    from fast_channels.consumer._connection import Connection

LOST: Final = (OSError, RuntimeError)
"""What ``send`` raises when the client has gone: OSError by the ASGI specification. granian and
daphne know no better than RuntimeError; a middleware that raises it has no use for the socket."""


class Ending(NamedTuple):
    """Why a connection ends; the first reason counts."""

    code: int
    reason: str
    by_client: bool


class Protocol:
    """Any ASGI protocol: nothing is known of its events."""

    __slots__ = ("connection",)

    connection: "Connection"
    """Set by the connection that this belongs to."""

    tells_at_once: ClassVar[bool] = False
    """Whether the client is told of the end while a handler still runs."""

    def listen(self, receive: Receive) -> Receive:
        """What the reader is to call for ``receive``."""
        return receive

    def client_left(self) -> None:
        """The client is gone: nothing that is sent from here on could reach it."""

    def closing(self, *, flush: bool) -> None:
        """The end is decided; ``flush``: what was sent before still goes out."""

    async def finish(self, write: Awaitable[None]) -> None:
        """Await the rest of a write that was begun for a broadcast."""
        await write

    def writer(self) -> asyncio.Task[None] | None:
        """The task that writes what waits for the client, while something does."""
        return None

    def has_goodbye(self) -> bool:
        """Whether the client is there and waits to be told of the end."""
        return False

    async def say_goodbye(self, ending: Ending) -> None:
        """End the protocol in good form."""

    async def stop(self) -> None:
        """Stop the tasks of the protocol; the connection is about to be released."""

    def disconnect_event(self, scope: Scope, ending: Ending) -> Event | None:
        """The last event for the consumer."""
        if not ending.by_client:
            return None
        return {"type": f"{scope['type']}.disconnect", "code": ending.code}
