"""What every layer with a broker needs, done once; a backend adds how to talk to its broker."""

import asyncio
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any, ClassVar, TypedDict
from weakref import WeakSet

from fast_channels.exceptions import (
    ChannelClosed,
    ChannelLayerUnavailable,
    InvalidNameError,
)
from fast_channels.layers._background import hand_over, is_made_for_one_call, keep_for_ever
from fast_channels.layers._codec import DEFAULT_MAX_MESSAGE_BYTES, MessageCodec
from fast_channels.layers._django import channel_full, owned_name
from fast_channels.layers._fanout import deliver
from fast_channels.layers._local import DeliversLocally, count_gone
from fast_channels.layers._mailbox import Mailbox
from fast_channels.layers._names import (
    SPECIFIC_MARK,
    checked_channel_prefix,
    is_specific,
    require_channel_name,
    require_group_name,
)
from fast_channels.layers._node import Node
from fast_channels.layers._waiters import Waiters
from fast_channels.layers.base import BaseChannelLayer, ChannelCapacity
from fast_channels.serializers import create_serializer
from fast_channels.types import Message

__all__ = ["BrokerChannelLayer", "BrokerConnection", "BrokerOptions", "Node", "Waiters"]


class BrokerOptions(TypedDict, total=False):
    """The options of every :class:`BrokerChannelLayer`, for a backend that hands them on:
    ``def __init__(self, url: str, **options: Unpack[BrokerOptions])``."""

    expiry: float
    group_expiry: float
    capacity: int
    channel_capacity: ChannelCapacity | None
    serializer_format: str
    symmetric_encryption_keys: Iterable[str | bytes] | None
    max_message_bytes: int
    send_timeout: float
    linger: float


class BrokerConnection(ABC):
    """What a backend implements: one node's connection to the broker.

    The broker knows nodes, groups and general channels, never connections: however many channels
    a node has in a group, the group is subscribed once. All data is bytes that the broker does
    not look into.

    Every method is called on the node's event loop, several at a time, and may be cancelled. An
    :class:`OSError` (which ``ConnectionError`` and ``TimeoutError`` are), or one of :attr:`away`,
    means "this was not done, the broker is away": the caller tries again until ``send_timeout`` has
    passed. What must not be tried again raises :class:`ChannelLayerUnavailable`, and
    :class:`ChannelLayerRefused` if trying will never help. Reconnecting is the connection's own
    business. When it is back it subscribes ``node.groups`` anew and then, if anything can have
    been missed, calls ``node.gap()``.

    docs/how-to/write-a-channel-layer.md goes through all of it.
    """

    away: ClassVar[tuple[type[Exception], ...]] = ()
    """What the broker's client library raises, beside :class:`OSError`, when the broker is away."""

    def __init__(self, node: Node) -> None:
        self.node = node

    @abstractmethod
    async def connect(self) -> None:
        """Connect, and from now on hand what comes to the inbox of ``node.id`` to
        ``node.deliver``. Returns when nothing sent to it can be missed any more."""

    @abstractmethod
    async def close(self) -> None:
        """Give back everything: tasks, sockets, the inbox. Never raises; may be called again,
        also if ``connect`` did not succeed."""

    @abstractmethod
    async def subscribe(self, group: str) -> None:
        """The node has a first member of the group: from now on hand what is published to it to
        ``node.deliver_to_group``. Returns when the broker has confirmed that."""

    @abstractmethod
    async def unsubscribe(self, group: str) -> None:
        """The node has no member of the group any more."""

    @abstractmethod
    async def publish(self, group: str, data: bytes) -> None:
        """Send bytes to every node that has subscribed the group, this one included, in the order
        of the calls.

        A broker that gives all nodes what all nodes publish in one and the same order gives its
        layer the capability ``total_order``; not every broker does.
        """

    @abstractmethod
    async def send_to_node(self, node_id: str, data: bytes) -> bool:
        """Send bytes to the inbox of a node, in order. False if there is no such node, True if
        there is or the broker cannot tell. Raises :class:`ChannelFull` if the inbox is."""

    @abstractmethod
    async def push(self, channel: str, data: bytes, capacity: int, expiry: float) -> bool:
        """Add bytes to a general channel; False if ``capacity`` of them wait already.

        They may be forgotten after ``expiry`` seconds."""

    @abstractmethod
    async def pull(self, channel: str) -> tuple[bytes, float]:
        """Wait for bytes of a general channel and take them, with their age in seconds; each goes
        to one caller only, in all processes.

        Cancelling loses none. Mind that a task's ``cancel()`` cancels the future that it awaits
        at once, but runs the task only later: what arrives in between has to be put back, as
        :class:`Waiters` does.
        """

    @abstractmethod
    async def flush(self) -> None:
        """Drop everything of this layer at the broker: what waits in general channels."""


