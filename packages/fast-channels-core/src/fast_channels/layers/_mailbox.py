"""Where messages wait for their receiver: an envelope, and the mailbox of one channel."""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from fast_channels.exceptions import ChannelClosed
from fast_channels.types import Event, Message

class Envelope:
    """One message as the channels of this process share it.

    It was encoded once; every receiver decodes a message of its own, so none can see what
    another does to it. A frame that goes straight to the sockets is decoded once for all of
    them, and nobody may change it.
    """

    __slots__ = ("_decode", "_payload", "expires_at", "frame")

    def __init__(
        self,
        payload: bytes,
        decode: Callable[[bytes], Message],
        expires_at: float,
        message_type: str,
    ) -> None:
        self._payload = payload
        self._decode = decode
        self.expires_at = expires_at
        """On the clock of ``time.monotonic()``, seconds."""
        self.frame = as_frame(decode(payload)) if message_type == "websocket.send" else None
        """The ASGI event to write, if the message is one and nothing else."""

    def open(self) -> Message:
        return self._decode(self._payload)


def as_frame(message: Message) -> Event | None:
    """The ASGI event of a well-formed ``websocket.send`` message; None for any other."""
    text, data = message.get("text"), message.get("bytes")
    if isinstance(text, str) and data is None:
        return {"type": "websocket.send", "text": text}
    if isinstance(data, bytes) and text is None:
        return {"type": "websocket.send", "bytes": data}
    return None


class Mailbox:
    """The messages that wait in one channel, and the tasks that wait for one.

    Any thread may ``put`` and ``notify``, under the lock of the layer where several threads
    share it; only the loop of a receiver touches what that receiver waits on. ``put`` and
    ``notify`` are two steps, because ``notify`` may run code of the receiver, and a sender to
    many must have filled every mailbox before that.
    """

    __slots__ = ("_items", "_limit", "_waiters", "closed", "groups", "name")

    def __init__(self) -> None:
        self.name = ""
        self.groups: set[str] | None = None
        """The groups that this channel is in; None until the first one."""
        self.closed = False
        # Client events of a connection wait here too, as mappings.
        self._items: deque[Any] = deque()
        self._limit = 0
        self._waiters: list[asyncio.Future[None]] = []

    def open(self, name: str, capacity: int) -> None:
        """Become the mailbox of a channel, for at most ``capacity`` messages."""
        self.name = name
        self._limit = capacity

    def __len__(self) -> int:
        return len(self._items)

    @property
    def waiting(self) -> bool:
        """Whether a task waits for a message."""
        return bool(self._waiters)

    def put(self, envelope: Envelope) -> bool:
        """Queue a message; False when the mailbox is full or closed."""
        if len(self._items) >= self._limit and not self._make_room():
            return False
        self._items.append(envelope)
        return True

    def _make_room(self) -> bool:
        if self.closed:
            return False
        self.drop_expired()
        return len(self._items) < self._limit

    def drop_expired(self) -> None:
        items, now = self._items, time.monotonic()
        while items and isinstance(items[0], Envelope) and items[0].expires_at <= now:
            items.popleft()

    def notify(self, loop: asyncio.AbstractEventLoop) -> None:
        """Wake the longest waiting receiver; ``loop`` is the caller's running loop."""
        waiters = self._waiters
        while waiters:
            waiter = waiters[0]
            owner = waiter.get_loop()
            if owner is not loop:
                if not owner.is_closed():
                    try:
                        owner.call_soon_threadsafe(self.notify, owner)
                    except RuntimeError:
                        # Closed since: its tasks are gone, and this waiter with them.
                        pass
                    else:
                        return
                self._forget(waiter)
                continue
            self._forget(waiter)
            if not waiter.done():
                waiter.set_result(None)
                return

    def _forget(self, waiter: asyncio.Future[None]) -> None:
        try:
            self._waiters.remove(waiter)
        except ValueError:
            pass

    async def wait(self) -> None:
        """Return when there may be something to take."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            # A sender of another thread may have come before the waiter was to be seen.
            if not self._items and not self.closed:
                await waiter
        except asyncio.CancelledError:
            # It was woken for a message that it will not take: somebody else may.
            if waiter.done() and not waiter.cancelled() and self._items:
                self.notify(asyncio.get_running_loop())
            raise
        finally:
            self._forget(waiter)

    async def receive(self) -> Message:
        """The next message that has not expired, waiting for it.

        A message leaves the mailbox only when the caller is sure to have it: cancelling loses
        none. Raises :class:`ChannelClosed` when the channel is closed meanwhile.
        """
        items = self._items
        while True:
            while items:
                envelope = items.popleft()
                if envelope.expires_at > time.monotonic():
                    message: Message = envelope.open()
                    return message
            if self.closed:
                raise ChannelClosed(self.name)
            await self.wait()

    def clear(self) -> None:
        self._items.clear()

    def close(self, loop: asyncio.AbstractEventLoop | None) -> None:
        """Take no more messages, drop those that wait, and let go every waiting receiver."""
        self.closed = True
        self._limit = 0
        self._items.clear()
        for waiter in self._waiters.copy():
            owner = waiter.get_loop()
            if owner is loop:
                _resolve(waiter)
            elif not owner.is_closed():
                owner.call_soon_threadsafe(_resolve, waiter)


def _resolve(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
