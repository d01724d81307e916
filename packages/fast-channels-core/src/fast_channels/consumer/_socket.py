"""The state of one WebSocket, and what may be sent in it.

::

    CONNECTING ──accept()──> OPEN ──close()──> CLOSING ──close frame──> CLOSED
        │                      │                   │                      ^
        │                      └─── the client leaves, or is lost ────────┤
        └── close(), reject(), an error ─────> CLOSING ───────────────────┘
"""

import asyncio
import logging
from collections.abc import Awaitable, Hashable
from enum import Enum, auto
from typing import NamedTuple

from fast_channels.consumer._close_frame import INTERNAL_ERROR
from fast_channels.consumer._outbox import Outbox, OutboxWriter
from fast_channels.consumer._protocol import LOST, Ending, Protocol
from fast_channels.consumer._response import checked_headers
from fast_channels.exceptions import ConnectionStateError
from fast_channels.statistics import statistics
from fast_channels.types import Event, Headers, Scope, Send


class State(Enum):
    CONNECTING = auto()
    """The client waits for an answer to its handshake."""
    OPEN = auto()
    """Frames may be sent."""
    CLOSING = auto()
    """The end is decided: what was sent before is written, and then the close frame."""
    CLOSED = auto()
    """Nothing more can be sent."""


class Denial(NamedTuple):
    """An HTTP response in place of the handshake's: an extension of ASGI."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


class Socket(Protocol):
    """Writes what the state allows; drops and counts what comes too late."""

    __slots__ = ("_late_accept", "_options", "_outbox", "_send", "denial", "refused", "state")

    tells_at_once = True

    def __init__(self, send: Send, options: Outbox | None) -> None:
        self._send = send
        self._options = options
        self._outbox: OutboxWriter | None = None
        self.state = State.CONNECTING
        self._late_accept: Event | None = None
        self.denial: Denial | None = None
        """Of a client that was not accepted: the answer to its handshake."""
        self.refused: Exception | None = None

    async def accept(self, scope: Scope, subprotocol: str | None, headers: Headers | None) -> None:
        if self.state is State.OPEN:
            raise ConnectionStateError("accept() was called twice: the connection is open already")
        if self.state is not State.CONNECTING:
            self._count_late("an accept")
            return
        offered = scope.get("subprotocols", ())
        if subprotocol is not None and subprotocol not in offered:
            raise ValueError(
                f"subprotocol {subprotocol!r} was not offered by the client "
                f"(offered: {', '.join(map(repr, offered)) or 'none'})"
            )
        event = _accept(subprotocol, headers)
        self.state = State.OPEN
        if self._options is not None:
            self._outbox = OutboxWriter(self._send, self._options, self)
        try:
            await self.finish(self._send(event))
        except Exception:
            if self.state is State.OPEN:
                # The server would not have it, so the client still waits for an answer.
                self.state = State.CONNECTING
            raise
        if self.state is State.OPEN:
            self.connection.take_frames(self._send if self._outbox is None else self._outbox.send)

    def write(self, event: Event, key: Hashable = None) -> Awaitable[None]:
        """The write of a frame, to be awaited; one of ``LOST`` then means :meth:`lost`."""
        if self.state is State.OPEN:
            return self._send(event) if self._outbox is None else self._outbox.send(event, key)
        if self.state is State.CONNECTING:
            raise ConnectionStateError(
                "send() was called before accept(): accept the connection first"
            )
        self._count_late("a frame")
        return _nothing()

    async def finish(self, write: Awaitable[None]) -> None:
        try:
            await write
        except LOST as error:
            self.lost(error)

    def lost(self, error: Exception) -> None:
        """The server said, by an error, that the client has gone; its event is on the way."""
        self.client_left()
        self._count_late(f"an event ({error!r})")

    # The end.

    def accept_to_close(self, scope: Scope) -> None:
        """A client that was not accepted is accepted first, so that it sees the close code.

        With a subprotocol, if it offers some: browsers fail a handshake that takes none.
        """
        if self.state is State.CONNECTING:
            offered = scope.get("subprotocols") or [None]
            self._late_accept = _accept(offered[0], None)

    def client_left(self) -> None:
        self.state = State.CLOSED
        self.connection.refuse_frames()
        if self._outbox is not None:
            self._outbox.close(flush=False)

    def closing(self, *, flush: bool) -> None:
        if self.state is State.CLOSED:
            return
        self.state = State.CLOSING
        if self._outbox is not None:
            self._outbox.close(flush=flush)

    def writer(self) -> asyncio.Task[None] | None:
        return None if self._outbox is None else self._outbox.writer

    def has_goodbye(self) -> bool:
        return self.state is State.CLOSING

    async def say_goodbye(self, ending: Ending) -> None:
        if self._outbox is not None:
            await self._outbox.flush()
        try:
            if self.denial is not None:
                await self.finish(self._deny(self.denial, ending))
                return
            if self._late_accept is not None:
                await self.finish(self._send(self._late_accept))
            # Nobody is left to be told if that found out that the client has gone.
            if self.state is State.CLOSING:
                await self._close(ending.code, ending.reason)
        finally:
            self.state = State.CLOSED

    async def _deny(self, denial: Denial, ending: Ending) -> None:
        status, headers, body = denial
        start = {"type": "websocket.http.response.start", "status": status, "headers": headers}
        try:
            await self._send(start)
        except RuntimeError:
            # The server knows it, but not the WebSocket of Starlette before 0.37, in a view.
            await self._close(ending.code, ending.reason)
            return
        await self._send({"type": "websocket.http.response.body", "body": body})

    async def _close(self, code: int, reason: str) -> None:
        event: Event = {"type": "websocket.close", "code": code}
        if reason:
            event["reason"] = reason
        try:
            await self.finish(self._send(event))
        except Exception as error:
            # daphne takes no codes from 1001 to 2999. It sends 1011 itself, for an exception.
            if not 1001 <= code < 3000:
                raise
            if code == INTERNAL_ERROR:
                error.add_note("raised again so that the server closes the connection with 1011")
                self.refused = error
            else:
                await self.finish(self._send({**event, "code": code + 3000}))

    async def stop(self) -> None:
        if self._outbox is not None:
            await self._outbox.stop()

    def disconnect_event(self, scope: Scope, ending: Ending) -> Event:
        return {"type": "websocket.disconnect", "code": ending.code, "reason": ending.reason}

    def _count_late(self, what: str) -> None:
        statistics.count(
            "send.after_close", f"{what} for a client that is gone", level=logging.DEBUG
        )


def _accept(subprotocol: str | None, headers: Headers | None) -> Event:
    pairs = [] if headers is None else checked_headers(headers)
    return {"type": "websocket.accept", "subprotocol": subprotocol, "headers": pairs}


async def _nothing() -> None:
    """In place of a write that comes too late."""
