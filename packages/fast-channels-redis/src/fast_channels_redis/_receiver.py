"""The connection that waits for the messages of one general channel."""

import asyncio
from collections import Counter, deque
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from redis.exceptions import ResponseError

from fast_channels_redis._commands import Exchange
from fast_channels_redis._endpoint import Endpoint, Reply, ServerConnection
from fast_channels_redis._keeper import Incidents, KeptConnection
from fast_channels_redis._packing import Argument
from fast_channels_redis._settings import Settings

_BLOCK: Final = 1.0
"""Seconds to wait for new messages before looking for those that a dead receiver held."""
_MOST: Final = 100
_MOST_HELD: Final = 1000
_KEEP: Final = 1.0
"""Seconds to keep what nobody here waits for any more."""


class Item(NamedTuple):
    """A message that this node holds."""

    channel: str
    key: str
    id: bytes
    data: bytes
    age: float
    deliveries: int


class Receiver(KeptConnection):
    """Reads as many messages as this node's receivers wait for, and hands them out in order."""

    def __init__(
        self,
        endpoint: Endpoint,
        settings: Settings,
        incidents: Incidents,
        *,
        channel: str,
        key: str,
        group: str,
        consumer: str,
        held: Counter[bytes],
        expired: Callable[[Item], None],
        unwanted: Callable[[Item], None],
        undeliverable: Callable[[Item], None],
    ) -> None:
        """``held``: the ids of what this node was given and has not done with. This adds to it,
        once more if it is given one again."""
        super().__init__(endpoint, settings.patience, incidents)
        self._settings = settings
        self._channel = channel
        self._key = key
        self._group = group
        self._consumer = consumer
        self._held = held
        self._expired = expired
        self._unwanted = unwanted
        self._undeliverable = undeliverable
        self._loop = asyncio.get_running_loop()
        self._waiters: deque[asyncio.Future[Item]] = deque()
        self._items: deque[Item] = deque()
        self._is_wanted = asyncio.Event()
        self._idle_since = self._loop.time()
        self._look_for_abandoned_at = 0.0

    @property
    def is_wanted(self) -> bool:
        return bool(self._waiters)

    def has_been_idle(self, seconds: float) -> bool:
        return not self._waiters and self._loop.time() - self._idle_since >= seconds

    async def take(self) -> Item:
        """The next message, waiting for it. Cancelling loses none."""
        if self._items:
            return self._items.popleft()
        waiter: asyncio.Future[Item] = self._loop.create_future()
        self._waiters.append(waiter)
        self._is_wanted.set()
        try:
            return await waiter
        except asyncio.CancelledError:
            # It may have been given one in the same moment.
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self._give(waiter.result())
            raise
        finally:
            if waiter in self._waiters:
                self._waiters.remove(waiter)
            self._idle_since = self._loop.time()

    def ended(self) -> None:
        while self._items:
            self._unwanted(self._items.popleft())
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_exception(ConnectionError("the connection was closed"))

    def broke(self, error: Exception) -> None:
        """Who waits goes on waiting: what was under way stays in the channel."""

    async def serve(self, connection: ServerConnection) -> None:
        async with asyncio.timeout(self.patience):
            await self._create_group(Exchange(connection))
        self._look_for_abandoned_at = 0.0
        self.is_ready()
        await self._read(Exchange(connection))

    async def _create_group(self, exchange: Exchange) -> None:
        (made,) = await exchange.run(("XGROUP", "CREATE", self._key, self._group, "0", "MKSTREAM"))
        if isinstance(made, Exception) and "BUSYGROUP" not in str(made):
            raise made

    async def _read(self, exchange: Exchange) -> None:
        while True:
            await self._demand()
            found: list[Item] = []
            if self._loop.time() >= self._look_for_abandoned_at:
                async with asyncio.timeout(self.patience):
                    found = await self._abandoned(exchange)
            if not found:
                self._look_for_abandoned_at = self._loop.time() + _BLOCK
                async with asyncio.timeout(self.patience + _BLOCK):
                    found = await self._new(exchange)
            for item in found:
                self._sort(item)

    async def _demand(self) -> None:
        while not self._waiters:
            self._is_wanted.clear()
            await self._is_wanted.wait()

    async def _abandoned(self, exchange: Exchange) -> list[Item]:
        """What was claimed from receivers that have been silent about it for too long, and what
        this node was given by a connection that broke on the way."""
        idle = int(self._settings.claim_timeout * 1000)
        claim = ("XAUTOCLAIM", self._key, self._group, self._consumer, idle, "0-0", "COUNT")
        reply, now, own = await exchange.run(
            (*claim, self._count()),
            ("TIME",),
            ("XPENDING", self._key, self._group, "-", "+", _MOST_HELD, self._consumer),
        )
        if await self._is_lost(exchange, reply) or await self._is_lost(exchange, own):
            return []
        # Redis 6.2 returns nothing in the place of messages that were deleted meanwhile.
        entries = [entry for entry in reply[1] if entry and entry[1]]
        known = {*self._held, *(entry_id for entry_id, _ in entries)}
        astray = [state[0] for state in own if state[0] not in known][: self._count()]
        if astray:
            entries += await self._recovered(exchange, astray)
        states = await exchange.run(
            *(
                ("XPENDING", self._key, self._group, entry_id, entry_id, 1)
                for entry_id, _ in entries
            )
        )
        # A slot of a Cluster may move in between.
        found: list[Reply] = [[] if isinstance(state, Exception) else state for state in states]
        return [
            self._item(entry, now, state[0][3] if state else 1)
            for entry, state in zip(entries, found, strict=True)
        ]

    async def _recovered(self, exchange: Exchange, astray: list[bytes]) -> list[Any]:
        claim: list[Argument] = ["XCLAIM", self._key, self._group, self._consumer, 0, *astray]
        (reply,) = await exchange.run(claim)
        if isinstance(reply, Exception):
            raise reply
        entries = [entry for entry in reply if entry and entry[1]]
        if deleted := set(astray).difference(entry_id for entry_id, _ in entries):
            await exchange.run(("XACK", self._key, self._group, *deleted))
        return entries

    async def _new(self, exchange: Exchange) -> list[Item]:
        reply, now = await exchange.run(
            (
                *("XREADGROUP", "GROUP", self._group, self._consumer, "COUNT", self._count()),
                *("BLOCK", int(_BLOCK * 1000), "STREAMS", self._key, ">"),
            ),
            ("TIME",),
        )
        if not reply or await self._is_lost(exchange, reply):
            return []
        return [self._item(entry, now, 1) for entry in entries_of(reply)]

    async def _is_lost(self, exchange: Exchange, reply: Reply) -> bool:
        """Whether the stream was gone; it is there again then."""
        if not isinstance(reply, ResponseError):
            return False
        await self._create_group(exchange)
        if "NOGROUP" not in str(reply) and "no longer exists" not in str(reply):
            raise reply
        return True

    def _count(self) -> int:
        return max(1, min(len(self._waiters) - len(self._items), _MOST))

    def _item(self, entry: tuple[bytes, list[bytes]], now: list[bytes], deliveries: int) -> Item:
        entry_id, fields = entry
        sent = int(entry_id.partition(b"-")[0]) / 1000
        self._held[entry_id] += 1
        age = max(0.0, int(now[0]) + int(now[1]) / 1e6 - sent)
        return Item(self._channel, self._key, entry_id, fields[1], age, deliveries)

    def _sort(self, item: Item) -> None:
        if item.age >= self._settings.expiry:
            self._expired(item)
        elif item.deliveries > self._settings.max_deliveries:
            self._undeliverable(item)
        else:
            self._give(item)

    def _give(self, item: Item) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(item)
                return
        self._items.append(item)
        self._loop.call_later(_KEEP, self._let_go, item)

    def _let_go(self, item: Item) -> None:
        if item in self._items:
            self._items.remove(item)
            self._unwanted(item)


def entries_of(reply: Reply) -> list[tuple[bytes, list[bytes]]]:
    """The entries in a reply about one stream; RESP3 has a map where RESP2 has a list."""
    streams: list[Any] = list(reply.items() if isinstance(reply, dict) else reply)  # pyright: ignore[reportUnknownArgumentType]  # as redis-py gives it
    entries: list[Any] = streams[0][1]
    return [(entry_id, fields) for entry_id, fields in entries]
