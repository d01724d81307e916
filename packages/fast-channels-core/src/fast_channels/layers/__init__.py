"""Channel layers: the contract, the in-memory layer, and the registry of the process.

``RedisChannelLayer`` and ``RedisPubSubChannelLayer`` are here, too, when the distribution
``fast-channels-redis`` is installed.
"""

from typing import TYPE_CHECKING

from fast_channels.layers._names import group_name as group_name
from fast_channels.layers.base import BaseChannelLayer as BaseChannelLayer
from fast_channels.layers.broker import BrokerChannelLayer as BrokerChannelLayer
from fast_channels.layers.broker import BrokerConnection as BrokerConnection
from fast_channels.layers.broker import BrokerOptions as BrokerOptions
from fast_channels.layers.broker import Node as Node
from fast_channels.layers.broker import Waiters as Waiters
from fast_channels.layers.in_memory import InMemoryChannelLayer as InMemoryChannelLayer
from fast_channels.layers.registry import ChannelLayerRegistry as ChannelLayerRegistry
from fast_channels.layers.registry import channel_layers as channel_layers
from fast_channels.layers.registry import channel_layers_lifespan as channel_layers_lifespan
from fast_channels.layers.registry import close_channel_layers as close_channel_layers
from fast_channels.layers.registry import get_channel_layer as get_channel_layer
from fast_channels.layers.registry import has_layers as has_layers
from fast_channels.layers.registry import register_channel_layer as register_channel_layer
from fast_channels.layers.registry import unregister_channel_layer as unregister_channel_layer
from fast_channels.layers.sync import SyncChannelLayer as SyncChannelLayer
from fast_channels.layers.sync import get_sync_channel_layer as get_sync_channel_layer

if TYPE_CHECKING:
    from fast_channels.layers.redis import RedisChannelLayer as RedisChannelLayer
    from fast_channels.layers.redis import RedisPubSubChannelLayer as RedisPubSubChannelLayer
else:

    def __getattr__(name: str) -> object:
        if name in ("RedisChannelLayer", "RedisPubSubChannelLayer"):
            from fast_channels.layers import redis

            return getattr(redis, name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "BaseChannelLayer",
    "BrokerChannelLayer",
    "BrokerConnection",
    "BrokerOptions",
    "ChannelLayerRegistry",
    "InMemoryChannelLayer",
    "Node",
    "SyncChannelLayer",
    "Waiters",
    "channel_layers",
    "channel_layers_lifespan",
    "close_channel_layers",
    "get_channel_layer",
    "get_sync_channel_layer",
    "group_name",
    "has_layers",
    "register_channel_layer",
    "unregister_channel_layer",
]
