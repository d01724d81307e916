"""Every exception that the packages raise, under one root.

::

    Exception
     ├── FastChannelsError
     │    ├── InvalidChannelLayerError   (ValueError)
     │    ├── InvalidNameError           (ValueError, TypeError)
     │    ├── InvalidMessageError        (TypeError)
     │    ├── MessageDecodeError         (ValueError)
     │    ├── MessageTooLarge            (ValueError)
     │    ├── ChannelFull
     │    ├── ChannelLayerUnavailable    (ConnectionError)
     │    │    └── ChannelLayerRefused
     │    ├── ChannelClosed              (RuntimeError)
     │    ├── BlockingCallError          (RuntimeError)
     │    ├── ConnectionStateError       (RuntimeError)
     │    ├── TooManyGroups              (RuntimeError)
     │    └── UnhandledEventError        (ValueError)
     └── ConsumerSignal
          ├── AcceptConnection
          ├── DenyConnection
          └── StopConsumer

In brackets: the built-in class that an error also belongs to, so code that does not know
this package can still catch it. The signals are control flow inside a consumer, not errors:
``except FastChannelsError`` never swallows one.
"""

from typing import Self

__all__ = [
    "AcceptConnection",
    "BlockingCallError",
    "ChannelClosed",
    "ChannelFull",
    "ChannelLayerRefused",
    "ChannelLayerUnavailable",
    "ConnectionStateError",
    "ConsumerSignal",
    "DenyConnection",
    "FastChannelsError",
    "InvalidChannelLayerError",
    "InvalidMessageError",
    "InvalidNameError",
    "MessageDecodeError",
    "MessageTooLarge",
    "StopConsumer",
    "TooManyGroups",
    "UnhandledEventError",
]


class FastChannelsError(Exception):
    """The root of every error that the packages raise."""


class InvalidChannelLayerError(FastChannelsError, ValueError):
    """A layer alias is not registered, or something that needs a layer has none."""


class InvalidNameError(FastChannelsError, ValueError, TypeError):
    """A channel or group name is not one that a layer can use."""


class InvalidMessageError(FastChannelsError, TypeError):
    """A message that cannot be sent; the text says where in the message the fault is."""


class MessageDecodeError(FastChannelsError, ValueError):
    """Bytes that are not a message, or that none of the keys decrypts.

    The text never quotes the data: it may be what somebody wanted to keep secret.
    """


class MessageTooLarge(FastChannelsError, ValueError):
    """An encoded message is over the layer's ``max_message_bytes``; nothing was sent."""

    size: int
    """Bytes of the message as encoded, encryption included."""

    limit: int
    """The most bytes that the layer takes."""

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(
            f"the message takes {size} bytes once encoded, the limit is {limit}; "
            "send less, or raise max_message_bytes of the layer"
        )
        self.size = size
        self.limit = limit

    def __reduce__(self) -> tuple[type[Self], tuple[int, int]]:
        # The default would call the class with the finished sentence.
        return type(self), (self.size, self.limit)


class ChannelFull(FastChannelsError):
    """A channel already holds as many waiting messages as its capacity allows.

    The message was not sent. Only a direct ``send`` raises this: a group send skips the
    members that are full.
    """

    channel: str
    """The full channel."""

    def __init__(self, channel: str) -> None:
        super().__init__(
            f"channel {channel!r} is full: its reader is slower than its senders; "
            "send again later, or raise the layer's capacity for this channel"
        )
        self.channel = channel

    def __reduce__(self) -> tuple[type[Self], tuple[str]]:
        return type(self), (self.channel,)


class ChannelLayerUnavailable(FastChannelsError, ConnectionError):
    """The layer's broker could not be reached in time; the call may be made again."""


class ChannelLayerRefused(ChannelLayerUnavailable):
    """The broker was reached and cannot be used as the options say; trying again will not help.

    A wrong password, for example, or a server that is too old.
    """


class ChannelClosed(FastChannelsError, RuntimeError):
    """``receive`` on a channel of this process that is closed, or was never opened."""

    channel: str
    """The channel that is not open."""

    def __init__(self, channel: str) -> None:
        super().__init__(
            f"channel {channel!r} is not open: it was closed, or its layer was, "
            "or its name did not come from new_channel()"
        )
        self.channel = channel

    def __reduce__(self) -> tuple[type[Self], tuple[str]]:
        return type(self), (self.channel,)


class BlockingCallError(FastChannelsError, RuntimeError):
    """A blocking call in a thread that runs an event loop, which would stand still meanwhile."""

    method: str
    """The name of the method that was called."""

    def __init__(self, method: str) -> None:
        super().__init__(
            f"{method}() would block the event loop that runs in this thread; "
            f"write `await get_channel_layer(...).{method}(...)` instead"
        )
        self.method = method

    def __reduce__(self) -> tuple[type[Self], tuple[str]]:
        return type(self), (self.method,)


class ConnectionStateError(FastChannelsError, RuntimeError):
    """A call that the connection's state does not allow, such as ``send`` before ``accept``."""


class TooManyGroups(FastChannelsError, RuntimeError):
    """A channel is in as many groups as the ``limits`` of its consumer allow; it joined no more.

    Adding it again to a group that it is in is always fine.
    """

    channel: str
    """The channel that was to join another group."""

    limit: int
    """The most groups that it may be in at a time."""

    def __init__(self, channel: str, limit: int) -> None:
        super().__init__(
            f"channel {channel!r} is in {limit} groups, as many as its consumer's limits allow; "
            "leave one first, or raise Limits.groups"
        )
        self.channel = channel
        self.limit = limit

    def __reduce__(self) -> tuple[type[Self], tuple[str, int]]:
        return type(self), (self.channel, self.limit)


class UnhandledEventError(FastChannelsError, ValueError):
    """An event whose type no handler of the consumer takes."""


class ConsumerSignal(Exception):
    """The root of what a handler raises to steer its consumer; never an error."""


class AcceptConnection(ConsumerSignal):
    """Raised in ``connect``: accept the connection."""


class DenyConnection(ConsumerSignal):
    """Raised in ``connect``: refuse the connection."""


class StopConsumer(ConsumerSignal):
    """Raised in any handler: end the consumer quietly."""
