"""The application's channel layers: on Redis if REDIS_URL is set, else in this process alone."""

import os

from fast_channels.layers import (
    BaseChannelLayer,
    InMemoryChannelLayer,
    has_layers,
    register_channel_layer,
)

ALIASES = ("chat", "queue", "jobs", "notifications", "analytics")


def setup_layers() -> None:
    if has_layers():
        return
    url = os.environ.get("REDIS_URL")
    for alias, layer in (redis_layers(url) if url else memory_layers()).items():
        register_channel_layer(alias, layer)


def memory_layers() -> dict[str, BaseChannelLayer]:
    return {alias: InMemoryChannelLayer(capacity=1000) for alias in ALIASES}


def redis_layers(url: str) -> dict[str, BaseChannelLayer]:
    # Here, because only with Redis the package has to be installed.
    from fast_channels.layers.redis import RedisChannelLayer, RedisPubSubChannelLayer

    hosts = [url]
    return {
        "chat": RedisPubSubChannelLayer(hosts, prefix="tutorial-chat", capacity=1000),
        "queue": RedisChannelLayer(hosts, prefix="tutorial-queue", expiry=900),
        "jobs": RedisPubSubChannelLayer(hosts, prefix="tutorial-jobs"),
        "notifications": RedisPubSubChannelLayer(hosts, prefix="tutorial-notifications"),
        # Nobody should wait for long because something cannot be counted.
        "analytics": RedisChannelLayer(
            hosts, prefix="tutorial-analytics", capacity=1000, send_timeout=1
        ),
    }
