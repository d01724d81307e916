"""The layer that keeps messages in Redis streams. Not part of this release."""


class RedisChannelLayer:
    """The name is reserved; the layer is not part of this release.

    Raises `NotImplementedError` when constructed, whatever the arguments.
    """

    def __init__(self, *args: object, **kwargs: object) -> None:
        raise NotImplementedError(
            "RedisChannelLayer is not part of this release of fast-channels-redis; "
            "until it is, use fast_channels.layers.InMemoryChannelLayer, which serves one process"
        )
