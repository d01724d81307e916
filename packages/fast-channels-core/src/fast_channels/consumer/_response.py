"""The state of one HTTP response, and what may be sent in it."""

import logging
from collections.abc import Callable
from enum import Enum, auto

from fast_channels.consumer._protocol import Ending, Protocol
from fast_channels.exceptions import ConnectionStateError
from fast_channels.statistics import statistics
from fast_channels.types import Event, Headers, Scope, Send


class State(Enum):
    WAITING = auto()
    """Nothing of the response is sent."""
    STARTED = auto()
    """Status and headers are sent, and perhaps a part of the body."""
    COMPLETE = auto()
    """All is sent, or the client has left."""


class Response(Protocol):
    """Writes what the state allows; drops and counts what comes too late."""

    __slots__ = ("_on_complete", "_send", "state")

    def __init__(self, send: Send, on_complete: Callable[[], None]) -> None:
        self._send = send
        self._on_complete = on_complete
        self.state = State.WAITING

    async def start(self, status: int, headers: Headers) -> None:
        if self.state is State.STARTED:
            raise ConnectionStateError("the headers were sent already: send_headers() comes once")
        if self.state is State.COMPLETE:
            self._count_late("the headers of a response")
            return
        self.state = State.STARTED
        await self._write(
            {"type": "http.response.start", "status": status, "headers": list(headers)}
        )

    async def body(self, body: bytes, *, more_body: bool) -> None:
        if self.state is State.WAITING:
            raise ConnectionStateError("send_headers() comes before send_body()")
        if self.state is State.COMPLETE:
            self._count_late("a part of a body")
            return
        if not more_body:
            self.state = State.COMPLETE
        await self._write({"type": "http.response.body", "body": body, "more_body": more_body})
        if not more_body:
            self._on_complete()

    def client_left(self) -> None:
        self.state = State.COMPLETE

    def has_goodbye(self) -> bool:
        return self.state is not State.COMPLETE

    async def say_goodbye(self, ending: Ending) -> None:
        """Answer 500 if nothing was sent, else end the body: no request is left hanging."""
        if self.state is State.WAITING:
            await self.start(500, [(b"content-type", b"text/plain; charset=utf-8")])
            await self.body(b"Internal Server Error", more_body=False)
        elif self.state is State.STARTED:
            await self.body(b"", more_body=False)

    def disconnect_event(self, scope: Scope, ending: Ending) -> Event:
        return {"type": "http.disconnect"}

    async def _write(self, event: Event) -> None:
        try:
            await self._send(event)
        except OSError:
            # So says a server whose client has gone; its disconnect event is on the way.
            self.state = State.COMPLETE
            self._count_late(f"a {event['type']!r} event")

    def _count_late(self, what: str) -> None:
        statistics.count(
            "send.after_close", f"{what} for a client that is gone", level=logging.DEBUG
        )
