"""Messages that flow while a Cluster changes, and what became of each of them."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Final

from redis_layers import AnyLayer
from redis_servers import Cluster, slot_of

from fast_channels.exceptions import ChannelLayerUnavailable
from fast_channels.layers._mailbox import Mailbox
from fast_channels_redis import RedisChannelLayer

PAUSE: Final = 0.05
"""Seconds between two messages."""


class Listener(Mailbox):
    """The channel of a consumer, which is told of gaps."""

    __slots__ = ()
    takes_gaps = True


class Traffic:
    """One sender, one receiver; every message has a number."""

    def __init__(self) -> None:
        self.sent: list[int] = []
        self.failed: list[int] = []
        self.got: list[int] = []
        self.gaps = 0
        self._started = 0
        self._has_ended = False
        self._arrival = asyncio.Event()

    @property
    def lost(self) -> set[int]:
        return set(self.sent) - set(self.got)

    async def goes_on(self, count: int = 10) -> None:
        """Return when as many messages have arrived that are sent from now on."""
        first = self._started
        await self._until(lambda: sum(number >= first for number in self.got) >= count)

    async def told_of_gap(self) -> None:
        await self._until(lambda: self.gaps)

    async def ended(self) -> None:
        await self._until(lambda: self._has_ended)

    async def _until(self, holds: Callable[[], object]) -> None:
        async with asyncio.timeout(60):
            while not holds():
                self._arrival.clear()
                await self._arrival.wait()

    async def send(self, layer: AnyLayer, group: str, channel: str) -> None:
        while True:
            number, self._started = self._started, self._started + 1
            message = {"type": "number", "number": number}
            try:
                if number % 2:
                    await layer.group_send(group, message)
                else:
                    await layer.send(channel, message)
            except ChannelLayerUnavailable:
                self.failed.append(number)
            else:
                self.sent.append(number)
            await asyncio.sleep(PAUSE)

    async def receive(self, mailbox: Mailbox) -> None:
        while True:
            message = await mailbox.receive()
            if message["type"] == "layer.gap":
                self.gaps += 1
            elif message["type"] == "last":
                self._has_ended = True
            else:
                self.got.append(message["number"])
            self._arrival.set()


@asynccontextmanager
async def traffic(sender: AnyLayer, receiver: AnyLayer, group: str) -> AsyncGenerator[Traffic]:
    """Numbers go to a channel of the receiver: half of them directly, half by a group."""
    mailbox = Listener()
    await receiver.open_mailbox(mailbox)
    await receiver.group_add(group, mailbox.name)
    flow = Traffic()
    tasks = [
        asyncio.create_task(flow.send(sender, group, mailbox.name)),
        asyncio.create_task(flow.receive(mailbox)),
    ]
    try:
        await flow.goes_on()
        yield flow
        tasks[0].cancel()
        await asyncio.wait(tasks[:1])
        await sender.send(mailbox.name, {"type": "last"})
        await flow.ended()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def inbox_of(layer: AnyLayer) -> str:
    """The key, or Redis channel, by which others reach the layer's process."""
    channel = await layer.new_channel()
    node_id = channel.partition("!")[0].rpartition(".")[2]
    kind = ":inbox:" if isinstance(layer, RedisChannelLayer) else "__node__"
    return f"asgi{kind}{node_id}"


def key_of_group(layer: AnyLayer, group: str) -> str:
    kind = ":members:" if isinstance(layer, RedisChannelLayer) else "__group__"
    return f"asgi{kind}{group}"


def group_at(cluster: Cluster, layer: AnyLayer, key: str, *, together: bool) -> str:
    """A group on the same primary as a key, or on another one."""
    home = cluster.node_for(key)
    groups = (f"group-{number}" for number in range(1000))
    return next(
        group
        for group in groups
        if (cluster.node_for(key_of_group(layer, group)) is home) is together
    )


async def kill(cluster: Cluster, key: str) -> None:
    """Kill the primary of a key, and return when its replica has taken its place."""
    slot = slot_of(key)
    old = await asyncio.to_thread(cluster.kill_primary_of, slot)
    await asyncio.to_thread(cluster.wait_for_failover, slot, old)


def cut_replication(cluster: Cluster, key: str) -> None:
    """Let the replica of a key's primary get nothing any more."""
    primary = cluster.node_for(key)
    primary.execute("ACL", "SETUSER", "default", "-psync", "-sync", "-replconf")
    primary.execute("CLIENT", "KILL", "TYPE", "replica")
