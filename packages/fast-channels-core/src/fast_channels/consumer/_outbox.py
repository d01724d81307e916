"""What bounds a client that reads too slowly: frames that wait between ``send`` and the server.

Without an outbox a handler waits in ``send`` until the server has taken the frame, which is the
back-pressure that a slow client puts on its own connection. With one, ``send`` returns at once.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from fast_channels.consumer._protocol import LOST
from fast_channels.layers._fanout import Started, WritesAnywhere, failed, writes_anywhere
from fast_channels.statistics import statistics
from fast_channels.types import Event, Send

if TYPE_CHECKING:
    from fast_channels.consumer._socket import Socket

OutboxOverflow = Literal["close", "drop_newest", "drop_oldest", "latest_per_key", "wait"]

_FINISHED: Final = object()
_EXPECTED: Final = frozenset({"outbox.replaced", "outbox.unsent"})
"""What is counted, but nothing to warn of."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outbox:
    """How much may wait for one client, and what happens to a frame for which there is no room.

    A frame waits while the server has not taken the one before it: what the server and the
    system keep in their own buffers comes on top. A frame that is larger than ``max_bytes`` is
    taken when nothing else waits.

    ``overflow``:

    * ``"close"``: what waits is dropped and the connection closed with 1013;
    * ``"drop_newest"``, ``"drop_oldest"``: that frame is dropped;
    * ``"latest_per_key"``: a frame that is sent with a ``key`` takes the place of the one with
      the same key that waits, also while there is room; without room the oldest is dropped;
    * ``"wait"``: ``send`` waits for room.

    Every drop is counted; see :mod:`fast_channels.statistics`. Raises :class:`ValueError` for a
    number below one or an unknown ``overflow``, :class:`TypeError` for a number that is no int.
    """

    max_messages: int = 256
    """Frames."""

    max_bytes: int = 1 << 20
    """Bytes of their data, text as UTF-8."""

    overflow: OutboxOverflow = "close"
    """What happens to a frame for which there is no room."""

    def __post_init__(self) -> None:
        for name in ("max_messages", "max_bytes"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int):
                raise TypeError(f"Outbox.{name} must be an int, not {value!r}")
            if value < 1:
                raise ValueError(f"Outbox.{name} is {value!r}, expected 1 or more")
        if self.overflow not in (policies := get_args(OutboxOverflow)):
            raise ValueError(f"Outbox.overflow is {self.overflow!r}, expected one of {policies}")


def require_outbox(owner: type, outbox: object) -> None:
    if not isinstance(outbox, Outbox | None):
        raise TypeError(f"{owner.__qualname__}.outbox must be an Outbox or None, not {outbox!r}")


ONE_WAITS: Final = Outbox(max_messages=1, overflow="wait")
"""At most one frame waits beside the one that the server has not taken: nearly no outbox."""


class _Waiting:
    """One frame that waits; another may take its place."""

    __slots__ = ("event", "key", "size")

    def __init__(self, event: Event, size: int, key: Hashable) -> None:
        self.event = event
        self.size = size
        self.key = key


