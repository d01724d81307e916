"""The layer that sends messages through Redis pub/sub. Not part of this release."""


class RedisPubSubChannelLayer:
    """The name is reserved; the layer is not part of this release.

    Raises `NotImplementedError` when constructed, whatever the arguments.
    """

    def __init__(self, *args: object, **kwargs: object) -> None:
        raise NotImplementedError(
            "RedisPubSubChannelLayer is not part of this release of fast-channels-redis; "
            "until it is, use fast_channels.layers.InMemoryChannelLayer, which serves one process"
        )
