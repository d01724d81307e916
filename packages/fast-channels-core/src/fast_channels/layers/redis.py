"""Redis channel layers; the code lives in the ``fast-channels-redis`` distribution."""

try:
    from fast_channels_redis import RedisChannelLayer, RedisPubSubChannelLayer
except ModuleNotFoundError as _error:
    if _error.name != "fast_channels_redis":
        raise  # the distribution is there; something that it imports is not
    # `name` is the missing module's: `from fast_channels.layers import redis` swallows an error
    # that names this one.
    raise ModuleNotFoundError(
        "fast_channels.layers.redis needs the fast-channels-redis distribution; "
        "install it with: pip install 'fast-channels[redis]'",
        name="fast_channels_redis",
    ) from None

__all__ = ["RedisChannelLayer", "RedisPubSubChannelLayer"]
