"""The channel of one connection: where messages of the layer wait, and how they get there."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from fast_channels.consumer._close_frame import INTERNAL_ERROR, SERVICE_RESTART
from fast_channels.consumer._mailbox import ConnectionMailbox, PulledEnvelope, WatchedMailbox
from fast_channels.exceptions import ChannelClosed
from fast_channels.layers._local import DeliversLocally
from fast_channels.layers.base import BaseChannelLayer
from fast_channels.statistics import statistics

if TYPE_CHECKING:
    from fast_channels.consumer._connection import Connection


class ConnectionChannel:
    """Opened before the connection's first event, closed before its last."""

    __slots__ = ("_connection", "_pump", "layer", "mailbox", "name")

    def __init__(
        self, connection: "Connection", layer: BaseChannelLayer | None, overflow: str, ahead: int
    ) -> None:
        self._connection = connection
        self._pump: asyncio.Task[None] | None = None
        self.layer = layer
        self.name = ""
        kind = ConnectionMailbox if connection.probe() is None else WatchedMailbox
        self.mailbox = kind(connection.loop, self._on_overflow(overflow), ahead)

    async def open(self) -> None:
        layer, mailbox = self.layer, self.mailbox
        mailbox.on_close = self._closed
        if isinstance(layer, DeliversLocally):
            await layer.open_mailbox(mailbox)
            self.name = mailbox.name
        elif layer is not None:
            self.name = await layer.new_channel()
            mailbox.open(self.name, layer.get_capacity(self.name))
            self._pump = self._connection.loop.create_task(self._receive_from(layer))

    async def _receive_from(self, layer: BaseChannelLayer) -> None:
        """Fill the mailbox from a layer that can only be asked for messages, one by one."""
        try:
            while True:
                pulled = PulledEnvelope(await layer.receive(self.name))
                self.mailbox.put(pulled)
                self.mailbox.wake()
                await pulled.opened
        except ChannelClosed:
            self._closed()
        except (Exception, asyncio.CancelledError) as error:
            self._connection.log_failure(error, "its channel layer failed")
            self._connection.end(INTERNAL_ERROR)

    async def close(self) -> None:
        """Leave every group and take no more messages. Never raises."""
        self.mailbox.on_close = None
        self.mailbox.close(self._connection.loop)
        if self._pump is not None:
            self._pump.cancel()
            await asyncio.wait([self._pump])
        if self.layer is not None:
            try:
                await self.layer.close_channel(self.name)
            except (Exception, asyncio.CancelledError) as error:
                self._connection.log_failure(error, f"could not close channel {self.name}")

    def unfinished(self) -> list[asyncio.Future[None]]:
        """Nothing if the dispatch loop waits for something new; for a connection with a probe."""
        mailbox = self.mailbox
        if isinstance(mailbox, WatchedMailbox) and not mailbox.is_idle():
            return [mailbox.idle()]
        if self._pump is not None and not _is_suspended(self._pump):
            turn: asyncio.Future[None] = self._connection.loop.create_future()
            self._connection.loop.call_soon(turn.set_result, None)
            return [turn]
        return []

    def _closed(self) -> None:
        """The layer was closed: nothing would ever come again."""
        connection = self._connection
        # Not now: the layer may hold a lock.
        connection.loop.call_soon(connection.end, SERVICE_RESTART, "the channel layer was closed")

    def _on_overflow(self, policy: str) -> Callable[[], bool] | None:
        """What to do when the mailbox is full; True if there is room then. Any thread asks."""
        if policy == "drop_oldest":
            return self._drop_oldest
        return self._end if policy == "close" else None

    def _drop_oldest(self) -> bool:
        if not self.mailbox.drop_oldest():
            return False
        statistics.count("event.full", f"{self.name!r} is full and lost its oldest message")
        return True

    def _end(self) -> bool:
        with suppress(RuntimeError):  # Its loop has ended; that is not the sender's to suffer from.
            self._connection.loop.call_soon_threadsafe(self._connection.end_overflowed)
        return False


def _is_suspended(task: asyncio.Task[None]) -> bool:
    """Whether it waits for something that has not happened; else it runs in the loop's next turn.

    asyncio tells that nowhere in public.
    """
    waits_for: asyncio.Future[object] | None = getattr(task, "_fut_waiter", None)
    return waits_for is not None and not waits_for.done()
