"""The servers of a layer, and which of them a key belongs to."""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine, Hashable, Sequence
from typing import Any, TypeAlias

from fast_channels_redis._commands import Commands, Exchange
from fast_channels_redis._endpoint import Endpoint, Reply
from fast_channels_redis._keeper import Incidents
from fast_channels_redis._packing import Argument
from fast_channels_redis._scripts import Script
from fast_channels_redis._sharding import shard_of

Outcome: TypeAlias = Coroutine[Any, Any, Reply]
Owns: TypeAlias = Callable[[str], bool]
Prepare: TypeAlias = Callable[[Exchange, Owns, bool], Awaitable[None]]
"""Sets up a new connection. The second argument tells whether a key is on its server, the third
whether this took over from one that died, and may not have got the last writes."""


class Shards(ABC):
    """One node's command connections. A key, or the name of a Redis channel, decides the server."""

    is_single: bool
    """Whether one server has all the keys, so that a script may use several."""

    @abstractmethod
    async def start(self) -> None:
        """Connect to every server; :class:`OSError` if one of them cannot be reached."""

    @abstractmethod
    async def close(self) -> None:
        """Never raises; may be called again."""

    @abstractmethod
    def call(self, key: str, *command: Argument, again: bool = True) -> Outcome:
        """See :meth:`Commands.call`."""

    @abstractmethod
    def run(self, script: Script, key: str, *arguments: Argument, again: bool = True) -> Outcome:
        """Run a script with one key; see :meth:`Commands.call`."""

    @abstractmethod
    def place_of(self, key: str) -> Hashable:
        """The same for all keys that are on one server now."""

    @abstractmethod
    def everywhere(self) -> Sequence[Commands]:
        """The connections to all servers."""

    @abstractmethod
    def endpoint(self, key: str) -> Endpoint:
        """Where to make another connection for a key."""


class HostShards(Shards):
    """One server, or several that know nothing of each other."""

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        patience: float,
        incidents: Incidents,
        prepare: Prepare | None = None,
    ) -> None:
        self._endpoints = endpoints
        self.is_single = len(endpoints) == 1
        self._commands = [
            Commands(endpoint, patience, incidents, self._prepared(prepare, index))
            for index, endpoint in enumerate(endpoints)
        ]

    def _prepared(
        self, prepare: Prepare | None, index: int
    ) -> Callable[[Exchange], Awaitable[None]] | None:
        if prepare is None:
            return None
        last: tuple[str, int] | None = None

        async def set_up(exchange: Exchange) -> None:
            nonlocal last
            took_over = last not in (None, exchange.server)
            await prepare(
                exchange, lambda key: shard_of(key, len(self._endpoints)) == index, took_over
            )
            last = exchange.server

        return set_up

    async def start(self) -> None:
        for commands in self._commands:
            await commands.start()

    async def close(self) -> None:
        for commands in self._commands:
            await commands.close()

    def call(self, key: str, *command: Argument, again: bool = True) -> Outcome:
        return self._for(key).call(*command, again=again)

    def run(self, script: Script, key: str, *arguments: Argument, again: bool = True) -> Outcome:
        return self._for(key).run(script, (key,), *arguments, again=again)

    def place_of(self, key: str) -> Hashable:
        return shard_of(key, len(self._endpoints))

    def everywhere(self) -> Sequence[Commands]:
        return self._commands

    def endpoint(self, key: str) -> Endpoint:
        return self._endpoints[shard_of(key, len(self._endpoints))]

    def _for(self, key: str) -> Commands:
        if self.is_single:
            return self._commands[0]
        return self._commands[shard_of(key, len(self._commands))]
