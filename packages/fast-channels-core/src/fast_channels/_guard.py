"""Stands between a server's ``receive`` and a WebSocket application, and keeps its limits.

::

    server ── receive() ── guard ── receive() ── application
       └────── send() ───────┘ a report, or the close frame

Frames are looked at in the task that asks for them, so a client that is slowed down costs nothing
but a timer: the server stops reading from it when nobody asks.
"""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

from fast_channels._json_depth import is_deeper_than
from fast_channels._token_bucket import TokenBucket
from fast_channels.statistics import statistics
from fast_channels.types import Event, Receive, Scope, Send

if TYPE_CHECKING:
    from fast_channels.limits import Limits

_logger = logging.getLogger("fast_channels.limits")

REPORTS_AT_ONCE: Final = 5
REPORTS_PER_SECOND: Final = 1

CLOSE_TIMEOUT: Final = 5.0
"""Seconds that a server may take to write a close frame; some wait for the client's answer."""


class Fault(NamedTuple):
    """What is wrong with a frame."""

    reason: str
    code: int
    text: str
    closes: bool


class Guard:
    """Keeps the limits of one WebSocket; :meth:`receive` takes the place of the server's."""

    __slots__ = (
        "_allowed_drops",
        "_bucket",
        "_closing",
        "_dropped",
        "_held",
        "_limits",
        "_loop",
        "_receive",
        "_reports",
        "_resume_at",
        "_scope",
        "_send",
        "ended",
    )

    def __init__(self, limits: "Limits", scope: Scope, receive: Receive, send: Send) -> None:
        self._limits = limits
        self._scope = scope
        self._receive = receive
        self._send = send
        self._loop = asyncio.get_running_loop()
        self._bucket: TokenBucket | None = None
        self._allowed_drops: TokenBucket | None = None
        if limits.frames_per_second is not None:
            self._bucket = TokenBucket(limits.frames_per_second, limits.frames_at_once)
            self._allowed_drops = TokenBucket(limits.frames_per_second, limits.frames_at_once)
        self._reports = TokenBucket(REPORTS_PER_SECOND, REPORTS_AT_ONCE)
        self._dropped = 0
        self._held: MutableMapping[str, Any] | None = None
        self._resume_at: float | None = None
        self.ended: Event | None = None
        """The application's last event, if a limit has ended the connection."""
        self._closing: asyncio.Task[None] | None = None

    async def receive(self) -> MutableMapping[str, Any]:
        """The next event that keeps the limits. Cancelling it loses none."""
        while True:
            if self.ended is not None:
                # Who asks again and again, in spite of that event, must not stop everybody else.
                await asyncio.sleep(0)
                return self.ended.copy()
            if self._resume_at is not None:
                await asyncio.sleep(self._resume_at - self._loop.time())
                self._resume_at = None
            if self._held is not None:
                event, self._held = self._held, None
                return event
            event = await self._receive()
            if event["type"] != "websocket.receive" or await self._passes(event):
                return event

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """The application has ended: wait until the server has its close frame."""
        if (closing := self._closing) is None:
            return
        if kind is not None and issubclass(kind, asyncio.CancelledError):
            closing.cancel()
        cancelled: asyncio.CancelledError | None = None
        while not closing.done():
            try:
                await asyncio.wait([closing])
            except asyncio.CancelledError as error:
                closing.cancel()
                cancelled = error
        if cancelled is not None:
            raise cancelled

    async def _passes(self, event: MutableMapping[str, Any]) -> bool:
        limits, now, wait = self._limits, self._loop.time(), 0.0
        fault: Fault | None = None
        if self._bucket is not None:
            if limits.on_excess == "delay":
                wait = self._bucket.reserve(now)
            elif not self._bucket.take(now):
                fault = Fault(
                    "limit.rate",
                    1008,
                    f"too many frames: the limit is {limits.frames_per_second:g} a second",
                    limits.on_excess == "close",
                )
        fault = fault or self._find_oversize(event)
        if fault is None:
            if wait == 0:
                return True
            self._held, self._resume_at = event, now + wait
            self._count("limit.rate", "a frame had to wait", logging.DEBUG)
        elif fault.closes:
            self._count(fault.reason, fault.text)
            self._end(fault)
        else:
            self._count(fault.reason, fault.text)
            self._dropped += 1
            # Dropping costs, too: who sends so much that even that is over the rate has to wait.
            if self._allowed_drops is not None:
                wait = max(wait, self._allowed_drops.reserve(now))
            self._resume_at = now + wait
            if self._reports.take(now):
                await self._report(fault)
        return False

    def _find_oversize(self, event: MutableMapping[str, Any]) -> Fault | None:
        limits, text = self._limits, event.get("text")
        data = event.get("bytes") if text is None else text
        closes = limits.on_oversize == "close"
        if limits.frame_bytes is not None and data and _is_larger_than(limits.frame_bytes, data):
            what = f"a frame is too large: the limit is {limits.frame_bytes} bytes"
            return Fault("limit.frame_bytes", 1009, what, closes)
        if limits.json_depth is not None and text and is_deeper_than(limits.json_depth, text):
            what = f"JSON is nested too deeply: the limit is {limits.json_depth} levels"
            return Fault("limit.json_depth", 1008, what, closes)
        return None

    def _end(self, fault: Fault) -> None:
        """Tell the application at once; some servers wait for the client's answer to a close."""
        self.ended = {"type": "websocket.disconnect", "code": fault.code, "reason": fault.text}
        self._closing = self._loop.create_task(self._close(fault.code, fault.text))

    async def _close(self, code: int, reason: str) -> None:
        event = {"type": "websocket.close", "code": code, "reason": reason}
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT):
                try:
                    await self._send(event)
                except Exception:
                    # daphne takes no codes from 1001 to 2999.
                    await self._send({**event, "code": code + 3000})
                # hypercorn waits for room in its queue, for ever if nobody takes what is there.
                while (await self._receive())["type"] == "websocket.receive":
                    pass
        except Exception:
            # The client may have left at the same time, or be silent.
            _logger.debug("could not close %s", self._client(), exc_info=True)

    async def _report(self, fault: Fault) -> None:
        dropped, self._dropped = self._dropped, 0
        report = {
            "type": "error",
            "code": fault.code,
            "error": fault.reason,
            "message": fault.text,
            "dropped": dropped,
        }
        try:
            await self._send({"type": "websocket.send", "text": json.dumps(report)})
        except Exception:
            # It has left, or has not been accepted yet.
            _logger.debug("could not report to %s", self._client(), exc_info=True)

    def _count(self, reason: str, what: str, level: int = logging.WARNING) -> None:
        statistics.count(
            reason, f"{self._client()} at {self._scope.get('path')!r}: {what}", level=level
        )

    def _client(self) -> str:
        client = self._scope.get("client")
        return f"{client[0]}:{client[1]}" if client else "an unknown client"


async def run_guarded(
    limits: "Limits",
    scope: Scope,
    receive: Receive,
    send: Send,
    run: Callable[[Receive], Awaitable[None]],
) -> None:
    """Run an application with a ``receive`` that keeps the limits, if they concern it."""
    if scope["type"] != "websocket" or not limits.concern_frames:
        await run(receive)
        return
    async with Guard(limits, scope, receive, send) as guard:
        await run(guard.receive)


def _is_larger_than(limit: int, data: str | bytes) -> bool:
    """Whether the data takes more than ``limit`` bytes; text as UTF-8, which has one to four."""
    if isinstance(data, bytes) or len(data) > limit or data.isascii():
        return len(data) > limit
    return 4 * len(data) > limit and len(data.encode(errors="surrogatepass")) > limit
