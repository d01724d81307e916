"""The layer of one process: no broker, no configuration."""

import asyncio
import threading
from collections.abc import Mapping
from typing import Any

from fast_channels.exceptions import ChannelClosed
from fast_channels.layers._codec import DEFAULT_MAX_MESSAGE_BYTES, MessageCodec
from fast_channels.layers._django import channel_full, owned_name
from fast_channels.layers._fanout import Delivery
from fast_channels.layers._general import GeneralChannels
from fast_channels.layers._local import DeliversLocally, LocalTable, count_gone, count_refused
from fast_channels.layers._mailbox import Mailbox
from fast_channels.layers._names import (
    checked_channel_prefix,
    is_specific,
    require_channel_name,
    require_group_name,
)
from fast_channels.layers._workers import warn_if_one_of_several_workers
from fast_channels.layers.base import BaseChannelLayer, ChannelCapacity
from fast_channels.serializers import MsgpackSerializer
from fast_channels.types import Message

__all__ = ["InMemoryChannelLayer"]


class InMemoryChannelLayer(BaseChannelLayer, DeliversLocally):
    """Channels and groups within one process, for development, tests and single-process servers.

    Keeps the whole contract of :class:`BaseChannelLayer`, and more: a group has one total order,
    the same for every member, and ``ChannelFull`` is exact. May be used from several threads and
    event loops at once. Messages are encoded as a broker's layer would, so what Redis would
    refuse is refused here, too.

    Other processes are out of reach. A process that seems to be one of several workers of a
    server logs a warning, once.

    ``max_message_bytes``: the most that a message may take once encoded. ``group_expiry`` is
    accepted because other layers have it, and does nothing: members stay until they leave.
    """

    def __init__(
        self,
        *,
        expiry: float = 60,
        group_expiry: float = 86400,
        capacity: int = 100,
        channel_capacity: ChannelCapacity | None = None,
        max_message_bytes: int = DEFAULT_MAX_MESSAGE_BYTES,
    ) -> None:
        super().__init__(expiry=expiry, capacity=capacity, channel_capacity=channel_capacity)
        self.group_expiry = group_expiry
        self.max_message_bytes = max_message_bytes
        self._codec = MessageCodec(
            MsgpackSerializer(), expiry=expiry, max_message_bytes=max_message_bytes
        )
        # Guards the table, and makes the order of sends the same for every mailbox. Nothing of
        # a receiver runs under it.
        self._lock = threading.Lock()
        self._table = LocalTable()
        self._general = GeneralChannels(self._capacity_rules)

    async def send(self, channel: str, message: Mapping[str, Any]) -> None:
        require_channel_name(channel)
        delivery = Delivery(self._codec.seal(message), asyncio.get_running_loop())
        with self._lock:
            mailbox = self._find(channel)
            if mailbox is not None and delivery.put((mailbox,)):
                raise channel_full(channel)
        if mailbox is None:
            count_gone(channel)
        delivery.finish()

    async def receive(self, channel: str) -> Message:
        specific = self._table.channels.get(channel)
        if specific is not None:
            return await specific.receive()
        require_channel_name(channel)
        if is_specific(channel):
            raise ChannelClosed(channel)
        with self._lock:
            general = self._general.enter(channel)
        try:
            return await general.receive()
        finally:
            with self._lock:
                self._general.leave(general)

    async def new_channel(self, prefix: str = "specific") -> str:
        mailbox = Mailbox()
        await self.open_mailbox(mailbox, prefix)
        return owned_name(mailbox, asyncio.get_running_loop(), self._close_channel)

    async def open_mailbox(self, mailbox: Mailbox, prefix: str = "specific") -> None:
        warn_if_one_of_several_workers()
        prefix = checked_channel_prefix(prefix)
        with self._lock:
            name = self._table.new_name(prefix)
            mailbox.open(name, self.get_capacity(name))
            self._table.open(mailbox)

    async def close_channel(self, channel: str) -> None:
        require_channel_name(channel)
        self._close_channel(channel)

    def _close_channel(self, channel: str) -> None:
        with self._lock:
            mailbox = self._table.channels.get(channel)
            if mailbox is not None:
                self._table.close(mailbox, asyncio.get_running_loop())

    async def group_add(self, group: str, channel: str) -> None:
        require_group_name(group)
        require_channel_name(channel)
        with self._lock:
            mailbox = self._find(channel)
            if mailbox is not None:
                self._table.join(group, mailbox)

    async def group_discard(self, group: str, channel: str) -> None:
        require_group_name(group)
        require_channel_name(channel)
        with self._lock:
            channels = self._table.channels if is_specific(channel) else self._general
            mailbox = channels.get(channel)
            if mailbox is not None:
                self._table.leave(group, mailbox)
                self._general.drop_if_unused(mailbox)

    async def group_send(self, group: str, message: Mapping[str, Any]) -> None:
        if group not in self._table.groups:
            require_group_name(group)
        delivery = Delivery(self._codec.seal(message), asyncio.get_running_loop())
        with self._lock:
            refused = delivery.put(self._table.members(group))
        for mailbox in refused:
            count_refused(mailbox, group)
        delivery.finish()

    async def flush(self) -> None:
        with self._lock:
            for mailbox in (*self._table.channels.values(), *self._general):
                mailbox.clear()
                for group in tuple(mailbox.groups or ()):
                    self._table.leave(group, mailbox)
                self._general.drop_if_unused(mailbox)

    async def close(self) -> None:
        """Close every channel, whichever event loop opened it."""
        loop = asyncio.get_running_loop()
        with self._lock:
            for mailbox in (*self._table.channels.values(), *self._general):
                self._table.close(mailbox, loop)
            # Those who wait are sent away, and who comes next finds channels that are open.
            self._general.forget_all()

    def _find(self, channel: str) -> Mailbox | None:
        """The mailbox of a channel; None for a specific one that is not open."""
        if is_specific(channel):
            return self._table.channels.get(channel)
        return self._general.find_or_create(channel)
