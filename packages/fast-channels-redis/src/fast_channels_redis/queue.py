"""The channel layer that queues messages in Redis streams."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Unpack

from fast_channels.layers import BrokerConnection
from fast_channels.layers.broker import Node
from fast_channels_redis._layer import RedisLayer, RedisOptions, require_count, require_seconds
from fast_channels_redis._options import Host
from fast_channels_redis._queue import QueueConnection

__all__ = ["RedisChannelLayer"]


class RedisChannelLayer(RedisLayer):
    """Carries messages through Redis streams, which keep them while a process is cut off.

    Every process (more exactly: every event loop that uses the layer) has one stream, whose
    existence is its lease. It reads on from the last message it has, so nothing is lost or comes
    twice when connections break, nor when Redis restarts with its data. Only when Redis lost
    its data do consumers get a ``layer.gap`` event; the process has joined its groups anew then.
    On one server, all members of a group get its messages in one order; over several hosts or on
    a Cluster, in one order for each sender.

    ``lease``: seconds; a process that was killed is taken out of its groups within two of them.
    ``wait_replicas``: ``send`` and ``group_send`` return when so many replicas have the message,
    and raise :class:`ChannelLayerUnavailable` if they do not within half of ``send_timeout``.
    The other options, by keyword, are those of :class:`RedisPubSubChannelLayer`.
    """

    def __init__(
        self,
        hosts: Iterable[Host] | None = None,
        *,
        lease: float = 15,
        wait_replicas: int = 0,
        **options: Unpack[RedisOptions],
    ) -> None:
        super().__init__(hosts, **options)
        require_seconds("lease", lease)
        require_count("wait_replicas", wait_replicas, 0)
        self._settings = replace(self._settings, lease=lease, wait_replicas=wait_replicas)

    def make_connection(self, node: Node) -> BrokerConnection:
        return QueueConnection(node, self._settings)
