"""The state of one HTTP response, and what may be sent in it."""

import asyncio
import logging
from collections.abc import Callable
from enum import Enum, auto
from typing import Final

from fast_channels._refusal import PLAIN_TEXT
from fast_channels.consumer._close_frame import SERVICE_RESTART
from fast_channels.consumer._protocol import Ending, Protocol
from fast_channels.exceptions import ConnectionStateError
from fast_channels.statistics import statistics
from fast_channels.types import Event, Headers, Scope, Send

NO_CONTENT: Final = frozenset({204, 304})
"""The statuses whose responses have no body: RFC 9110, 6.4.1."""
HELD: Final = 0.001
"""Seconds that a write takes if the server has to wait for the client, and else does not."""


class State(Enum):
    WAITING = auto()
    """Nothing of the response is sent."""
    STARTED = auto()
    """Status and headers are sent, and perhaps a part of the body."""
    COMPLETE = auto()
    """All is sent, or the client has left."""


class Response(Protocol):
    """Writes what the state allows; drops and counts what comes too late."""

    __slots__ = (
        "_client_has_left",
        "_gives_up",
        "_has_body",
        "_held",
        "_is_given_up",
        "_is_head",
        "_loop",
        "_missing",
        "_on_complete",
        "_send",
        "state",
    )

    def __init__(
        self, send: Send, method: str, on_complete: Callable[[], None], *, gives_up: bool
    ) -> None:
        """``gives_up``: whether writes are given up for :meth:`closing` without ``flush``."""
        self._gives_up = gives_up
        self._loop = asyncio.get_running_loop()
        self._send = send
        self._on_complete = on_complete
        self._is_head = method == "HEAD"
        self._has_body = True
        self._missing: int | None = None
        """Bytes that the content-length promises and that were not sent yet."""
        self._client_has_left = False
        self._is_given_up = False
        self._held = set[asyncio.Timeout]()
        """Of the writes that may be given up; without a time until then."""
        self.state = State.WAITING

    async def start(self, status: int, headers: Headers) -> None:
        if self.state is State.STARTED:
            raise ConnectionStateError("the headers were sent already: send_headers() comes once")
        if self.state is State.COMPLETE:
            self._count_late("the headers of a response")
            return
        self.state = State.STARTED
        headers = list(headers)
        self._has_body = status not in NO_CONTENT
        if self._has_body and not self._is_head:
            self._missing = _content_length(headers)
        await self._write({"type": "http.response.start", "status": status, "headers": headers})

    async def body(self, body: bytes, *, more_body: bool) -> None:
        if self.state is State.WAITING:
            raise ConnectionStateError("send_headers() comes before send_body()")
        if self.state is State.COMPLETE or (self._is_given_up and more_body):
            self._count_late("a part of a body")
            return
        if body and not self._has_body:
            raise ValueError("a response of status 204 or 304 has no body (RFC 9110, 6.4.1)")
        if self._is_head:
            # Not every server drops it, and the client would take it for the next response.
            body = b""
        if self._missing is not None:
            self._missing = _still_missing(self._missing - len(body), more_body)
        if not more_body:
            self.state = State.COMPLETE
        begun_at = self._loop.time()
        try:
            await self._write({"type": "http.response.body", "body": body, "more_body": more_body})
        finally:
            if not more_body:
                self._on_complete()
        if more_body and self._loop.time() - begun_at > HELD:
            # Perhaps until the client left. hypercorn takes what is for one that has gone without
            # ever waiting, and so the reader would get no turn to hear of it.
            await asyncio.sleep(0)

    def client_left(self) -> None:
        self.state = State.COMPLETE
        self._client_has_left = True

    def closing(self, *, flush: bool) -> None:
        if not flush:
            # The client does not read, and so the server may hold up a handler for as long.
            self._is_given_up = True
            for held in self._held:
                held.reschedule(0)

    def has_goodbye(self) -> bool:
        return self.state is not State.COMPLETE

    async def say_goodbye(self, ending: Ending) -> None:
        """Answer 500 if nothing was sent, else end the body: no request is left hanging.

        Or 503, if it was not the request's fault, but the process is to end.
        """
        if self.state is State.WAITING:
            drained = ending.code == SERVICE_RESTART
            await self.start(503 if drained else 500, [PLAIN_TEXT])
            await self.body(
                b"Service Unavailable" if drained else b"Internal Server Error", more_body=False
            )
        elif self.state is State.STARTED and not self._missing:
            await self.body(b"", more_body=False)
        else:
            # Less was sent than the content-length says. Servers close the connection of a
            # response that is left like this; uvicorn with h11 would not if it were completed.
            self.state = State.COMPLETE

    def disconnect_event(self, scope: Scope, ending: Ending) -> Event:
        return {"type": "http.disconnect"}

    async def _write(self, event: Event) -> None:
        try:
            if self._gives_up:
                await self._send_until_given_up(event)
            else:
                await self._send(event)
        except Exception as error:
            # OSError: so says a server whose client has gone; its disconnect event is on the way.
            if not self._client_has_left and not isinstance(error, OSError):
                raise
            self.state = State.COMPLETE
            self._count_late(f"a {event['type']!r} event")

    async def _send_until_given_up(self, event: Event) -> None:
        held = asyncio.timeout(None)
        self._held.add(held)
        try:
            async with held:
                await self._send(event)
        except TimeoutError:
            if not held.expired():
                raise
            self._count_late("an event that the server held up,")
        finally:
            self._held.discard(held)

    def _count_late(self, what: str) -> None:
        statistics.count(
            "send.after_close", f"{what} for a client that is gone", level=logging.DEBUG
        )


def checked_headers(headers: Headers) -> list[tuple[bytes, bytes]]:
    checked: list[tuple[bytes, bytes]] = []
    for name, value in headers:
        if not isinstance(name, bytes) or not isinstance(value, bytes):  # pyright: ignore[reportUnnecessaryIsInstance]  # untyped callers
            raise TypeError(f"header names and values must be bytes, not {name!r}: {value!r}")
        checked.append((name, value))
    return checked


def _content_length(headers: Headers) -> int | None:
    for name, value in headers:
        if name.lower() == b"content-length" and value.isdigit():
            return int(value)
    return None


def _still_missing(missing: int, more_body: bool) -> int:
    # Not every server looks, and a client would wait for the rest, or take what is too much for
    # the beginning of the next response.
    if missing < 0 or (missing > 0 and not more_body):
        difference = f"{abs(missing)} bytes {'longer' if missing < 0 else 'shorter'}"
        raise ValueError(f"the body is {difference} than its content-length says: it was not sent")
    return missing
