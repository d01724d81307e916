"""The servers of a Redis Cluster."""

import asyncio
from collections.abc import Callable, Coroutine, Hashable, Sequence
from itertools import count
from typing import Any, Final, TypeAlias

from redis.exceptions import AskError, ClusterDownError, MovedError, TryAgainError

from fast_channels_redis._cluster_endpoints import KeyEndpoint, NodeEndpoint
from fast_channels_redis._commands import Commands, Exchange, NotConnected
from fast_channels_redis._endpoint import Endpoint, Reply
from fast_channels_redis._keeper import FIRST_RETRY, LAST_RETRY, Incidents, jittered
from fast_channels_redis._options import ClusterSeeds
from fast_channels_redis._packing import Argument
from fast_channels_redis._scripts import Script
from fast_channels_redis._shards import Prepare, Shards
from fast_channels_redis._topology import Address, Moved, Topology, redirected_to, slot_of

_FREE_REDIRECTIONS: Final = 3
"""As often a call is sent on at once. While a slot moves, two nodes may each name the other."""

_Operation: TypeAlias = Callable[[Commands, bool], Coroutine[Any, Any, Reply]]
"""Sends to a node what is to be sent; the second argument is that of :meth:`Commands.call`."""


class NodeCommands(Commands):
    """Calls do not wait for a node to come back: another one may have taken its place."""

    keeps_calls = False

    def __init__(
        self,
        topology: Topology,
        address: Address,
        patience: float,
        incidents: Incidents,
        prepare: Prepare,
        changed: Callable[[], None],
    ) -> None:
        """``changed``: called when it takes calls, and when it never will again."""
        super().__init__(NodeEndpoint(topology, address), patience, incidents, self._set_up)
        self.address: Final = address
        self._topology = topology
        self._prepare_node = prepare
        self._changed = changed
        self.took_over = False
        """From a node that died, and may not have got its last writes."""
        self.is_suspect = False
        """Whether the connection broke since the map last said that this is a primary."""

    @property
    def takes_calls(self) -> bool:
        return self._takes_calls

    async def _set_up(self, exchange: Exchange) -> None:
        await self._prepare_node(
            exchange,
            lambda key: self._topology.owner_of(slot_of(key)) == self.address,
            self.took_over,
        )
        self.took_over = False

    def require_answer(self) -> None:
        # It may have been replaced long before it is given up.
        self._topology.hint()
        super().require_answer()

    def is_ready(self) -> None:
        super().is_ready()
        self._changed()

    def broke(self, error: Exception) -> None:
        self.is_suspect = True
        super().broke(error)

    def ended(self) -> None:
        super().ended()
        self._changed()


