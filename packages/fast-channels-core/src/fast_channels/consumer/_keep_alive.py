"""Comments in an event stream that has been quiet for long."""

import math
from collections.abc import Callable

from fast_channels.consumer._response import Response, State
from fast_channels.consumer._wheel import WheelEntry, wheel_of_loop
from fast_channels.types import Event, Send


def require_interval(interval: float | None, of: type) -> None:
    if interval is not None and not 0 < interval < math.inf:
        raise ValueError(
            f"{of.__qualname__}.keep_alive_interval is {interval!r}, expected a number of seconds "
            "above 0, or None"
        )


class KeptAlive(Response):
    """A response that asks its consumer for something to send when it has been quiet for long.

    A write only notes the time. What the wheel calls looks at that, and sets itself anew: one call
    in each interval, however much is sent.
    """

    __slots__ = ("_asked_at", "_entry", "_interval", "_written_at")

    def __init__(
        self,
        send: Send,
        on_complete: Callable[[], None],
        *,
        gives_up: bool,
        interval: float | None,
    ) -> None:
        super().__init__(send, "GET", on_complete, gives_up=gives_up)
        self._interval = interval
        self._written_at = self._asked_at = -math.inf
        self._entry: WheelEntry | None = None

    def keep_alive(self) -> None:
        """Begin to look, unless there is no interval."""
        if self._interval is not None and self.state is State.STARTED:
            self._call_later(self._interval)

    async def stop(self) -> None:
        if self._entry is not None:
            self._entry.cancel()
            self._entry = None
        await super().stop()

    async def _write(self, event: Event) -> None:
        self._written_at = self._loop.time()
        await super()._write(event)

    def _call_later(self, delay: float) -> None:
        self._entry = wheel_of_loop().call_later(delay, self._look)

    def _look(self) -> None:
        interval, now = self._interval, self._loop.time()
        if interval is None or self.connection.ending is not None:
            return
        due = self._written_at + interval
        if now < due:
            self._call_later(due - now)
            return
        # Once: a handler that is busy, perhaps with a write that the server holds up, comes first.
        if self._asked_at <= self._written_at:
            self._asked_at = now
            self.connection.channel.mailbox.put_event({"type": "http.keep_alive"})
        self._call_later(interval)
