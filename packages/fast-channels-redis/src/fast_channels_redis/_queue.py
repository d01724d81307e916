"""One node's connection to Redis for the layer that queues in streams."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from typing import Final

from redis.exceptions import AskError, RedisError

from fast_channels.layers.broker import Node
from fast_channels_redis._commands import Commands, Exchange
from fast_channels_redis._connection import RedisConnection
from fast_channels_redis._endpoint import Reply
from fast_channels_redis._inbox import Inbox
from fast_channels_redis._keeper import LAST_RETRY, logger, part_with
from fast_channels_redis._outbox import Outbox
from fast_channels_redis._packing import Argument
from fast_channels_redis._scripts import Script
from fast_channels_redis._settings import Settings
from fast_channels_redis._shards import Owns

_HEARTBEAT: Final = Script("heartbeat")
_ROLL_CALL: Final = Script("roll_call")
_STRIKE_OFF: Final = Script("strike_off")

_BEAT: Final = 0.5
"""Seconds between heartbeats, which notice within that time that Redis lost its data."""
_LEASES_KEPT: Final = 10
"""Leases after which keys vanish by themselves. Redis may be away for a while, and the inboxes
must still be there when it is back, so it is other nodes that end a lease in time."""
_TRIM_AFTER: Final = 5_000
_FAREWELL: Final = 1
_BATCH: Final = 500


class QueueConnection(RedisConnection):
    scripts = (_HEARTBEAT, _ROLL_CALL, _STRIKE_OFF, *Outbox.scripts)

    def __init__(self, node: Node, settings: Settings) -> None:
        super().__init__(node, settings)
        self._inbox_prefix: Final = f"{settings.prefix}:inbox:"
        self._inbox_key: Final = self._inbox_prefix + node.id
        self._nodes_key: Final = f"{settings.prefix}:nodes"
        self._lease_ms: Final = int(settings.lease * 1000)
        self._life_ms: Final = self._lease_ms * _LEASES_KEPT
        self._outbox = Outbox(node, self.shards, settings, self._members_of)
        self._inbox: Inbox | None = None
        self._hearts: list[asyncio.Task[None]] = []
        self._joined: set[str] = set()
        self._refreshed_at = -math.inf
        self._untrimmed = 0
        # The first entry of the inbox, which is another one when Redis has lost its data.
        self._first_id = b""
        self._has_lost = False
        self._recovering: asyncio.Task[None] | None = None
        self._rolled_at = 0.0
        self._reaps_from = 0.0
        self._silent: set[bytes] = set()

    # Setting up, keeping alive, and taking down.

    async def listen(self) -> None:
        inbox = self._inbox = Inbox(
            self.shards.endpoint(self._inbox_key),
            self.settings.patience,
            self.incidents,
            self.node,
            key=self._inbox_key,
            expiry=self.settings.expiry,
            has_read=self._has_read,
            was_made=self._was_made,
        )
        await self._call_heartbeat(inbox)
        await self._call_roll()
        await inbox.start()
        # Side by side: with several servers, one of them may be away.
        works: list[Callable[[], Awaitable[None]]] = [
            partial(self._call_heartbeat, inbox),
            self._call_roll,
            self._refresh,
        ]
        if isinstance(self.settings.servers, list) and not self.shards.is_single:
            works += [_Witness(self, commands).look for commands in self.shards.everywhere()]
        self._hearts = [self.node.loop.create_task(self._repeat(work)) for work in works]

    async def stop_listening(self) -> None:
        hearts, self._hearts = self._hearts, []
        for heart in hearts:
            heart.cancel()
        if hearts:
            await asyncio.wait(hearts)
        inbox, self._inbox = self._inbox, None
        if inbox is not None:
            await inbox.close()
            await self._sign_off()

    async def prepare(self, exchange: Exchange, owns: Owns, took_over: bool) -> None:
        """Register before any call that waited is sent: it may be a message for this node."""
        await super().prepare(exchange, owns, took_over)
        self._outbox.replicas.connected_anew()
        self._reaps_from = self.node.loop.time() + self.settings.lease
        if self._inbox is None:
            return
        if owns(self._inbox_key):
            asked_at = self.node.loop.time()
            (reply,) = await exchange.run(
                ("EVALSHA", _HEARTBEAT.sha, 1, self._inbox_key, *self._heartbeat(self._inbox))
            )
            # A Cluster may have given it to another node meanwhile, where a heartbeat finds it.
            if not isinstance(reply, AskError):
                self._heed(reply, self._inbox, asked_at)
        groups = [group for group in self.node.groups if owns(self._members_of(group))]
        replies: list[Reply] = []
        for batch in _batches(groups):
            joins = (command for group in batch for command in self._joins(group))
            replies += (await exchange.run(*joins))[::2]
        if took_over and owns(self._inbox_key):
            # Replication is asynchronous: what the last primary had accepted, this one may lack.
            logger.warning("another server has taken over, and may lack the last messages")
            self._recover_soon()
        self._heed_joins(groups, replies)

    async def _repeat(self, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            await asyncio.sleep(min(_BEAT, self.settings.lease / 4))
            try:
                await work()
            except OSError as error:
                logger.warning("a heartbeat failed: %s", error)
            except Exception:
                logger.exception("a heartbeat failed")

    async def _call_heartbeat(self, inbox: Inbox) -> None:
        key, asked_at = self._inbox_key, self.node.loop.time()
        reply = await self.shards.run(_HEARTBEAT, key, *self._heartbeat(inbox))
        self._heed(reply, inbox, asked_at)

    def _heartbeat(self, inbox: Inbox) -> tuple[Argument, ...]:
        self._untrimmed = 0
        ms, _, serial = inbox.last_id.partition(b"-")
        return ms, serial, self._life_ms

    def _heed(self, reply: Reply, inbox: Inbox, asked_at: float) -> None:
        if isinstance(reply, Exception):
            raise reply
        made, last_id, seconds, microseconds = reply
        inbox.set_time(int(seconds) + int(microseconds) / 1e6, asked_at)
        if made and inbox.last_id == b"0-0":
            inbox.last_id = self._first_id = last_id
        elif made:
            self._was_made(last_id)

    def _was_made(self, first_id: bytes) -> None:
        """The reply that tells of it may get lost, and then the entry itself tells of it."""
        if first_id != self._first_id:
            self._first_id = first_id
            logger.warning("Redis lost the inbox of this process, which may have missed messages")
            self._recover_soon()

    def _recover_soon(self) -> None:
        self._has_lost = True
        if self._recovering is None or self._recovering.done():
            self._recovering = self.node.run(self._recover())

    async def _recover(self) -> None:
        while self._has_lost:
            self._has_lost = False
            try:
                # Those who sent in vain have taken this node out of its groups.
                await self._join_all()
            except OSError as error:
                logger.warning("groups could not be joined again, trying once more: %s", error)
                self._has_lost = True
                await asyncio.sleep(LAST_RETRY)
            if not self._has_lost:
                self.node.gap()

    async def refresh_at_once(self) -> None:
        """One of several servers has lost its data, which need not be the inbox's."""
        self._refreshed_at = -math.inf
        await self._refresh()

    async def _refresh(self) -> None:
        if self.node.loop.time() - self._refreshed_at > self._life_ms / 3000:
            await self._join_all()

    async def _join_all(self) -> None:
        began, groups = self.node.loop.time(), self.node.groups
        replies: list[Reply] = []
        for batch in _batches(groups):
            replies += await asyncio.gather(*map(self._join, batch))
        self._refreshed_at = began
        self._heed_joins(groups, replies)

    def _heed_joins(self, groups: Sequence[str], replies: Sequence[Reply]) -> None:
        """Who was not in a group that it had joined has missed its messages."""
        if any(isinstance(reply, Exception) for reply in replies):
            self._refreshed_at = -math.inf
        missed = [
            group
            for group, added in zip(groups, replies, strict=True)
            if added == 1 and group in self._joined
        ]
        if missed and (self._recovering is None or self._recovering.done()):
            self.node.gap(missed)

    async def _call_roll(self) -> None:
        """Say that this node lives, and end the leases of those that do not say so."""
        key = self._nodes_key
        reply = await self.shards.run(_ROLL_CALL, key, self.node.id, self._lease_ms, self._life_ms)
        now, before = self.node.loop.time(), self._silent
        if now - self._rolled_at > self.settings.lease / 2:
            self._reaps_from = now + self.settings.lease
        self._rolled_at, self._silent = now, set(reply)
        if now < self._reaps_from:
            return  # Redis was away or refused this, and the others have not come back yet.
        # Twice silent: the clock of Redis may have jumped.
        for node in self._silent & before:
            name = node.decode()
            if await self.shards.run(_STRIKE_OFF, key, name, self._lease_ms):
                logger.warning("process %s is gone: its lease has ended", name)
                inbox = self._inbox_prefix + name
                await self.shards.call(inbox, "UNLINK", inbox)

    async def _sign_off(self) -> None:
        """Be gone at once instead of at the end of the lease; as well as can be."""
        # On connections of their own: a loop that ends has cancelled all tasks before, and with
        # them those that write commands and read replies.
        try:
            async with asyncio.timeout(_FAREWELL):
                await self._once(self._inbox_key, ("UNLINK", self._inbox_key))
                await self._once(self._nodes_key, ("ZREM", self._nodes_key, self.node.id))
        except (OSError, RedisError):
            pass

    async def _once(self, key: str, command: tuple[Argument, ...]) -> None:
        connection = await self.shards.endpoint(key).open()
        try:
            await Exchange(connection).run(command)
        finally:
            await part_with(connection)

    def _has_read(self, count: int) -> None:
        self._untrimmed += count
        inbox = self._inbox
        if self._untrimmed >= _TRIM_AFTER and inbox is not None:
            self.node.run(self._trim(inbox))

    async def _trim(self, inbox: Inbox) -> None:
        try:
            await self._call_heartbeat(inbox)
        except OSError:
            pass  # The next heartbeat does it.

    # What the layer calls.

    async def subscribe(self, group: str) -> None:
        await self._join(group)
        self._joined.add(group)

    async def _join(self, group: str) -> Reply:
        key = self._members_of(group)
        add, expire = self._joins(group)
        added, _ = await asyncio.gather(self.shards.call(key, *add), self.shards.call(key, *expire))
        return added

    async def unsubscribe(self, group: str) -> None:
        self._joined.discard(group)
        key = self._members_of(group)
        await self.shards.call(key, "SREM", key, self.node.id)

    async def publish(self, group: str, data: bytes) -> None:
        await self._outbox.publish(group, data)

    async def send_to_node(self, node_id: str, data: bytes) -> bool:
        return await self._outbox.send(node_id, data)

    def _members_of(self, group: str) -> str:
        return f"{self.settings.prefix}:members:{group}"

    def _joins(self, group: str) -> tuple[tuple[Argument, ...], ...]:
        key = self._members_of(group)
        return ("SADD", key, self.node.id), ("PEXPIRE", key, self._life_ms)


class _Witness:
    """Notices that one of several servers lost its data, as a heartbeat does for the inbox's."""

    def __init__(self, connection: QueueConnection, commands: Commands) -> None:
        self._connection = connection
        self._commands = commands
        self._has_been_there = False
        settings = connection.settings
        self._life_ms = int(settings.lease * _LEASES_KEPT * 1000)
        self._key = f"{settings.prefix}:witness:{connection.node.id}"

    async def look(self) -> None:
        before = await self._commands.call("SET", self._key, 1, "PX", self._life_ms, "GET")
        if before is None and self._has_been_there:
            logger.warning("%s lost its data", self._commands.endpoint.name)
            await self._connection.refresh_at_once()
        self._has_been_there = True


def _batches(groups: Sequence[str]) -> Iterator[Sequence[str]]:
    for begin in range(0, len(groups), _BATCH):
        yield groups[begin : begin + _BATCH]
