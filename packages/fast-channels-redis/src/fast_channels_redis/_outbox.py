"""What a node of the queue layer puts into the inboxes of others, and into its own."""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from fast_channels.exceptions import ChannelFull
from fast_channels.layers.broker import Node
from fast_channels.statistics import statistics
from fast_channels_redis._batches import Batches
from fast_channels_redis._packing import Argument
from fast_channels_redis._replicas import Replicas
from fast_channels_redis._scripts import Script
from fast_channels_redis._settings import Settings
from fast_channels_redis._shards import Shards
from fast_channels_redis._wire import Stamps

MOST_WAITING: Final = 100_000
"""Messages in the inbox of a node that does not read them, before more are refused."""

_SEND: Final = Script("send")
_GROUP_SEND: Final = Script("group_send")


class Outbox:
    scripts = (_SEND, _GROUP_SEND)

    def __init__(
        self, node: Node, shards: Shards, settings: Settings, members_of: Callable[[str], str]
    ) -> None:
        """``members_of``: the key of a group."""
        self.replicas: Replicas = Replicas(node, shards, settings)
        self._shards = shards
        self._wants_replicas = settings.wait_replicas > 0
        self._inbox_prefix = f"{settings.prefix}:inbox:"
        self._members_of = members_of
        self._stamps = Stamps(node.id)
        self._batches = Batches(node, self._publish_at_once)

    async def publish(self, group: str, data: bytes) -> None:
        """To all members of a group."""
        blob = self._stamps.group(group, data)
        if self._shards.is_single:
            await self._batches.send(group, blob)
        else:
            self._count_full(group, await self._publish_to_each(self._members_of(group), blob))

    async def _publish_at_once(self, group: str, blobs: Sequence[bytes]) -> None:
        key = self._members_of(group)
        arguments: tuple[Argument, ...] = (self._inbox_prefix, MOST_WAITING, *blobs)
        self._count_full(group, await self._run(_GROUP_SEND, key, *arguments))

    def _count_full(self, group: str, processes: int) -> None:
        if processes:
            statistics.count("event.full", f"{processes} processes in {group!r} read no more")

    async def send(self, node_id: str, data: bytes) -> bool:
        """False if there is no such node; raises :class:`ChannelFull`."""
        outcome = await self._deliver(node_id, self._stamps.parcel(data))
        if outcome < 0:
            raise ChannelFull(node_id)
        return outcome > 0

    async def _publish_to_each(self, key: str, blob: bytes) -> int:
        """Where no script may use the keys of several servers."""
        nodes = [node.decode() for node in await self._shards.call(key, "SMEMBERS", key)]
        outcomes = await asyncio.gather(*(self._deliver(node, blob) for node in nodes))
        gone = [node for node, outcome in zip(nodes, outcomes, strict=True) if not outcome]
        if gone:
            await self._shards.call(key, "SREM", key, *gone)
            # One of them may have made its inbox anew, and joined again, in between.
            later = await asyncio.gather(*(self._deliver(node, blob) for node in gone))
            back = [node for node, outcome in zip(gone, later, strict=True) if outcome]
            if back:
                await self._shards.call(key, "SADD", key, *back)
            outcomes += later
        return sum(outcome < 0 for outcome in outcomes)

    async def _deliver(self, node_id: str, blob: bytes) -> int:
        return await self._run(_SEND, self._inbox_prefix + node_id, blob, MOST_WAITING)

    async def _run(self, script: Script, key: str, *arguments: Argument) -> int:
        """What the script returns, once as many replicas have its work as the layer asks for."""
        if not self._wants_replicas:
            return int(await self._shards.run(script, key, *arguments))
        send = partial(self._shards.run, script, key, *arguments)
        return await self.replicas.confirmed(key, send)
