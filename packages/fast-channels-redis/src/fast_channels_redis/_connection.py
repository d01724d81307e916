"""What the connections of both layers to Redis have in common."""

import asyncio
import inspect
import re
from abc import abstractmethod
from collections.abc import Awaitable

from fast_channels.layers import BrokerConnection
from fast_channels.layers.broker import Node
from fast_channels_redis._commands import Exchange
from fast_channels_redis._general import GeneralChannels
from fast_channels_redis._keeper import Incidents, logger
from fast_channels_redis._scripts import Script
from fast_channels_redis._settings import Notice, Settings
from fast_channels_redis._shards import HostShards, Owns, Shards

_SCAN_COUNT = 500


class RedisConnection(BrokerConnection):
    """One node's connections to all its servers."""

    scripts: tuple[Script, ...] = ()
    """What the subclass runs."""

    def __init__(self, node: Node, settings: Settings) -> None:
        super().__init__(node)
        self.settings: Settings = settings
        self.incidents: Incidents = Incidents(
            lambda: self._tell(settings.on_disconnect), lambda: self._tell(settings.on_reconnect)
        )
        self.shards: Shards = self._make_shards()
        self.general: GeneralChannels = GeneralChannels(node, self.shards, settings, self.incidents)

    async def connect(self) -> None:
        self.incidents.open()
        await self.shards.start()
        await self.listen()

    async def close(self) -> None:
        self.incidents.close()
        await self.general.close()
        await self.stop_listening()
        await self.shards.close()

    @abstractmethod
    async def listen(self) -> None:
        """Begin to hand over what comes for the node."""

    @abstractmethod
    async def stop_listening(self) -> None:
        """Never raises; may be called again."""

    async def prepare(self, exchange: Exchange, owns: Owns, took_over: bool) -> None:
        """Set up a new command connection; see :data:`Prepare`."""
        loads = [
            ("SCRIPT", "LOAD", script.text) for script in (*self.general.scripts, *self.scripts)
        ]
        for reply in await exchange.run(*loads):
            if isinstance(reply, Exception):
                raise reply

    async def push(self, channel: str, data: bytes, capacity: int, expiry: float) -> bool:
        return await self.general.push(channel, data, capacity, expiry)

    async def pull(self, channel: str) -> tuple[bytes, float]:
        item = await self.general.take(channel)
        self.general.acknowledge_soon(item)
        return item.data, item.age

    async def flush(self) -> None:
        pattern = f"{_glob_escaped(self.settings.prefix)}:*"
        for commands in self.shards.everywhere():
            cursor: bytes | int = 0
            while True:
                scan = ("SCAN", cursor, "MATCH", pattern, "COUNT", _SCAN_COUNT)
                cursor, keys = await commands.call(*scan)
                await asyncio.gather(*map(self._flush_key, keys))
                if not int(cursor):
                    break

    async def _flush_key(self, found: bytes) -> None:
        key = found.decode()
        kind, _, name = key[len(self.settings.prefix) + 1 :].partition(":")
        if ":" in name:
            return  # It is of another layer, whose prefix begins like this one.
        if kind in ("general", "dead"):
            await self.shards.call(key, "UNLINK", key)
        elif kind == "inbox":
            # What waits in it; that it is there means that its node lives.
            await self.shards.call(key, "XTRIM", key, "MAXLEN", 0)

    def _make_shards(self) -> Shards:
        servers, patience = self.settings.servers, self.settings.patience
        if isinstance(servers, list):
            return HostShards(servers, patience, self.incidents, self.prepare)
        from fast_channels_redis._cluster import make_cluster_shards

        return make_cluster_shards(servers, patience, self.incidents, self.prepare)

    def _tell(self, notice: Notice | None) -> None:
        if isinstance(notice, str):
            self.node.announce(notice)
        elif notice is not None:
            try:
                outcome = notice()
            except Exception:
                logger.exception("on_disconnect or on_reconnect failed")
                return
            if inspect.isawaitable(outcome):
                self.node.run(_finish(outcome))


async def _finish(awaitable: Awaitable[None]) -> None:
    await awaitable


def _glob_escaped(text: str) -> str:
    return re.sub(r"([*?\[\]\\^])", r"\\\1", text)
