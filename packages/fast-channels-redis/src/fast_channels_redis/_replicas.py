"""Sending what counts only once replicas have it."""

import asyncio
from collections.abc import Callable, Hashable

from fast_channels.exceptions import ChannelLayerRefused, ChannelLayerUnavailable
from fast_channels.layers.broker import Node
from fast_channels_redis._settings import Settings
from fast_channels_redis._shards import Outcome, Shards


class Replicas:
    """Confirms for many senders at once: one ``WAIT`` stands for all that was written before it."""

    def __init__(self, node: Node, shards: Shards, settings: Settings) -> None:
        self._node = node
        self._shards = shards
        self._wanted = settings.wait_replicas
        # Other commands wait behind this one, so not for ever.
        self._patience = min(settings.send_timeout, settings.patience) / 2
        self._connections = 0
        self._running: dict[Hashable, asyncio.Task[int]] = {}
        self._next: dict[Hashable, asyncio.Task[int]] = {}

    def connected_anew(self) -> None:
        """``WAIT`` only knows of what was written on its own connection."""
        self._connections += 1

    async def confirmed(self, key: str, send: Callable[[], Outcome]) -> int:
        """What ``send`` returns, which may be called again: receivers know what comes twice."""
        while True:
            before = self._connections, self._shards.place_of(key)
            outcome = await send()
            try:
                replicas = await self._count(key)
            except ChannelLayerUnavailable as error:
                if isinstance(error, ChannelLayerRefused) or self._node.stopped:
                    raise
                continue  # The connection broke.
            if before == (self._connections, self._shards.place_of(key)):
                break
        if replicas < self._wanted:
            raise ChannelLayerUnavailable(
                f"{replicas} of {self._wanted} replicas confirmed the message within "
                f"{self._patience:g} s; it may be delivered nevertheless"
            )
        return int(outcome)

    async def _count(self, key: str) -> int:
        """How many replicas have all that was written until now."""
        place = self._shards.place_of(key)
        waiting = self._next.get(place)
        if waiting is None:
            waiting = self._node.share(self._wait(place, key))
            self._next[place] = waiting
        return await self._node.outcome(waiting)

    async def _wait(self, place: Hashable, key: str) -> int:
        running = self._running.get(place)
        if running is not None:
            await asyncio.wait([running])
        self._running[place] = self._next.pop(place)
        command = ("WAIT", self._wanted, int(self._patience * 1000))
        return int(await self._shards.call(key, *command, again=False))
