"""The mailbox of a connection: events of its client and of its channel, in one order."""

import asyncio
from collections.abc import Callable

from fast_channels.layers._mailbox import Envelope, Mailbox
from fast_channels.types import Event, Message


class PulledEnvelope(Envelope):
    """A message from a layer that decodes by itself; ``opened`` is done when a handler has it."""

    __slots__ = ("_message", "opened")

    def __init__(self, message: Message) -> None:
        self._message = message
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.expires_at = float("inf")
        self.frame = None

    def open(self) -> Message:
        if not self.opened.done():
            self.opened.set_result(None)
        return self._message


class ConnectionMailbox(Mailbox):
    """Filled by the reader and by a layer, emptied by the dispatch loop.

    The capacity bounds what comes from the layer. Of the client's events at most ``ahead`` wait:
    then the reader asks the server for the next one when one of them went to its handler, so a
    client that is too fast is slowed down by the server's own flow control.

    ``on_overflow`` is asked when the mailbox is full, and returns whether it made room.
    """

    __slots__ = ("_loop", "_on_overflow", "_taken", "_waiting", "ahead", "on_close")

    takes_gaps = True

    def __init__(
        self, loop: asyncio.AbstractEventLoop, on_overflow: Callable[[], bool] | None, ahead: int
    ) -> None:
        super().__init__()
        self.ahead = ahead
        self._waiting = 0
        self._loop = loop
        self._on_overflow = on_overflow
        self.on_close: Callable[[], None] | None = None
        """Called when the layer closes the channel, in the connection's own loop."""
        self._taken: asyncio.Future[None] | None = None

    async def put_client_event(self, event: Event) -> None:
        """Queue an event of the client; returns when there is room for the next one."""
        self.limit += 1
        self._waiting += 1
        self.items.append(event)
        self.notify(self._loop)
        if self._waiting >= self.ahead:
            taken = self._taken = self._loop.create_future()
            await taken

    def put_event(self, event: Event) -> None:
        """Queue an event that nobody waits with: it comes neither from the layer nor the client."""
        self.limit += 1
        self._waiting += 1
        self.items.append(event)
        self.notify(self._loop)

    def taken(self) -> None:
        """The dispatch loop has taken the client's event: the reader may go on."""
        self.limit -= 1
        self._waiting -= 1
        taken, self._taken = self._taken, None
        if taken is not None and not taken.done():
            taken.set_result(None)

    def arrival(self) -> asyncio.Future[None]:
        """Done when there is something to take, or :meth:`wake` was called."""
        waiter = self._loop.create_future()
        self.waiters.append(waiter)
        if self.items:  # A sender of another thread came before the waiter was to be seen.
            self.wake()
        return waiter

    def notify(self, loop: asyncio.AbstractEventLoop) -> None:
        if loop is not self._loop:
            if self.waiters:
                self._notify_elsewhere(self._loop)
        elif self.waiters:
            waiter = self.waiters.pop()
            if not waiter.done():
                waiter.set_result(None)

    def wake(self) -> None:
        """Make the dispatch loop look around, whether there is a message or not."""
        self.notify(self._loop)

    def drop_oldest(self) -> bool:
        """Drop the oldest message of the layer; False when none waits."""
        # Any thread does this: meanwhile the dispatch loop must not miss an event of the client.
        for item in self.items.copy():
            if isinstance(item, Envelope):
                try:
                    self.items.remove(item)
                except ValueError:
                    continue  # The dispatch loop was quicker.
                return True
        return False

    def close(self, loop: asyncio.AbstractEventLoop | None) -> None:
        super().close(loop)
        if loop is self._loop and self.on_close is not None:
            self.on_close()

    def overflow(self) -> bool:
        return not self.closed and self._on_overflow is not None and self._on_overflow()


class WatchedMailbox(ConnectionMailbox):
    """One whose dispatch loop a test kit can wait for."""

    __slots__ = ("_idle",)

    def __init__(
        self, loop: asyncio.AbstractEventLoop, on_overflow: Callable[[], bool] | None, ahead: int
    ) -> None:
        super().__init__(loop, on_overflow, ahead)
        self._idle: asyncio.Future[None] | None = None

    def is_idle(self) -> bool:
        """Whether the dispatch loop waits, and for something new."""
        return not self.items and any(not waiter.done() for waiter in self.waiters)

    def idle(self) -> asyncio.Future[None]:
        """Done when the dispatch loop begins to wait; never, if it ends."""
        if self._idle is None or self._idle.done():
            self._idle = self._loop.create_future()
        return self._idle

    def arrival(self) -> asyncio.Future[None]:
        waiter = super().arrival()
        if self._idle is not None and not self._idle.done():
            self._idle.set_result(None)
        return waiter