class OutboxWriter(WritesAnywhere):
    """Writes the frames of one socket in order, and holds those that have to wait.

    A task runs only while frames wait. Of a server's own ``send`` the first step is taken at
    once, which mostly is all of it.
    """

    __slots__ = (
        "_by_key",
        "_bytes",
        "_first",
        "_is_direct",
        "_is_fresh",
        "_is_open",
        "_items",
        "_loop",
        "_options",
        "_room",
        "_send",
        "_socket",
        "writer",
    )

    def __init__(self, send: Send, options: Outbox, socket: "Socket") -> None:
        self._send = send
        self._options = options
        self._socket = socket
        self._is_direct = writes_anywhere(send)
        self._is_fresh = False
        self._is_open = True
        self._loop = asyncio.get_running_loop()
        self._items = deque[_Waiting]()
        self._first: Event | None = None
        self._by_key: dict[Hashable, _Waiting] = {}
        self._bytes = 0
        self._room = deque[asyncio.Future[None]]()
        self.writer: asyncio.Task[None] | None = None
        """The task that writes what waits; None while nothing does."""

    async def send(self, event: Any, key: Hashable = None) -> None:
        """Write or queue a frame. Waits only by the policy ``wait``; what fails is not raised
        here, but given to the connection."""
        if self._is_direct and self.writer is None and self._is_open and not self._room:
            self._write_at_once(event)
            return
        size = _size(event)
        if self._is_fresh and not self._has_room(size):
            # A handler that sends without a pause says nothing of how slow its client is.
            await asyncio.sleep(0)
        if self._options.overflow == "wait":
            await self._wait_for_room(size)
        elif self._replaces(event, size, key) or not self._makes_room(size):
            return
        if self._is_open:
            self.put(event, size, key)
        else:
            _count("outbox.unsent", "frames that waited when the connection ended")

    def put(self, event: Event, size: int, key: Hashable = None) -> None:
        """Queue a frame, whether there is room or not."""
        item = _Waiting(event, size, key)
        self._items.append(item)
        self._bytes += size
        if key is not None and self._options.overflow == "latest_per_key":
            self._by_key[key] = item
        if self.writer is None:
            self._start_writing(None)
        self._wake_sender()

    def post(self, event: Event) -> None:
        """Write a frame before those that wait; no policy drops it, except for a later one."""
        if self.writer is None and self._is_direct:
            self._write_at_once(event)
            return
        self._first = event
        if self.writer is None:
            self._start_writing(None)

    # What waits.

    def _next(self) -> Event:
        first, self._first = self._first, None
        return self._pop() if first is None else first

    def _pop(self) -> Event:
        item = self._items.popleft()
        self._bytes -= item.size
        if item.key is not None and self._by_key.get(item.key) is item:
            del self._by_key[item.key]
        self._wake_sender()
        return item.event

    def _has_room(self, size: int) -> bool:
        options = self._options
        return not self._items or (
            len(self._items) < options.max_messages and self._bytes + size <= options.max_bytes
        )

    def _replaces(self, event: Event, size: int, key: Hashable) -> bool:
        """Let the frame take the place of the one with its key; False if none such waits.

        In its old place, or what changes all the time would be put off for ever.
        """
        if key is None or (item := self._by_key.get(key)) is None:
            return False
        self._bytes += size - item.size
        item.event, item.size = event, size
        _count("outbox.replaced", "frames gave way to later ones of their keys")
        while self._bytes > self._options.max_bytes and len(self._items) > 1:
            self._drop_oldest()
        return True

    def _makes_room(self, size: int) -> bool:
        """Whether there is room, after what the policy says was done to make some."""
        while not self._has_room(size):
            match self._options.overflow:
                case "close":
                    _count("outbox.closed", "clients were too slow for their outboxes")
                    self._socket.connection.end_overflowed()
                    return False
                case "drop_newest":
                    _count("outbox.full", "full outboxes dropped their newest frames")
                    return False
                case _:
                    self._drop_oldest()
        return True

    def _drop_oldest(self) -> None:
        self._pop()
        _count("outbox.full", "full outboxes dropped their oldest frames")

    # Who waits.

    async def _wait_for_room(self, size: int) -> None:
        waited = False
        # Who comes later does not overtake.
        while self._is_open and (not self._has_room(size) or (self._room and not waited)):
            waiter = self._loop.create_future()
            self._room.insert(0 if waited else len(self._room), waiter)
            try:
                await waiter
            except BaseException:
                self._room.remove(waiter)
                # It may have been woken for a place that it will not take.
                self._wake_sender()
                raise
            self._room.remove(waiter)
            waited = True

    def _wake_sender(self) -> None:
        if self._room and not (waiter := self._room[0]).done():
            waiter.set_result(None)

    # The writer.

    def _write_at_once(self, event: Event) -> None:
        writing = self._send(event).__await__()
        try:
            yielded = next(writing, _FINISHED)
        except (Exception, asyncio.CancelledError) as error:
            self._fail(error)
        else:
            if yielded is not _FINISHED:
                self._start_writing(Started(writing, yielded))

    def _start_writing(self, rest: Started | None) -> None:
        self._is_fresh = rest is None
        context = self._socket.connection.context.copy()
        writer = self._loop.create_task(self._write(rest), context=context)
        # An eager task may have ended by now.
        self.writer = None if writer.done() else writer

    async def _write(self, rest: Started | None) -> None:
        self._is_fresh = False
        try:
            if rest is not None:
                await self._try(rest)
            while self._first is not None or self._items:
                await self._try(self._send(self._next()))
        finally:
            self.writer = None

    async def _try(self, write: Awaitable[None]) -> None:
        try:
            await write
        except asyncio.CancelledError as error:
            if (task := asyncio.current_task()) is not None and task.cancelling():
                raise
            self._fail(error)
        except Exception as error:
            self._fail(error)

    def _fail(self, error: Exception | asyncio.CancelledError) -> None:
        if isinstance(error, LOST):
            self._socket.lost(error)
        else:
            self._socket.connection.finish_write(failed(error))

    # The end.

    def close(self, *, flush: bool) -> None:
        """Take no more frames; without ``flush``, drop those that wait, and the one that the
        server has not taken yet."""
        self._is_open = False
        for waiter in self._room:
            if not waiter.done():
                waiter.set_result(None)
        if flush:
            return
        if self._items:
            _count("outbox.unsent", "frames waited when their connection ended", len(self._items))
        self._first = None
        self._items.clear()
        self._by_key.clear()
        self._bytes = 0
        if self.writer is not None and self.writer is not asyncio.current_task():
            self.writer.cancel()

    async def flush(self) -> None:
        """Wait until nothing waits any more."""
        if self.writer is not None:
            await asyncio.wait([self.writer])

    async def stop(self) -> None:
        """Drop what still waits, and wait for the writer's end."""
        self.close(flush=False)
        await self.flush()


def _size(event: Event) -> int:
    text = event.get("text")
    if text is None:
        return len(event["bytes"])
    return len(text) if text.isascii() else len(text.encode())


def _count(reason: str, detail: str, times: int = 1) -> None:
    level = logging.DEBUG if reason in _EXPECTED else logging.WARNING
    statistics.count(reason, detail, times=times, level=level)
