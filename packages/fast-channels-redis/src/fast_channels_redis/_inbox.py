"""The connection that reads a node's inbox."""

import asyncio
import math
from collections.abc import Callable
from typing import Final

from fast_channels.exceptions import MessageDecodeError
from fast_channels.layers.broker import Node
from fast_channels.statistics import statistics
from fast_channels_redis._endpoint import Endpoint, Reply, ServerConnection
from fast_channels_redis._keeper import MOST_AT_ONCE, Incidents, KeptConnection
from fast_channels_redis._packing import pack
from fast_channels_redis._receiver import entries_of
from fast_channels_redis._wire import Duplicates, parse

_MOST: Final = 500
_FORGET: Final = 60
_QUICK: Final = 0.05
"""Seconds within which an answer tells the time well enough."""


class Inbox(KeptConnection):
    """Reads on from the last message it has, so a broken connection costs and repeats nothing."""

    def __init__(
        self,
        endpoint: Endpoint,
        patience: float,
        incidents: Incidents,
        node: Node,
        key: str,
        expiry: float,
        has_read: Callable[[int], None],
        was_made: Callable[[bytes], None],
    ) -> None:
        """``has_read``: called with the number of messages after each batch. ``was_made``: called
        with the id of the first entry if the inbox turns out to be another one than before."""
        super().__init__(endpoint, patience, incidents)
        self._node = node
        self._key = key
        self._expiry = expiry
        self._has_read = has_read
        self._was_made = was_made
        self._duplicates = Duplicates()
        self._clock = -math.inf
        self.last_id: bytes = b"0-0"

    def set_time(self, server_time: float, asked_at: float) -> None:
        """What the server's clock showed, in seconds; ``asked_at``: on the event loop's clock."""
        now = asyncio.get_running_loop().time()
        clock = server_time - now
        # The later an answer comes, the younger messages seem to be.
        if clock > self._clock or now - asked_at < _QUICK:
            self._clock = clock
        self._duplicates.forget_idle(_FORGET)

    def broke(self, error: Exception) -> None:
        """Nothing is lost: :attr:`last_id` is all that the next connection needs."""

    def ended(self) -> None:
        """Nobody waits for anything."""

    async def serve(self, connection: ServerConnection) -> None:
        block = self.patience / 2
        ms = max(int(block * 1000), 1)
        command = ("XREAD", "COUNT", _MOST, "BLOCK", ms, "STREAMS", self._key)
        self.is_ready()
        while True:
            async with asyncio.timeout(block + self.patience):
                await connection.send_packed_command(
                    [pack((*command, self.last_id))], check_health=False
                )
                reply = await connection.read_response()
            if reply:
                await self._take(reply)

    async def _take(self, reply: Reply) -> None:
        entries = entries_of(reply)
        now = asyncio.get_running_loop().time() + self._clock
        at, age = b"", 0.0
        for count, (entry_id, fields) in enumerate(entries, 1):
            # First: what follows may be cut short, and must not be delivered again.
            last_id, self.last_id = self.last_id, entry_id
            blob = fields[1]
            if not blob and last_id != b"0-0":
                self._was_made(entry_id)
            if entry_id[:13] != at:
                at = entry_id[:13]
                age = max(0.0, now - int(entry_id.partition(b"-")[0]) / 1000)
            self._deliver(blob, age)
            if not count % MOST_AT_ONCE:
                await asyncio.sleep(0)
        self._has_read(len(entries))

    def _deliver(self, blob: bytes, age: float) -> None:
        if not blob or age >= self._expiry:
            return  # Nothing but a sign that the inbox is there, or too late.
        try:
            sender, serial, group, data = parse(blob)
        except MessageDecodeError as error:
            statistics.count("event.undecodable", str(error))
            return
        if self._duplicates.knows(sender, serial):
            return
        if group is None:
            self._node.deliver(data, age=age)
        else:
            self._node.deliver_to_group(group, data, age=age)
