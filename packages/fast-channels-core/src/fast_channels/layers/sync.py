"""Channel layers for code that has no event loop."""

from collections.abc import Mapping
from typing import Any

from fast_channels.layers._background import call
from fast_channels.layers.base import BaseChannelLayer
from fast_channels.layers.registry import get_channel_layer

__all__ = ["SyncChannelLayer", "get_sync_channel_layer"]


class SyncChannelLayer:
    """The part of a channel layer that only sends, as blocking calls.

    For views, jobs of Celery or RQ, management commands and threads::

        get_sync_channel_layer().group_send("orders", {"type": "order.paid", "id": 7})

    All layers of a process share one thread that runs an event loop, started by the first call;
    a layer with a broker has one connection there, however many threads call. When the process
    ends normally, it is closed. A process forked at any time, before or after the first call,
    starts a thread and a connection of its own, and leaves the parent's alone.

    Calls raise what the layer raises, last as long as the layer's ``send_timeout`` lets them, and
    are cancelled by what interrupts them, such as ``KeyboardInterrupt`` or a job's time limit. In
    a thread that runs an event loop they raise :class:`BlockingCallError`.
    """

    def __init__(self, layer: BaseChannelLayer) -> None:
        self._layer = layer

    def send(self, channel: str, message: Mapping[str, Any]) -> None:
        """Send one message to one channel; see :meth:`BaseChannelLayer.send`."""
        call(self._layer.send, channel, message)

    def group_send(self, group: str, message: Mapping[str, Any]) -> None:
        """Send one message to every member of a group; see :meth:`BaseChannelLayer.group_send`."""
        call(self._layer.group_send, group, message)

    def group_add(self, group: str, channel: str) -> None:
        """Add a channel, which somebody else receives from, to a group."""
        call(self._layer.group_add, group, channel)

    def group_discard(self, group: str, channel: str) -> None:
        """Remove a channel, which somebody else receives from, from a group."""
        call(self._layer.group_discard, group, channel)

    def flush(self) -> None:
        """Drop messages and groups; see the layer's own ``flush``."""
        call(self._layer.flush)

    def close(self) -> None:
        """Give back what blocking calls have opened, for all threads; the next one opens it again.

        A process that ends does that by itself. An in-memory layer is closed as a whole.
        """
        call(self._layer.close)


def get_sync_channel_layer(alias: str = "default") -> SyncChannelLayer:
    """Blocking calls to the layer that is registered as ``alias``.

    Raises :class:`InvalidChannelLayerError`, which names the registered aliases.
    """
    return SyncChannelLayer(get_channel_layer(alias))
