"""The mailbox of a connection: events of its client and of its channel, in one order."""

import asyncio
import time
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

    ``capacity`` bounds what comes from the layer. Of the client's events at most one waits: the
    reader asks the server for the next when the last one went to its handler, so a client that
    is too fast is slowed down by the server's own flow control.

    ``write_now`` is tried when a message arrives while the loop waits with nothing else to do;
    it returns whether the message is dealt with. ``on_overflow`` is asked when the mailbox is
    full, and returns whether it made room.
    """

    __slots__ = ("_loop", "_on_overflow", "_taken", "_write_now")

    takes_gaps = True

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        write_now: Callable[[Event], bool] | None,
        on_overflow: Callable[[], bool] | None,
    ) -> None:
        super().__init__()
        self._loop = loop
        self._write_now = write_now
        self._taken: asyncio.Future[None] | None = None
        self._on_overflow = on_overflow

    async def put_client_event(self, event: Event) -> None:
        """Queue an event of the client; returns when the dispatch loop has taken it."""
        taken = self._taken = self._loop.create_future()
        self.limit += 1
        self.items.append(event)
        self.notify(self._loop)
        await taken

    def take(self) -> Envelope | Event | None:
        """The next message or client event; None when there is none."""
        items = self.items
        while items:
            item: Envelope | Event = items.popleft()
            if not isinstance(item, Envelope):
                self.limit -= 1
                self.resume_reader()
                return item
            if item.expires_at > time.monotonic():
                return item
        return None

    def resume_reader(self) -> None:
        taken, self._taken = self._taken, None
        if taken is not None and not taken.done():
            taken.set_result(None)

    def drop_oldest(self) -> bool:
        """Drop the oldest message of the layer; False when none waits."""
        client_events: list[Event] = []
        try:
            while not isinstance(item := self.items.popleft(), Envelope):
                client_events.append(item)
        except IndexError:
            return False
        finally:
            self.items.extendleft(reversed(client_events))
        return True

    def _make_room(self) -> bool:
        if super()._make_room():
            return True
        return not self.closed and self._on_overflow is not None and self._on_overflow()

    def notify(self, loop: asyncio.AbstractEventLoop) -> None:
        if (
            self._write_now is not None
            and self.waiters
            and loop is self._loop
            and len(self.items) == 1
            and not self.waiters[0].done()
        ):
            item = self.items[0]
            if isinstance(item, Envelope) and item.frame is not None:
                self.items.clear()
                if self._write_now(item.frame):
                    return
                self.items.appendleft(item)
        super().notify(loop)

    def wake(self) -> None:
        """Make the dispatch loop look around, whether there is a message or not."""
        super().notify(self._loop)
