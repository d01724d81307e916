"""Layers around another layer, with a say in every delivery: for test kits and measuring."""

import asyncio
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, Final, Protocol

from fast_channels.layers._codec import DEFAULT_MAX_MESSAGE_BYTES, MessageCodec
from fast_channels.layers._local import DeliversLocally
from fast_channels.layers._mailbox import Envelope, Mailbox
from fast_channels.layers.base import BaseChannelLayer
from fast_channels.serializers import MsgpackSerializer
from fast_channels.types import Message

__all__ = ["ChannelLayerWrapper", "Envelope", "Outlet", "Tap"]

_GAP: Final = MessageCodec(
    MsgpackSerializer(), expiry=1, max_message_bytes=DEFAULT_MAX_MESSAGE_BYTES
).notice({"type": "layer.gap"})


class Outlet:
    """Where the messages of one channel go when its tap lets them: the mailbox itself.

    Calls from several threads must not overlap; its receiver may run meanwhile.
    """

    __slots__ = ("_mailbox", "loop")

    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox
        self.loop: asyncio.AbstractEventLoop = asyncio.get_running_loop()
        """The event loop in which the channel was opened."""

    @property
    def name(self) -> str:
        """The channel's name."""
        return self._mailbox.name

    def put(self, envelope: Envelope) -> bool:
        """Deliver a message; False if the channel is full or closed, and does not take it."""
        if not self._mailbox.put(envelope):
            return False
        self._mailbox.notify(asyncio.get_running_loop())
        return True

    def overflow(self, envelope: Envelope) -> bool:
        """What :meth:`put` does when the channel holds its capacity: a consumer's ``overflow``
        decides."""
        if not self._mailbox.overflow():
            return False
        self._mailbox.items.append(envelope)
        self._mailbox.notify(asyncio.get_running_loop())
        return True

    def gap(self) -> None:
        """Tell a consumer that it may have missed messages; other receivers have no use for it."""
        if self._mailbox.takes_gaps:
            self._mailbox.items.append(_GAP)
            self._mailbox.notify(asyncio.get_running_loop())


class Tap(Protocol):
    """What a wrapper makes for each of its channels: it decides what reaches the outlet.

    It is called in the thread of the sender, perhaps under a lock of the inner layer: nothing
    here may block or call a layer.
    """

    def arrived(self, envelope: Envelope) -> bool:
        """A message for the channel; False if it is refused as by a full channel."""
        ...

    def cleared(self) -> None:
        """The inner layer drops what waits in the channel."""
        ...

    def closed(self) -> None:
        """The channel is closed."""
        ...


class ChannelLayerWrapper(BaseChannelLayer, DeliversLocally):
    """Gives every call to ``inner``, and every message for a channel opened here to a tap.

    ``inner``: an :class:`InMemoryChannelLayer`, a layer of :class:`BrokerChannelLayer`, or another
    wrapper. Its general channels have no tap. Channels are closed by ``close_channel`` only, also
    where Django's own consumers opened them, which never call it.
    """

    def __init__(self, inner: BaseChannelLayer) -> None:
        if not isinstance(inner, BaseChannelLayer):  # pyright: ignore[reportUnnecessaryIsInstance]  # untyped callers
            raise TypeError(f"{type(self).__qualname__} wraps a channel layer, got {inner!r}")
        if not isinstance(inner, DeliversLocally):
            raise TypeError(
                f"{type(self).__qualname__} wraps layers that fill the mailboxes of consumers, "
                "as InMemoryChannelLayer and all of BrokerChannelLayer do; "
                f"{type(inner).__qualname__} can only be asked for messages"
            )
        super().__init__(
            expiry=inner.expiry, capacity=inner.capacity, channel_capacity=inner.channel_capacity
        )
        self.inner: BaseChannelLayer = inner
        """The layer that is wrapped."""
        self._mailboxes: DeliversLocally = inner

    @abstractmethod
    def make_tap(self, outlet: Outlet) -> Tap:
        """The tap of a channel that is just opened. Under the same conditions as a tap."""

    async def send(self, channel: str, message: Mapping[str, Any]) -> None:
        await self.inner.send(channel, message)

    async def receive(self, channel: str) -> Message:
        return await self.inner.receive(channel)

    async def new_channel(self, prefix: str = "specific") -> str:
        mailbox = Mailbox()
        await self.open_mailbox(mailbox, prefix)
        return mailbox.name

    async def open_mailbox(self, mailbox: Mailbox, prefix: str = "specific") -> None:
        await self._mailboxes.open_mailbox(_Tapped(mailbox, self), prefix)

    async def close_channel(self, channel: str) -> None:
        await self.inner.close_channel(channel)

    async def group_add(self, group: str, channel: str) -> None:
        await self.inner.group_add(group, channel)

    async def group_discard(self, group: str, channel: str) -> None:
        await self.inner.group_discard(group, channel)

    async def group_send(self, group: str, message: Mapping[str, Any]) -> None:
        await self.inner.group_send(group, message)

    async def flush(self) -> None:
        await self.inner.flush()

    async def close(self) -> None:
        await self.inner.close()

    def get_capacity(self, channel: str) -> int:
        return self.inner.get_capacity(channel)


class _Tapped(Mailbox):
    """Stands in the inner layer's table in place of a mailbox, and asks its tap."""

    _tap: Tap

    def __init__(self, mailbox: Mailbox, layer: ChannelLayerWrapper) -> None:
        super().__init__()
        self._mailbox = mailbox
        self._layer = layer
        self.takes_gaps = mailbox.takes_gaps
        self.max_groups = mailbox.max_groups
        # A node adds its notices itself: they are no deliveries. For all else the limit stays 0
        # and there are no waiters, so that whoever delivers has to call put().
        self.items = mailbox.items

    def open(self, name: str, capacity: int) -> None:
        self.name = name
        self._mailbox.open(name, capacity)
        self._tap = self._layer.make_tap(Outlet(self._mailbox))

    def put(self, envelope: Envelope) -> bool:
        return self._tap.arrived(envelope)

    def overflow(self) -> bool:
        return self._mailbox.overflow()

    def notify(self, loop: asyncio.AbstractEventLoop) -> None:
        self._mailbox.notify(loop)

    async def receive(self, loop: asyncio.AbstractEventLoop | None = None) -> Message:
        return await self._mailbox.receive(loop)

    def clear(self) -> None:
        self._tap.cleared()
        self._mailbox.clear()

    def close(self, loop: asyncio.AbstractEventLoop | None) -> None:
        self.closed = True
        self._tap.closed()
        self._mailbox.close(loop)
