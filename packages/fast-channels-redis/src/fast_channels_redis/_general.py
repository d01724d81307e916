"""General channels: one stream each, from which every message goes to one receiver."""

import asyncio
from collections import Counter
from collections.abc import Coroutine
from typing import Any, Final

from fast_channels.layers.broker import Node
from fast_channels_redis._keeper import Incidents, logger
from fast_channels_redis._receiver import Item, Receiver
from fast_channels_redis._scripts import Script
from fast_channels_redis._settings import Settings
from fast_channels_redis._shards import Shards

GROUP: Final = "receivers"
"""The consumer group of every stream; its consumers are nodes."""

_PUSH: Final = Script("push")
_HOLD: Final = Script("hold")
_MOST_DEAD_LETTERS: Final = 10_000
_KEY_LIFE: Final = 3600
"""Seconds that the stream of an unused channel outlives its last message's expiry."""
_FAREWELL: Final = 1
_IDLE: Final = 10
"""Seconds after which nobody having asked for messages ends a channel's connection."""


class GeneralChannels:
    """What one node pushes to general channels, and takes from them."""

    scripts = (_PUSH, _HOLD)

    def __init__(
        self, node: Node, shards: Shards, settings: Settings, incidents: Incidents
    ) -> None:
        self._node = node
        self._shards = shards
        self._settings = settings
        self._incidents = incidents
        self._receivers: dict[str, Receiver] = {}
        self._held: dict[str, Counter[bytes]] = {}
        self._starting: dict[str, asyncio.Task[None]] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def push(self, channel: str, data: bytes, capacity: int, expiry: float) -> bool:
        life = int((expiry + _KEY_LIFE) * 1000)
        key = self._key(channel)
        # Not again: two receivers would get the message if the first attempt had succeeded.
        arguments = (data, capacity, int(expiry * 1000), life)
        return bool(await self._shards.run(_PUSH, key, *arguments, again=False))

    async def take(self, channel: str) -> Item:
        """Wait for a message, which the caller acknowledges or releases."""
        receiver = self._receivers.get(channel)
        if receiver is None:
            receiver = self._receivers[channel] = self._receiver(channel)
            self._starting[channel] = self._node.share(receiver.start())
        try:
            if channel in self._starting:
                await self._start(channel)
            return await receiver.take()
        finally:
            if not receiver.is_wanted:
                self._drop_when_idle(channel)

    async def _start(self, channel: str) -> None:
        starting = self._starting[channel]
        try:
            await self._node.outcome(starting)
        finally:
            if starting.done() and self._starting.get(channel) is starting:
                del self._starting[channel]
                if starting.cancelled() or starting.exception() is not None:
                    self._receivers.pop(channel, None)

    def acknowledge_soon(self, item: Item) -> None:
        """Take it out of the channel for good, without keeping the receiver waiting."""
        self._run(self.acknowledge(item))

    async def acknowledge(self, item: Item) -> None:
        """Take it out of the channel for good."""
        try:
            await asyncio.gather(
                self._shards.call(item.key, "XACK", item.key, GROUP, item.id),
                self._shards.call(item.key, "XDEL", item.key, item.id),
            )
        finally:
            self._forget(item)

    async def keep(self, item: Item) -> None:
        """Hold a message until cancelled, however long its receiver takes."""
        while True:
            await asyncio.sleep(self._settings.claim_timeout / 3)
            try:
                await self._hold(item, 0)
            except OSError as error:
                logger.warning("a claimed message of %r could not be held: %s", item.channel, error)

    async def release(self, item: Item) -> None:
        """Let any receiver have it, this node's or another's."""
        try:
            await self._hold(item, self._settings.claim_timeout)
        finally:
            self._forget(item)

    def release_soon(self, item: Item) -> None:
        self._run(self.release(item))

    async def bury(self, item: Item) -> None:
        """Put it among the dead letters of its channel."""
        key = f"{self._settings.prefix}:dead:{item.channel}"
        logger.error(
            "a message of channel %r was delivered %d times and never acknowledged; it is in %r",
            *(item.channel, item.deliveries - 1, key),
        )
        limit = ("MAXLEN", "~", _MOST_DEAD_LETTERS)
        await self._shards.call(key, "XADD", key, *limit, "*", "m", item.data, "id", item.id)
        await self.acknowledge(item)

    def bury_soon(self, item: Item) -> None:
        self._run(self.bury(item))

    async def close(self) -> None:
        for receiver in tuple(self._receivers.values()):
            await receiver.close()
        self._receivers.clear()
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_FAREWELL)
        for task in tuple(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _key(self, channel: str) -> str:
        return f"{self._settings.prefix}:general:{channel}"

    def _receiver(self, channel: str) -> Receiver:
        key = self._key(channel)
        return Receiver(
            self._shards.endpoint(key),
            self._settings,
            self._incidents,
            channel=channel,
            key=key,
            group=GROUP,
            consumer=self._node.id,
            held=self._held.setdefault(channel, Counter()),
            expired=self.acknowledge_soon,
            unwanted=self.release_soon,
            undeliverable=self.bury_soon,
        )

    async def _hold(self, item: Item, seconds: float) -> None:
        idle = int(seconds * 1000)
        await self._shards.run(_HOLD, item.key, item.id, self._node.id, idle)

    def _drop_when_idle(self, channel: str) -> None:
        if channel not in self._timers:
            timer = self._node.loop.call_later(_IDLE, self._drop_idle, channel)
            self._timers[channel] = timer

    def _drop_idle(self, channel: str) -> None:
        del self._timers[channel]
        receiver = self._receivers.get(channel)
        if receiver is None or receiver.is_wanted:
            return
        if receiver.has_been_idle(_IDLE):
            del self._receivers[channel]
            if not self._held[channel]:
                del self._held[channel]
            self._run(receiver.close())
        else:
            self._drop_when_idle(channel)

    def _forget(self, item: Item) -> None:
        """This node does not have it any more, unless it was given it again meanwhile."""
        held = self._held.get(item.channel)
        if held is not None:
            held[item.id] -= 1
            if held[item.id] <= 0:
                del held[item.id]

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        """In the background; :meth:`close` waits for it a little."""
        task = self._node.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.warning("a message of a general channel may be delivered again: %s", error)
