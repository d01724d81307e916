"""Where messages wait for their receiver: an envelope, and the mailbox of one channel."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping
from types import NoneType
from typing import TYPE_CHECKING, Any, Final
from weakref import ReferenceType

from fast_channels.exceptions import ChannelClosed
from fast_channels.types import Event, Message

if TYPE_CHECKING:
    from fast_channels.layers._fanout import FrameWriter


_IMMUTABLE: Final = frozenset({str, bytes, int, float, bool, NoneType})
_ALL_STR: Final = frozenset({str}).issuperset


class Envelope:
    """One message as the channels of this process share it.

    It was encoded once; every receiver decodes a message of its own, so none can see what
    another does to it. A frame that goes straight to the sockets is decoded once for all of
    them, and nobody may change it.
    """

    __slots__ = ("_decode", "_payload", "_plain", "_spare", "expires_at", "frame")

    def __init__(
        self,
        payload: bytes,
        decode: Callable[[bytes], Message],
        expires_at: float,
        message: Mapping[str, Any],
        spare: Message | None = None,
    ) -> None:
        """``payload`` decodes to ``message``, which belongs to somebody else. ``spare``: one that
        belongs to nobody, for the first receiver; worthwhile if there is only one."""
        self._payload = payload
        self._decode = decode
        self.expires_at: float = expires_at
        """On the clock of ``time.monotonic()``, seconds."""
        # A message without containers needs no decoding: a copy is another message.
        is_flat = (
            spare is None
            and _IMMUTABLE.issuperset(map(type, message.values()))
            and _ALL_STR(map(type, message))
        )
        self._plain = dict(message) if is_flat else None
        self._spare = spare
        self.frame: Event | None = None
        """The ASGI event to write, if the message is one and nothing else."""
        # What has a key is for an outbox to look at.
        if message["type"] == "websocket.send" and "key" not in message:
            self.frame = as_frame(self.open())

    def open(self) -> Message:
        """A message for one receiver."""
        if self._plain is not None:
            return self._plain.copy()
        message, self._spare = self._spare, None
        return self._decode(self._payload) if message is None else message


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

    __slots__ = (
        "closed",
        "groups",
        "items",
        "limit",
        "max_groups",
        "name",
        "owner",
        "waiters",
        "writer",
    )

    takes_gaps = False
    """Whether the receiver understands ``layer.gap``; those of other frameworks do not."""

    def __init__(self) -> None:
        self.name: str = ""
        self.groups: set[str] | None = None
        """The groups that this channel is in; None until the first one."""
        self.max_groups: int | None = None
        """The most that it may be in; None for any number."""
        self.closed: bool = False
        self.owner: ReferenceType[str] | None = None
        """Notices when nobody has the name any more; see :func:`owned_name`."""
        self.writer: FrameWriter | None = None
        """Set while frames may be written to a socket instead of waking the receiver."""
        # Envelopes; in the mailbox of a connection also the client's events, as mappings.
        self.items: deque[Any] = deque()
        self.limit: int = 0
        self.waiters: list[asyncio.Future[None]] = []

    def open(self, name: str, capacity: int) -> None:
        """Become the mailbox of a channel, for at most ``capacity`` messages."""
        self.name = name
        self.limit = capacity

    def __len__(self) -> int:
        return len(self.items)

    def put(self, envelope: Envelope) -> bool:
        """Queue a message; False when the mailbox is full or closed."""
        if len(self.items) >= self.limit and not self._make_room():
            return False
        self.items.append(envelope)
        return True

    def _make_room(self) -> bool:
        if self.closed:
            return False
        self.drop_expired()
        return len(self.items) < self.limit or self.overflow()

    def overflow(self) -> bool:
        """The mailbox is full: what its owner wants then; True if a message may be added."""
        return False

    def drop_expired(self) -> None:
        items, now = self.items, time.monotonic()
        while items and isinstance(items[0], Envelope) and items[0].expires_at <= now:
            items.popleft()

    def notify(self, loop: asyncio.AbstractEventLoop) -> None:
        """Wake the longest waiting receiver; ``loop`` is the caller's running loop."""
        waiters = self.waiters
        while waiters:
            try:
                waiter = waiters[0]
            except IndexError:  # Its own loop was quicker.
                return
            owner = waiter.get_loop()
            if owner is loop:
                waiters.remove(waiter)
                if not waiter.done():
                    waiter.set_result(None)
                    return
            elif not self._notify_elsewhere(owner):
                self._forget(waiter)
            elif waiter in waiters:
                return
            # Otherwise it was woken before, and its loop may end without looking again.

    def _notify_elsewhere(self, owner: asyncio.AbstractEventLoop) -> bool:
        """Let the loop of a waiter do it; False when that loop has ended, its waiters with it."""
        try:
            owner.call_soon_threadsafe(self.notify, owner)
        except RuntimeError:
            return False
        return True

    def _forget(self, waiter: asyncio.Future[None]) -> None:
        try:
            self.waiters.remove(waiter)
        except ValueError:
            pass  # It was woken, or another thread was quicker.

    async def wait(
        self, *, again: bool = False, loop: asyncio.AbstractEventLoop | None = None
    ) -> None:
        """Return when there may be something to take.

        ``again``: the caller was woken for a message that it did not get, so it is the first.
        ``loop``: the running one, if the caller knows it; asking costs a system call on 3.11.
        """
        waiter = (loop or asyncio.get_running_loop()).create_future()
        self.waiters.insert(0 if again else len(self.waiters), waiter)
        # A sender of another thread may have come before the waiter was to be seen.
        if self.items or self.closed:
            self._forget(waiter)
            return
        try:
            await waiter
        except BaseException:
            self._forget(waiter)
            # It may have been woken for a message that it will not take: somebody else may.
            if self.items:
                self.notify(asyncio.get_running_loop())
            raise

    async def receive(self, loop: asyncio.AbstractEventLoop | None = None) -> Message:
        """The next message that has not expired, waiting for it.

        A message leaves the mailbox only when the caller is sure to have it: cancelling loses
        none. Raises :class:`ChannelClosed` when the channel is closed meanwhile. ``loop``: the
        running one, if the caller knows it.
        """
        items = self.items
        waited = False
        while True:
            while items:
                envelope = items.popleft()
                if envelope.expires_at > time.monotonic():
                    message: Message = envelope.open()
                    return message
            if self.closed:
                raise ChannelClosed(self.name)
            await self.wait(again=waited, loop=loop)
            waited = True

    def clear(self) -> None:
        """Drop the messages that wait. The events of a client are not the layer's to drop."""
        for item in self.items.copy():
            if isinstance(item, Envelope):
                try:
                    self.items.remove(item)
                except ValueError:
                    pass  # Its receiver was quicker.

    def close(self, loop: asyncio.AbstractEventLoop | None) -> None:
        """Take no more messages, drop those that wait, and let go every waiting receiver."""
        self.closed = True
        self.limit = 0
        self.clear()
        for waiter in self.waiters.copy():
            owner = waiter.get_loop()
            if owner is loop:
                _resolve(waiter)
            else:
                try:
                    owner.call_soon_threadsafe(_resolve, waiter)
                except RuntimeError:
                    pass  # That loop has ended, and its receivers with it.


def _resolve(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
