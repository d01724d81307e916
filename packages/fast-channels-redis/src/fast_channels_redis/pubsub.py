"""The channel layer on Redis pub/sub."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Final, cast

from fast_channels.layers import BrokerConnection
from fast_channels.layers.broker import Node
from fast_channels_redis._cluster import ClusterShards
from fast_channels_redis._cluster_listeners import ClusterListeners
from fast_channels_redis._connection import RedisConnection
from fast_channels_redis._layer import RedisLayer
from fast_channels_redis._listeners import HostListeners, Listeners
from fast_channels_redis._settings import Settings
from fast_channels_redis._topology import slot_of

__all__ = ["RedisPubSubChannelLayer"]


class RedisPubSubChannelLayer(RedisLayer):
    """Carries messages by Redis pub/sub: fast, and nothing is kept for who is not there.

    What is published while a process is cut off from Redis is lost to it; every consumer that
    this may concern gets one ``layer.gap`` event when the connection is back; one for all servers,
    if several went away and are back within ``liveness_timeout`` of the first. A message that was
    on its way when the sender's own connection broke raises :class:`ChannelLayerUnavailable`,
    because it cannot be known whether it was delivered.

    A group is the Redis channel ``{prefix}__group__{group}`` and carries the serialized message
    and nothing else, so the layer exchanges group messages with the pub/sub layer of
    channels_redis. General channels are Redis streams: each message goes to exactly one receiver.
    """

    def make_connection(self, node: Node) -> BrokerConnection:
        return _PubSubConnection(node, self._settings)


class _PubSubConnection(RedisConnection):
    def __init__(self, node: Node, settings: Settings) -> None:
        super().__init__(node, settings)
        self._prefix: Final = f"{settings.prefix}__group__"
        self._inbox: Final = self._inbox_of(node.id)
        self._inbox_bytes: Final = self._inbox.encode()
        self._groups: dict[bytes, str] = {}
        self._publish = b"PUBLISH" if isinstance(settings.servers, list) else b"SPUBLISH"
        self._listeners = self._make_listeners()
        # Which names something was missed of, until it is told.
        self._gaps: list[Callable[[str], bool]] = []
        self._gap_timer: asyncio.TimerHandle | None = None

    async def listen(self) -> None:
        await self._listeners.start()

    async def stop_listening(self) -> None:
        if self._gap_timer is not None:
            self._gap_timer.cancel()
        await self._listeners.close()

    async def subscribe(self, group: str) -> None:
        name = self._prefix + group
        self._groups[name.encode()] = group
        await self._listeners.subscribe(name)

    async def unsubscribe(self, group: str) -> None:
        name = self._prefix + group
        await self._listeners.unsubscribe(name)
        self._groups.pop(name.encode(), None)

    async def publish(self, group: str, data: bytes) -> None:
        name = self._prefix + group
        await self.shards.call(name, self._publish, name, data, again=False)

    async def send_to_node(self, node_id: str, data: bytes) -> bool:
        name = self._inbox_of(node_id)
        listeners: int = await self.shards.call(name, self._publish, name, data, again=False)
        if listeners or not isinstance(self.shards, ClusterShards):
            return listeners > 0
        # A demoted primary takes messages and passes them on, and knows of no listeners.
        return await self.shards.topology.has_moved(slot_of(name))

    def _inbox_of(self, node_id: str) -> str:
        return f"{self.settings.prefix}__node__{node_id}"

    def _make_listeners(self) -> Listeners:
        servers, patience = self.settings.servers, self.settings.patience
        if isinstance(servers, list):
            return HostListeners(
                servers,
                patience,
                self.incidents,
                names=self._names,
                deliver=self._deliver,
                missed=self._missed,
            )
        return ClusterListeners(
            cast(ClusterShards, self.shards).topology,
            patience,
            self.incidents,
            names=self._names,
            deliver=self._deliver,
            missed=self._missed,
        )

    def _names(self) -> Iterable[str]:
        yield self._inbox
        for group in self.node.groups:
            yield self._prefix + group

    def _deliver(self, name: bytes, data: bytes) -> None:
        group = self._groups.get(name)
        if group is not None:
            self.node.deliver_to_group(group, data)
        elif name == self._inbox_bytes:
            self.node.deliver(data)

    def _missed(self, concerns: Callable[[str], bool]) -> None:
        """Servers that went away together are one incident, if they come back together."""
        self._gaps.append(concerns)
        if self._listeners.are_whole:
            self._tell_of_gap()
        elif self._gap_timer is None:
            wait = self.settings.patience
            self._gap_timer = self.node.loop.call_later(wait, self._tell_of_gap)

    def _tell_of_gap(self) -> None:
        if self._gap_timer is not None:
            self._gap_timer.cancel()
            self._gap_timer = None
        gaps, self._gaps = self._gaps, []

        def is_concerned(name: str) -> bool:
            return any(concerns(name) for concerns in gaps)

        if is_concerned(self._inbox):
            self.node.gap()
        else:
            self.node.gap(group for group in self.node.groups if is_concerned(self._prefix + group))
