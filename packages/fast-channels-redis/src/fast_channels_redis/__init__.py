"""Redis channel layers for Fast Channels: import them from `fast_channels.layers.redis`."""

from fast_channels_redis.pubsub import RedisPubSubChannelLayer
from fast_channels_redis.queue import RedisChannelLayer

__all__ = ["RedisChannelLayer", "RedisPubSubChannelLayer"]
