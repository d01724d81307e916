"""What a node listens to on a Redis Cluster: sharded pub/sub."""

import asyncio
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from redis.exceptions import AskError, ClusterDownError, MovedError

from fast_channels_redis._cluster_endpoints import NodeEndpoint
from fast_channels_redis._keeper import FIRST_RETRY, LAST_RETRY, Incidents, jittered, logger
from fast_channels_redis._listeners import Listeners
from fast_channels_redis._subscriber import Subscriber
from fast_channels_redis._topology import Address, Moved, Topology, slot_of


class ClusterListeners(Listeners):
    """A connection to each primary that has a name in one of its slots.

    Redis does not hand subscriptions over when a slot moves or a primary dies, so a name moves
    by being subscribed at the slot's new owner, and what was published in between is lost.
    """

    def __init__(
        self,
        topology: Topology,
        patience: float,
        incidents: Incidents,
        *,
        names: Callable[[], Iterable[str]],
        deliver: Callable[[bytes, bytes], None],
        missed: Callable[[Callable[[str], bool]], None],
    ) -> None:
        """See :class:`HostListeners`."""
        self._topology = topology
        self._patience = patience
        self._incidents = incidents
        self._names = names
        self._deliver = deliver
        self._missed = missed
        self._subscribers: dict[Address, Subscriber] = {}
        self._starts: dict[Address, asyncio.Task[Subscriber]] = {}
        # Where each name is subscribed, or about to be; None if it lost its place.
        self._homes: dict[bytes, Address | None] = {}
        self._leaving: list[Subscriber] = []
        self._is_open = False
        self._mover: asyncio.Task[None] | None = None
        topology.watch(self._follow)

    @property
    def are_whole(self) -> bool:
        return not any(subscriber.is_broken for subscriber in self._subscribers.values())

    async def start(self) -> None:
        self._is_open = True
        for name in self._names():
            await self.subscribe(name)

    async def close(self) -> None:
        self._is_open = False
        tasks: list[asyncio.Task[Any]] = [*self._starts.values()]
        if self._mover is not None:
            tasks.append(self._mover)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        for subscriber in (*self._subscribers.values(), *self._leaving):
            await subscriber.close()
        self._subscribers.clear()
        self._leaving.clear()
        self._homes.clear()

    async def subscribe(self, name: str) -> None:
        await self._subscribe(name.encode(), is_new=True)

    async def unsubscribe(self, name: str) -> None:
        home = self._homes.pop(name.encode(), None)
        subscriber = None if home is None else self._subscribers.get(home)
        if subscriber is None:
            return
        try:
            await subscriber.unsubscribe(name.encode())
        except MovedError:
            pass  # The node has dropped it with its slot.

    async def _subscribe(self, name: bytes, *, is_new: bool) -> bool:
        """Subscribe it at its slot's owner; False if nobody wants it any more."""
        pause = FIRST_RETRY
        while True:
            address = self._topology.owner_of(slot_of(name))
            if address is None:
                self._topology.hint()
                raise ConnectionError(f"no node of the Cluster serves slot {slot_of(name)}")
            subscriber = await self._subscriber_at(address)
            if not is_new and name not in self._homes:
                return False
            self._homes[name] = address
            try:
                await subscriber.subscribe(name)
            except MovedError as error:
                await self._topology.redirected(error, address)
            except (AskError, ClusterDownError) as error:
                self._topology.hint()
                self._homes[name] = None
                raise ConnectionError(f"{subscriber.endpoint.name}: {error}") from error
            else:
                return True
            await asyncio.sleep(jittered(pause))
            pause = min(pause * 2, LAST_RETRY)

    async def _subscriber_at(self, address: Address) -> Subscriber:
        subscriber = self._subscribers.get(address)
        if subscriber is not None:
            return subscriber
        start = self._starts.get(address)
        if start is None:
            start = asyncio.get_running_loop().create_task(self._start(address))
            start.add_done_callback(_look_at)
            self._starts[address] = start
        await asyncio.wait([start])
        if start.cancelled():
            raise ConnectionError("the connection was closed")
        return start.result()

    async def _start(self, address: Address) -> Subscriber:
        subscriber = Subscriber(
            NodeEndpoint(self._topology, address),
            self._patience,
            self._incidents,
            names=partial(self._names_at, address),
            deliver=partial(self._take, address),
            returned=partial(self._returned, address),
            dropped=partial(self._dropped, address),
            sharded=True,
        )
        try:
            await subscriber.start()
            self._subscribers[address] = subscriber
        finally:
            del self._starts[address]
        return subscriber

    def _names_at(self, address: Address) -> Iterable[bytes]:
        owner_of = self._topology.owner_of
        names = [name for name, home in self._homes.items() if home == address]
        # By slot, as those of one slot go into one command.
        names.sort(key=slot_of)
        return (name for name in names if owner_of(slot_of(name)) == address)

    def _take(self, address: Address, name: bytes, data: bytes) -> None:
        # A demoted primary goes on sending what the new one sends, too.
        if self._homes.get(name) == address:
            self._deliver(name, data)

    def _returned(self, address: Address) -> None:
        self._missed(lambda name: self._homes.get(name.encode()) == address)

    def _dropped(self, address: Address, name: bytes) -> None:
        """The node has lost the slot."""
        if self._homes.get(name) == address:
            self._homes[name] = None
            self._move()

    def _follow(self, moved: Moved) -> None:
        if moved and self._is_open:
            self._move()

    def _move(self) -> None:
        if self._mover is None or self._mover.done():
            self._mover = asyncio.get_running_loop().create_task(self._move_all())
            self._mover.add_done_callback(_look_at)

    async def _move_all(self) -> None:
        """Subscribe what is not where it belongs, until everything is."""
        pause = FIRST_RETRY
        while True:
            try:
                # What shows is one slot, and others may be concerned by the same incident.
                await self._topology.refresh()
            except OSError:
                pass
            self._dismiss()
            strays = self._strays()
            outcomes = await asyncio.gather(
                *(self._subscribe(name, is_new=False) for name in strays), return_exceptions=True
            )
            moved = {
                name for name, outcome in zip(strays, outcomes, strict=True) if outcome is True
            }
            if moved:
                self._missed(partial(_is_among, moved))
            await self._part()
            if not self._strays():
                return
            failures = [outcome for outcome in outcomes if isinstance(outcome, Exception)]
            if failures:
                logger.debug("could not subscribe at another node yet: %s", failures[0])
            await asyncio.sleep(jittered(pause))
            pause = min(pause * 2, LAST_RETRY)

    def _strays(self) -> list[bytes]:
        owner_of = self._topology.owner_of
        strays = [name for name, home in self._homes.items() if home != owner_of(slot_of(name))]
        strays.sort(key=slot_of)
        return strays

    def _dismiss(self) -> None:
        """Ask no more of nodes that are no primaries."""
        for address in self._subscribers.keys() - self._topology.primaries:
            subscriber = self._subscribers.pop(address)
            subscriber.broke(ConnectionError("another node has taken its place"))
            self._leaving.append(subscriber)

    async def _part(self) -> None:
        while self._leaving:
            subscriber = self._leaving[0]
            subscriber.replaced()
            await subscriber.close()
            self._leaving.remove(subscriber)


def _is_among(names: set[bytes], name: str) -> bool:
    return name.encode() in names


def _look_at(task: asyncio.Task[Subscriber] | asyncio.Task[None]) -> None:
    """All who waited may have given up, so that nobody asks how it ended."""
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.debug("listening at a node of the Cluster failed: %s", error)
