"""One event loop's share of a layer with a broker."""

import asyncio
import itertools
import logging
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Iterable
from contextvars import Context
from typing import TYPE_CHECKING, Any, TypeVar

from fast_channels.exceptions import (
    ChannelFull,
    ChannelLayerUnavailable,
    MessageDecodeError,
    TooManyGroups,
)
from fast_channels.layers._attempts import Attempts, closed
from fast_channels.layers._codec import MessageCodec
from fast_channels.layers._django import channel_full
from fast_channels.layers._fanout import deliver
from fast_channels.layers._inbox import Deliver, Done, Join, Leave, Parcel, pack, unpack
from fast_channels.layers._local import LocalTable, count_gone, count_refused
from fast_channels.layers._mailbox import Envelope, Mailbox
from fast_channels.layers._subscriptions import Subscriptions
from fast_channels.statistics import statistics

if TYPE_CHECKING:
    from fast_channels.layers.broker import BrokerConnection

T = TypeVar("T")

_logger = logging.getLogger("fast_channels.layers")


def _log_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        _logger.error("a task of the channel layer failed", exc_info=error)


class Node:
    """The channels and groups of one event loop, and their connection to the broker.

    A backend's connection is given its node. It reads :attr:`id` and :attr:`groups`, hands over
    what the broker sends with :meth:`deliver` and :meth:`deliver_to_group`, and calls :meth:`gap`
    after it was away. All of that happens on the node's event loop, and nothing of it blocks or
    raises. Its tasks it begins with :meth:`run`, or with :meth:`share` if somebody awaits their
    :meth:`outcome`.
    """

    def __init__(
        self,
        codec: MessageCodec,
        connect: Callable[["Node"], "BrokerConnection"],
        *,
        send_timeout: float,
        linger: float,
    ) -> None:
        self.codec: MessageCodec = codec
        self.loop: asyncio.AbstractEventLoop = asyncio.get_running_loop()
        self.table: LocalTable = LocalTable()
        self._send_timeout = send_timeout
        self._tasks: set[asyncio.Task[Any]] = set()
        # The result: the limit that did not let the channel join, or None.
        self._requests: dict[int, asyncio.Future[int | None]] = {}
        self._request_ids = itertools.count(1)
        self._joining: Counter[tuple[str, str]] = Counter()
        self.started: bool = False
        self.stopped: bool = False
        self._starting: asyncio.Task[None] | None = None
        self._stopping: asyncio.Task[None] | None = None
        self._guard: AsyncGenerator[None] | None = None
        self._gap = codec.notice({"type": "layer.gap"})
        self._subscriptions = Subscriptions(self, linger=linger, patience=send_timeout)
        self.connection: BrokerConnection = connect(self)
        self.away: tuple[type[Exception], ...] = (OSError, *self.connection.away)
        self._attempts = Attempts(send_timeout, self.away)

    @property
    def id(self) -> str:
        """The name of this node's inbox at the broker: 16 hexadecimal digits, never used before."""
        return self.table.node_id

    @property
    def groups(self) -> list[str]:
        """The groups whose messages the broker is to send to this node."""
        return self._subscriptions.names

    # What a backend calls.

    def deliver(self, data: bytes, *, age: float = 0) -> None:
        """Bytes came to the node's inbox, sent ``age`` seconds ago."""
        if self.stopped:
            return
        try:
            parcel = unpack(data)
        except MessageDecodeError as error:
            statistics.count("event.undecodable", str(error))
            return
        self._take(parcel, age)

    def deliver_to_group(self, group: str, data: bytes, *, age: float = 0) -> None:
        """Bytes came for a group, sent ``age`` seconds ago. Unknown groups cost nothing."""
        members = self.table.members(group)
        if not members:
            return
        envelope = self.unseal(data, age, for_one=len(members) == 1)
        if envelope is not None:
            for mailbox in deliver(envelope, members, self.loop):
                count_refused(mailbox, group)

    def gap(self, groups: Iterable[str] | None = None) -> None:
        """Messages may have been missed: every consumer of this node is told, once; or only
        the members of ``groups``, if nothing else was affected."""
        affected: Iterable[Mailbox] = self.table.channels.values()
        if groups is not None:
            affected = dict.fromkeys(
                member for group in groups for member in self.table.members(group)
            )
        self._tell([mailbox for mailbox in affected if mailbox.takes_gaps], self._gap)

    def announce(self, event_type: str) -> None:
        """Send a message of this type, and nothing else in it, to every channel of this node."""
        notice = self.codec.notice({"type": event_type})
        self._tell(list(self.table.channels.values()), notice)

    def _tell(self, mailboxes: list[Mailbox], notice: Envelope) -> None:
        # Not deliver(): a notice of the layer's own reaches also those that are full.
        for mailbox in mailboxes:
            mailbox.items.append(notice)
            mailbox.notify(self.loop)

    # What the layer calls.

    async def start(self) -> None:
        """Return when the connection is up."""
        await self.attempt(self.connected)

    async def connected(self) -> None:
        """Try to connect once, together with everybody else who waits for that."""
        if self.started:
            return
        if self._starting is None or self._starting.done():
            self._starting = self.share(self._start())
        await self.outcome(self._starting)

    async def _start(self) -> None:
        try:
            async with asyncio.timeout(self._send_timeout):
                await self.connection.connect()
        except BaseException:
            await self.connection.close()
            raise
        self.started = True
        # An event loop finishes its asynchronous generators before it closes, so a node of a
        # loop that nobody closed the layer in still gives its connection back.
        self._guard = self._close_with_loop()
        await anext(self._guard)

    async def _close_with_loop(self) -> AsyncGenerator[None]:
        try:
            yield
        finally:
            if self._guard is not None:
                self._guard = None
                await self.stop()

    async def stop(self) -> None:
        """Close every channel and the connection for good; calls that wait are broken off."""
        self.stopped = True
        self._subscriptions.stop()
        for mailbox in tuple(self.table.channels.values()):
            self.table.close(mailbox, self.loop)
        self._attempts.stop()
        # A loop that ends cancels all tasks first and closes its generators then: begin again.
        if self._stopping is None or self._stopping.cancelled():
            self._stopping = self.loop.create_task(self._stop())
        # A caller that gives up must not leave the rest undone.
        await asyncio.shield(self._stopping)

    async def _stop(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await self.connection.close()
        guard, self._guard = self._guard, None
        if guard is not None:
            await guard.aclose()

    def open(self, mailbox: Mailbox, prefix: str, capacity: Callable[[str], int]) -> None:
        name = self.table.new_name(prefix)
        mailbox.open(name, capacity(name))
        self.table.open(mailbox)

    def close_channel(self, channel: str) -> None:
        """Take a channel of this node out of its groups, and forget it."""
        mailbox = self.table.channels.get(channel)
        if mailbox is not None:
            for group in self.table.close(mailbox, self.loop):
                self._subscriptions.release(group)

    def attempt(
        self, operation: Callable[[], Awaitable[T]], *, for_ever: bool = False
    ) -> Coroutine[Any, Any, T]:
        """What the operation returns. It is tried again while it says that the broker is away,
        until ``send_timeout`` has passed (:class:`ChannelLayerUnavailable`) or the node stops."""
        return self._attempts.run(operation, for_ever=for_ever)

    async def join(self, group: str, channel: str) -> None:
        """Add a channel of this node; returns when the broker knows that the node has members."""
        mailbox = self.table.channels.get(channel)
        if mailbox is None:
            return
        self.table.join(group, mailbox)
        if self._subscriptions.hold(group):
            return
        call = (group, channel)
        self._joining[call] += 1
        try:
            await self.attempt(lambda: self._subscriptions.confirm(group))
        except BaseException:
            # Another call that adds the same channel may have succeeded, or be about to.
            if self._joining[call] == 1 and not self._subscriptions.is_confirmed(group):
                self.leave(group, channel)
            raise
        finally:
            self._joining[call] -= 1
            if not self._joining[call]:
                del self._joining[call]

    def leave(self, group: str, channel: str) -> None:
        """Remove a channel of this node from a group."""
        mailbox = self.table.channels.get(channel)
        if mailbox is not None and self.table.leave(group, mailbox):
            self._subscriptions.release(group)

    async def ask_to_join(self, owner: str, group: str, channel: str) -> None:
        """Add a channel of another node; returns when that node has done it."""
        request = next(self._request_ids)
        done = self._requests[request] = self.loop.create_future()
        parcel = pack(Join(group, channel, self.id, request))
        asked = False

        async def ask() -> None:
            nonlocal asked
            if await self._send_to(owner, parcel):
                asked = True
                if (limit := await done) is not None:
                    raise TooManyGroups(channel, limit)
            else:
                count_gone(channel)

        try:
            await self.attempt(ask)
        except ChannelLayerUnavailable:
            if self.stopped or not asked:
                raise
            raise ChannelLayerUnavailable(
                f"the process of channel {channel!r} did not confirm within "
                f"{self._send_timeout:g} s that it joined group {group!r}"
            ) from None
        finally:
            del self._requests[request]

    async def ask_to_leave(self, owner: str, group: str, channel: str) -> None:
        """Remove a channel of another node, as soon as it hears of it."""
        parcel = pack(Leave(group, channel))
        await self.attempt(lambda: self._send_to(owner, parcel))

    async def send_to_channel(self, owner: str, channel: str, data: bytes) -> None:
        """Send to a channel of another node; returns when the broker has taken it."""
        parcel = pack(Deliver(channel, data))
        try:
            if not await self.attempt(lambda: self._send_to(owner, parcel)):
                count_gone(channel)
        except ChannelFull:
            raise channel_full(channel) from None

    async def _send_to(self, owner: str, parcel: bytes) -> bool:
        # The owner of "chat.!1" would be nobody, which no backend should have to spell.
        return owner != "" and await self.connection.send_to_node(owner, parcel)

    def share(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run something in the background for all who wait for its :meth:`outcome`."""
        # Not in the context of the caller, which this outlives: that may be a request.
        task = self.loop.create_task(work, context=Context())
        self._tasks.add(task)
        task.add_done_callback(self._forget)
        if self.stopped:
            task.cancel()
        return task

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # All who waited may have given up, so that nobody asks for it.

    async def outcome(self, shared: asyncio.Task[T]) -> T:
        """What a shared task returns or raises. A caller that gives up does not cancel it."""
        await asyncio.wait([shared])
        if self.stopped or shared.cancelled():
            raise closed()
        return shared.result()

    def run(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run something in the background that the node stops and awaits when it stops.

        What it raises is logged.
        """
        task = self.share(work)
        task.add_done_callback(_log_failure)
        return task

    def unseal(self, data: bytes, age: float = 0, *, for_one: bool = False) -> Envelope | None:
        """The message in bytes from the broker; None, and counted, if there is none."""
        try:
            return self.codec.arrived(data, age, for_one=for_one)
        except MessageDecodeError as error:
            why = str(error)
        except Exception as error:
            # An application's serializer must not end what reads from the broker.
            why = f"the serializer raised {type(error).__name__}, not MessageDecodeError"
            _logger.debug("a serializer failed", exc_info=True)
        statistics.count("event.undecodable", why)
        return None

    def _take(self, parcel: Parcel, age: float) -> None:
        match parcel:
            case Deliver(channel, data):
                mailbox = self.table.channels.get(channel)
                if mailbox is None:
                    count_gone(channel)
                    return
                envelope = self.unseal(data, age, for_one=True)
                if envelope is not None and deliver(envelope, (mailbox,), self.loop):
                    statistics.count("event.full", f"{channel!r} is full and missed a message")
            # In the order of their arrival: both begin in the loop's next round, or both at once.
            case Join():
                self.run(self._join_for(parcel))
            case Leave():
                self.run(self._leave_for(parcel))
            case Done(request, max_groups):
                waiter = self._requests.get(request)
                if waiter is not None and not waiter.done():
                    waiter.set_result(max_groups)

    async def _leave_for(self, wish: Leave) -> None:
        self.leave(wish.group, wish.channel)

    async def _join_for(self, wish: Join) -> None:
        limit: int | None = None
        try:
            try:
                await self.join(wish.group, wish.channel)
            except TooManyGroups as refused:
                limit = refused.limit
            done = pack(Done(wish.request, limit))
            await self.attempt(lambda: self.connection.send_to_node(wish.asked_by, done))
        except ChannelLayerUnavailable as error:
            # The asking node waits no longer than this one tried.
            _logger.warning("could not join %r for another process: %s", wish.group, error)
