"""Finding out that a client has gone without a word: by asking one that is silent.

The pings of a server say less: that some machine is there, not that the page still runs on it. A
script in a browser cannot see them, and a server has one setting for all of its connections.
"""

import asyncio
import logging
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple, Self, cast

from fast_channels.consumer._close_frame import ABNORMAL
from fast_channels.consumer._outbox import ONE_WAITS, Outbox
from fast_channels.consumer._protocol import Ending
from fast_channels.consumer._socket import Socket, State
from fast_channels.consumer._wheel import RESOLUTION, WheelEntry, wheel_of_loop
from fast_channels.statistics import statistics
from fast_channels.types import Event, Headers, Receive, Scope, Send

if TYPE_CHECKING:
    from fast_channels.consumer.websocket import AsyncWebsocketConsumer

TIMEOUT: Final = 3008
"""What a client that was only slow is told, as 1006 must not be sent: "Timeout" in IANA's
registry of close codes."""


class Heartbeat(NamedTuple):
    """When a client is asked, and what."""

    interval: float
    timeout: float
    text: str

    @classmethod
    def of(cls, consumer: "AsyncWebsocketConsumer | type[AsyncWebsocketConsumer]") -> Self | None:
        """What its attributes say. Raises :class:`ValueError` if that cannot be done, and
        :class:`TypeError` for values of wrong types."""
        interval, timeout = consumer.heartbeat_interval, consumer.heartbeat_timeout
        if interval is None:
            return None
        for name, seconds in (("interval", interval), ("timeout", timeout)):
            if isinstance(seconds, bool) or not isinstance(seconds, int | float):  # pyright: ignore[reportUnnecessaryIsInstance]  # untyped callers
                raise TypeError(f"heartbeat_{name} must be a number of seconds, not {seconds!r}")
            if not 0 < seconds < math.inf:
                raise ValueError(
                    f"heartbeat_{name} is {seconds!r}, expected a number of seconds above 0"
                )
        if not isinstance(consumer.heartbeat_text, str):  # pyright: ignore[reportUnnecessaryIsInstance]  # untyped callers
            raise TypeError(f"heartbeat_text must be a str, not {consumer.heartbeat_text!r}")
        if not consumer.heartbeat_text:
            raise ValueError("heartbeat_text is empty, expected what a client can answer")
        return cls(interval, timeout, consumer.heartbeat_text)


class WatchedSocket(Socket):
    """A socket whose client is asked for a sign of life when it is silent.

    A frame that comes only notes the time. What the wheel calls looks whether one came since it
    was set, and sets itself anew: one call in each interval, however much the client says.
    """

    __slots__ = (
        "_answer_by",
        "_asked",
        "_entry",
        "_heartbeat",
        "_is_silent",
        "_silent_since",
        "_time",
        "_wheel",
    )

    def __init__(self, send: Send, options: Outbox, heartbeat: Heartbeat) -> None:
        super().__init__(send, options)
        self._heartbeat = heartbeat
        self._time = asyncio.get_running_loop().time
        self._wheel = wheel_of_loop()
        self._entry: WheelEntry | None = None
        self._silent_since = math.inf
        """When the reader began to wait for the client. Never, while it waits for a handler."""
        self._asked = math.nan
        """The silence, by its beginning, in which the client was asked."""
        self._answer_by = math.inf
        self._is_silent = False

    def listen(self, receive: Receive) -> Receive:
        time, text = self._time, self._heartbeat.text

        async def receive_what_matters() -> Event:
            while True:
                self._silent_since = time()
                event = cast(Event, await receive())
                self._silent_since = math.inf
                # When the socket is closing, the reader has to see what stopped it.
                if event.get("text") != text or self.state is not State.OPEN:
                    return event

        return receive_what_matters

    async def accept(self, scope: Scope, subprotocol: str | None, headers: Headers | None) -> None:
        was_connecting = self.state is State.CONNECTING
        await super().accept(scope, subprotocol, headers)
        if was_connecting and self.state is State.OPEN:
            self._call_later(self._heartbeat.interval, self._look)

    def _call_later(self, delay: float, callback: Callable[[], None]) -> None:
        self._entry = self._wheel.call_later(delay, callback)

    def _look(self) -> None:
        interval, timeout, text = self._heartbeat
        silence = self._time() - self._silent_since
        if silence < interval:
            self._call_later(min(interval, interval - silence), self._look)
            return
        self._asked = self._silent_since
        self._answer_by = self._time() + timeout
        self._look_for_answer()
        if self._outbox is not None:
            self._outbox.post({"type": "websocket.send", "text": text})

    def _look_for_answer(self) -> None:
        left = self._answer_by - self._time()
        if self._silent_since != self._asked:
            self._look()
        elif left > RESOLUTION:
            self._call_later(
                min(left - RESOLUTION, self._heartbeat.interval), self._look_for_answer
            )
        else:
            # If a handler blocked the event loop, the answer may have come but not been read.
            self._call_later(RESOLUTION, self._give_up)

    def _give_up(self) -> None:
        if self._silent_since != self._asked:
            self._look()
            return
        statistics.count(
            "client.silent", "a client did not answer the heartbeat", level=logging.INFO
        )
        self._is_silent = True
        self.connection.lose_client(ABNORMAL, "no answer to the heartbeat", by_client=False)

    # The end.

    def _stop(self) -> None:
        if self._entry is not None:
            self._entry.cancel()
            self._entry = None

    def client_left(self) -> None:
        self._stop()
        if self._is_silent and self.state is State.OPEN:
            # Perhaps it is there, after all.
            super().closing(flush=False)
        else:
            super().client_left()

    def closing(self, *, flush: bool) -> None:
        self._stop()
        super().closing(flush=flush)

    async def say_goodbye(self, ending: Ending) -> None:
        if self._is_silent:
            ending = ending._replace(code=TIMEOUT)
        await super().say_goodbye(ending)


def make_socket(consumer: "AsyncWebsocketConsumer") -> Socket:
    """The socket that the consumer's attributes ask for."""
    outbox, heartbeat = consumer.outbox, Heartbeat.of(consumer)
    if outbox is None and (consumer.overflow == "close" or heartbeat is not None):
        # What ends the connection from outside frees a handler that waits in send().
        outbox = ONE_WAITS
    if outbox is None or heartbeat is None:
        return Socket(consumer.base_send, outbox)
    return WatchedSocket(consumer.base_send, outbox, heartbeat)