class BrokerChannelLayer(BaseChannelLayer, DeliversLocally):
    """A channel layer over a broker; a backend implements :meth:`make_connection`.

    Every event loop that uses the layer is a node of its own, with its own connection, which
    closes with its loop at the latest. Any number of threads and loops may use one layer. Opening
    a channel, joining a group that has a local member already and leaving one cost the broker
    nothing; leaving never fails.

    ``async_to_sync`` of asgiref makes a loop for every call. A connection for each would cost
    more than the call, and leave thousands of ports waiting for the end of TCP's TIME_WAIT. So
    what only sends in such a loop goes through the node that blocking calls have, the one of
    :func:`get_sync_channel_layer`, which stays connected.

    While the broker is away, what needs it is tried again for ``send_timeout`` seconds and then
    raises :class:`ChannelLayerUnavailable`; :meth:`receive` waits. When the broker is back, every
    consumer whose messages may have been missed gets one ``layer.gap`` event.

    A channel of another process may be added to a group as well as one's own. A general channel
    may not: it has no process that would answer for it.

    ``serializer_format``: "msgpack", "json", or a name from :func:`register_serializer`.
    ``symmetric_encryption_keys``: the first encrypts, all decrypt; see
    :class:`EncryptedSerializer`. ``max_message_bytes``: the most that a message may take once
    encoded and encrypted. ``linger``: seconds that a group without local members stays
    subscribed. ``group_expiry`` is accepted because other layers have it, and does nothing.
    """

    def __init__(
        self,
        *,
        expiry: float = 60,
        group_expiry: float = 86400,
        capacity: int = 100,
        channel_capacity: ChannelCapacity | None = None,
        serializer_format: str = "msgpack",
        symmetric_encryption_keys: Iterable[str | bytes] | None = None,
        max_message_bytes: int = DEFAULT_MAX_MESSAGE_BYTES,
        send_timeout: float = 5,
        linger: float = 1,
    ) -> None:
        super().__init__(expiry=expiry, capacity=capacity, channel_capacity=channel_capacity)
        if not send_timeout > 0 or not linger >= 0:
            raise ValueError(
                "send_timeout must be above 0 and linger 0 or more, in seconds; "
                f"got {send_timeout!r} and {linger!r}"
            )
        self.group_expiry = group_expiry
        self.max_message_bytes = max_message_bytes
        self.send_timeout = send_timeout
        self.linger = linger
        self._codec = MessageCodec(
            create_serializer(
                serializer_format, symmetric_encryption_keys=symmetric_encryption_keys
            ),
            expiry=expiry,
            max_message_bytes=max_message_bytes,
        )
        # Each loop touches its own entry only, so several threads need no lock.
        self._nodes: dict[asyncio.AbstractEventLoop, Node] = {}
        _layers.add(self)

    @abstractmethod
    def make_connection(self, node: Node) -> BrokerConnection:
        """A connection for one node, not connected yet."""

    async def send(self, channel: str, message: Mapping[str, Any]) -> None:
        require_channel_name(channel)
        if self._is_passing():
            await hand_over(self.send(channel, message))
            return
        node = await self._node()
        if not is_specific(channel):
            data = self._codec.encode(message)
            capacity = self.get_capacity(channel)
            if not await node.attempt(
                lambda: node.connection.push(channel, data, capacity, self.expiry)
            ):
                raise channel_full(channel)
            return
        owner = _owner(channel)
        if owner != node.id:
            await node.send_to_channel(owner, channel, self._codec.encode(message))
            return
        envelope = self._codec.seal(message)
        mailbox = node.table.channels.get(channel)
        if mailbox is None:
            count_gone(channel)
        elif deliver(envelope, (mailbox,), node.loop):
            raise channel_full(channel)

    async def receive(self, channel: str) -> Message:
        here = self._nodes.get(loop := asyncio.get_running_loop())
        if here is not None and isinstance(channel, str):  # pyright: ignore[reportUnnecessaryIsInstance]  # untyped callers
            mailbox = here.table.channels.get(channel)
            if mailbox is not None:
                return await mailbox.receive(loop)
        require_channel_name(channel)
        if is_specific(channel):
            raise ChannelClosed(channel)
        node = self._own_node()

        async def pull() -> tuple[bytes, float]:
            await node.connected()
            return await node.connection.pull(channel)

        while True:
            try:
                data, age = await node.attempt(pull, for_ever=True)
            except ChannelLayerUnavailable:
                if not node.stopped:
                    raise
                raise ChannelClosed(channel) from None
            if age < self.expiry and (envelope := node.unseal(data, age)) is not None:
                return envelope.open()

    async def new_channel(self, prefix: str = "specific") -> str:
        mailbox = Mailbox()
        await self.open_mailbox(mailbox, prefix)
        node = self._own_node()
        return owned_name(mailbox, node.loop, node.close_channel)

    async def open_mailbox(self, mailbox: Mailbox, prefix: str = "specific") -> None:
        prefix = checked_channel_prefix(prefix)
        node = await self._node()
        node.open(mailbox, prefix, self.get_capacity)

    async def close_channel(self, channel: str) -> None:
        require_channel_name(channel)
        if (node := self._nodes.get(asyncio.get_running_loop())) is not None:
            node.close_channel(channel)

    async def group_add(self, group: str, channel: str) -> None:
        require_group_name(group)
        self._require_specific(channel)
        if self._is_passing():
            await hand_over(self.group_add(group, channel))
            return
        node = await self._node()
        owner = _owner(channel)
        if owner == node.id:
            await node.join(group, channel)
        else:
            await node.ask_to_join(owner, group, channel)

    async def group_discard(self, group: str, channel: str) -> None:
        require_group_name(group)
        self._require_specific(channel)
        if self._is_passing():
            await hand_over(self.group_discard(group, channel))
            return
        node = await self._node()
        owner = _owner(channel)
        if owner == node.id:
            node.leave(group, channel)
        else:
            await node.ask_to_leave(owner, group, channel)

    async def group_send(self, group: str, message: Mapping[str, Any]) -> None:
        require_group_name(group)
        if self._is_passing():
            await hand_over(self.group_send(group, message))
            return
        data = self._codec.encode(message)
        node = self._nodes.get(asyncio.get_running_loop())
        if node is None or not node.started or node.stopped:
            node = await self._node()
        await node.attempt(partial(node.connection.publish, group, data))

    async def flush(self) -> None:
        """Drop what waits in general channels, and what waits and who is a member here.

        Members in other processes stay: they are those processes' own.
        """
        node = await self._node()
        for mailbox in tuple(node.table.channels.values()):
            mailbox.clear()
            for group in tuple(mailbox.groups or ()):
                node.leave(group, mailbox.name)
        await node.attempt(node.connection.flush)

    async def close(self) -> None:
        node = self._nodes.get(asyncio.get_running_loop())
        if node is not None:
            await node.stop()
            if self._nodes.get(node.loop) is node:
                del self._nodes[node.loop]

    def _is_passing(self) -> bool:
        """Whether the running loop ends with this call and has opened nothing here."""
        loop = asyncio.get_running_loop()
        return loop not in self._nodes and is_made_for_one_call(loop)

    async def _node(self) -> Node:
        """The node of the running loop, connected."""
        node = self._own_node()
        if not node.started:
            await node.start()
        return node

    def _own_node(self) -> Node:
        loop = asyncio.get_running_loop()
        node = self._nodes.get(loop)
        if node is None or node.stopped:
            # Who ends a loop need not close the layer in it, so a new one looks for those.
            for other in self._nodes.copy():
                if other.is_closed():
                    self._nodes.pop(other, None)
            node = self._nodes[loop] = Node(
                self._codec,
                self.make_connection,
                send_timeout=self.send_timeout,
                linger=self.linger,
            )
        return node

    def _require_specific(self, channel: str) -> None:
        require_channel_name(channel)
        if not is_specific(channel):
            raise InvalidNameError(
                f"{channel!r} is a general channel, and on {type(self).__qualname__} only a "
                "channel from new_channel() can be a member of a group"
            )


_layers = WeakSet[BrokerChannelLayer]()


def _after_in_child() -> None:
    """No loop of the parent process runs here: leave its nodes and their sockets to it."""
    for layer in tuple(_layers):
        if nodes := layer._nodes:  # pyright: ignore[reportPrivateUsage]  # of this module
            keep_for_ever(nodes)
            layer._nodes = {}  # pyright: ignore[reportPrivateUsage]  # of this module


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_in_child)


def _owner(channel: str) -> str:
    """The node id in ``prefix.node!id``."""
    return channel.partition(SPECIFIC_MARK)[0].rpartition(".")[2]
