"""The state of one WebSocket, and what may be sent in it."""

import logging
from collections.abc import Awaitable, Callable
from enum import Enum, auto

from fast_channels.consumer._protocol import Ending, Protocol
from fast_channels.exceptions import ConnectionStateError
from fast_channels.statistics import statistics
from fast_channels.types import Event, Headers, Scope, Send

MAX_REASON_BYTES = 123

LOST = (OSError, RuntimeError)
"""What ``send`` raises when the client has gone: OSError by the ASGI specification. granian and
daphne know no better than RuntimeError; a middleware that raises it has no use for the socket."""


class State(Enum):
    """accept() opens, close() closes; the client may leave at any time, which closes, too."""

    CONNECTING = auto()
    OPEN = auto()
    CLOSED = auto()


class Socket(Protocol):
    """Writes what the state allows; drops and counts what comes too late."""

    __slots__ = ("_on_closed", "_on_open", "_send", "refused", "state")

    def __init__(
        self, send: Send, on_open: Callable[[], None], on_closed: Callable[[], None]
    ) -> None:
        self._send = send
        self._on_open = on_open
        self._on_closed = on_closed
        self.state = State.CONNECTING
        self.refused: Exception | None = None

    async def accept(self, scope: Scope, subprotocol: str | None, headers: Headers | None) -> None:
        if self.state is State.OPEN:
            raise ConnectionStateError("accept() was called twice: the connection is open already")
        if self.state is State.CLOSED:
            self._count_late("an accept")
            return
        offered = scope.get("subprotocols", ())
        if subprotocol is not None and subprotocol not in offered:
            raise ValueError(
                f"subprotocol {subprotocol!r} was not offered by the client "
                f"(offered: {', '.join(map(repr, offered)) or 'none'})"
            )
        self.state = State.OPEN
        await self.finish(
            self._send(
                {
                    "type": "websocket.accept",
                    "subprotocol": subprotocol,
                    "headers": [] if headers is None else list(headers),
                }
            )
        )
        if self.state is State.OPEN:
            self._on_open()

    def write(self, event: Event) -> Awaitable[None]:
        """The write of a frame, to be awaited; one of ``LOST`` then means :meth:`lost`."""
        if self.state is State.OPEN:
            return self._send(event)
        if self.state is State.CONNECTING:
            raise ConnectionStateError(
                "send() was called before accept(): accept the connection first"
            )
        self._count_late("a frame")
        return _nothing()

    async def close(self, code: int, reason: str) -> None:
        self.client_left()
        event: Event = {"type": "websocket.close", "code": code}
        if reason:
            event["reason"] = reason
        try:
            await self.finish(self._send(event))
        except Exception as error:
            # daphne takes no codes from 1001 to 2999. It sends 1011 itself, for an exception.
            if not 1001 <= code < 3000:
                raise
            if code == 1011:
                error.add_note("raised again so that the server closes the connection with 1011")
                self.refused = error
            else:
                await self.finish(self._send({**event, "code": code + 3000}))

    def client_left(self) -> None:
        self.state = State.CLOSED
        self._on_closed()

    async def say_goodbye(self, ending: Ending) -> None:
        if ending.code == 1006:
            # It stands for an end without a close frame: nobody is there to be told.
            self.client_left()
        elif self.state is not State.CLOSED:
            await self.close(ending.code, ending.reason)

    def disconnect_event(self, scope: Scope, ending: Ending) -> Event:
        return {"type": "websocket.disconnect", "code": ending.code, "reason": ending.reason}

    async def finish(self, write: Awaitable[None]) -> None:
        try:
            await write
        except LOST as error:
            self.lost(error)

    def lost(self, error: Exception) -> None:
        """The server said, by an error, that the client has gone; its event is on the way."""
        self.client_left()
        self._count_late(f"an event ({error!r})")

    def _count_late(self, what: str) -> None:
        statistics.count(
            "send.after_close", f"{what} for a client that is gone", level=logging.DEBUG
        )


async def _nothing() -> None:
    """In place of a write that comes too late."""


def close_code(code: int | bool | None) -> int:
    """The code to send: 1000 for None and True, or a number that RFC 6455, 7.4, allows."""
    if code is None or code is True:
        return 1000
    if isinstance(code, bool) or not isinstance(code, int):  # pyright: ignore[reportUnnecessaryIsInstance]  # untyped callers
        raise TypeError(f"close code must be an int, not {code!r}")
    if 1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999:
        return int(code)  # Perhaps it was a member of an enum.
    raise ValueError(
        f"close code {code} must not be sent (RFC 6455, 7.4): "
        "use 1000, a registered code, or 4000 to 4999 for codes of your own"
    )


def close_reason(reason: str | None) -> str:
    """The reason, if it fits into a close frame (RFC 6455, 5.5)."""
    if reason is None:
        return ""
    if not isinstance(reason, str):  # pyright: ignore[reportUnnecessaryIsInstance]  # untyped callers
        raise TypeError(f"close reason must be a str, not {reason!r}")
    if (size := len(reason.encode())) > MAX_REASON_BYTES:
        raise ValueError(
            f"close reason takes {size} bytes in UTF-8, but a close frame has room for "
            f"{MAX_REASON_BYTES} (RFC 6455, 5.5): shorten {reason!r}"
        )
    return reason