class ClusterShards(Shards):
    """One connection to each primary; a call goes where its key is, and follows it.

    While nobody serves the key, calls wait here, for as long as their callers do.
    """

    is_single = False

    def __init__(
        self, topology: Topology, patience: float, incidents: Incidents, prepare: Prepare
    ) -> None:
        self.topology: Final = topology
        self._patience = patience
        self._incidents = incidents
        self._prepare = prepare
        self._commands: dict[Address, NodeCommands] = {}
        self._leaving: dict[NodeCommands, asyncio.Task[None]] = {}
        self._change = asyncio.Event()
        self._follows = False
        topology.watch(self._follow)

    async def start(self) -> None:
        await self.topology.start()
        self._commands = {address: self._make(address) for address in self.topology.primaries}
        starts = (commands.start() for commands in self._commands.values())
        for outcome in await asyncio.gather(*starts, return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome
        self._follows = True
        self._follow({})

    async def close(self) -> None:
        self._follows = False
        await self.topology.close()
        leaving = tuple(self._leaving.values())
        for task in leaving:
            task.cancel()
        if leaving:
            await asyncio.wait(leaving)
        for commands in (*self._commands.values(), *self._leaving):
            await commands.close()
        self._commands.clear()
        self._leaving.clear()
        self._tell()

    async def call(self, key: str, *command: Argument, again: bool = True) -> Reply:
        return await self._route(
            key, lambda commands, asking: commands.call(*command, again=again, asking=asking)
        )

    async def run(
        self, script: Script, key: str, *arguments: Argument, again: bool = True
    ) -> Reply:
        return await self._route(
            key,
            lambda commands, asking: commands.run(
                script, (key,), *arguments, again=again, asking=asking
            ),
        )

    def place_of(self, key: str) -> Hashable:
        return self.topology.owner_of(slot_of(key))

    def everywhere(self) -> Sequence[Commands]:
        return list(self._commands.values())

    def endpoint(self, key: str) -> Endpoint:
        return KeyEndpoint(self.topology, key)

    async def _route(self, key: str, operation: _Operation) -> Reply:
        slot = slot_of(key)
        importing: Address | None = None
        pause = FIRST_RETRY
        for tries in count():
            asking = importing is not None
            commands = await self._owner_of(slot) if importing is None else self._at(importing)
            importing = None
            try:
                return await operation(commands, asking)
            except NotConnected:
                if not asking:
                    continue  # Somebody takes over, and it waits for that.
            except MovedError as error:
                await self.topology.redirected(error, commands.address)
                if tries < _FREE_REDIRECTIONS:
                    continue
            except AskError as error:
                importing = redirected_to(error, commands.address)
                if tries < _FREE_REDIRECTIONS:
                    continue
            except (ClusterDownError, TryAgainError):
                self.topology.hint()
            await asyncio.sleep(jittered(pause))
            pause = min(pause * 2, LAST_RETRY)
        raise AssertionError

    async def _owner_of(self, slot: int) -> NodeCommands:
        """Whoever serves the slot, as soon as somebody does."""
        while self._follows and self.topology.is_open:
            address = self.topology.owner_of(slot)
            commands = None if address is None else self._commands.get(address)
            if commands is not None and commands.takes_calls:
                return commands
            await self._change.wait()
        raise ConnectionError("the connection was closed")

    def _at(self, address: Address) -> NodeCommands:
        """The node that gets its first slot is not on the map yet."""
        commands = self._commands.get(address)
        if commands is None:
            commands = self._commands[address] = self._make(address)
            commands.start_soon()
        return commands

    def _make(self, address: Address) -> NodeCommands:
        return NodeCommands(
            self.topology, address, self._patience, self._incidents, self._prepare, self._tell
        )

    def _follow(self, moved: Moved) -> None:
        """Bring the connections in line with the map."""
        if not self._follows:
            return
        dead = {before for before in moved.values() if before is not None and self._died(before)}
        heirs = {self.topology.owner_of(slot) for slot, before in moved.items() if before in dead}
        primaries = self.topology.primaries
        for address in tuple(self._commands):
            # An heir sets up a new connection, for what it has now.
            if address not in primaries or address in heirs:
                self._dismiss(self._commands.pop(address), at_once=address in dead)
        for address in primaries:
            if address not in self._commands:
                self._at(address).took_over = address in heirs
            elif self._commands[address].takes_calls:
                self._commands[address].is_suspect = False
        self._tell()

    def _died(self, address: Address) -> bool:
        """Whether a node that lost slots had no chance to hand over everything."""
        commands = self._commands.get(address)
        return commands is not None and (commands.is_suspect or address not in self.topology.nodes)

    def _dismiss(self, commands: NodeCommands, *, at_once: bool) -> None:
        if at_once:
            commands.broke(ConnectionError("another node has taken its place"))
        task = asyncio.get_running_loop().create_task(self._part_with(commands))
        self._leaving[commands] = task

    async def _part_with(self, commands: NodeCommands) -> None:
        """Let it answer what it was sent, and others take over, and close it."""
        try:
            async with asyncio.timeout(self._patience):
                while not all(each.takes_calls for each in self._commands.values()):
                    await self._change.wait()
                await commands.call(b"PING")
        except OSError:
            commands.broke(ConnectionError("it is no primary any more"))
        commands.replaced()
        await commands.close()
        del self._leaving[commands]

    def _tell(self) -> None:
        """Let all calls look again that wait for a change."""
        change, self._change = self._change, asyncio.Event()
        change.set()


def make_cluster_shards(
    seeds: ClusterSeeds, patience: float, incidents: Incidents, prepare: Prepare
) -> ClusterShards:
    return ClusterShards(Topology(seeds.servers), patience, incidents, prepare)
