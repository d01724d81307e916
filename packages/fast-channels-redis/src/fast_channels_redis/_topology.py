"""Which node of a Redis Cluster serves which slot."""

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeAlias, cast

from redis.crc import key_slot as _key_slot
from redis.exceptions import AskError, MovedError, NoPermissionError, RedisError

from fast_channels.exceptions import ChannelLayerRefused
from fast_channels_redis._endpoint import Reply, Server
from fast_channels_redis._keeper import FIRST_RETRY, LAST_RETRY, jittered, logger, part_with
from fast_channels_redis._packing import pack

SLOTS: Final = 16384

_EVERY: Final = 30
"""Seconds between looks at the map when nothing points to a change."""
_CALM: Final = 0.1
"""Seconds between looks at the map while many calls are sent elsewhere."""
_SUSPICION: Final = 10
"""Seconds to look for a node's successor after the last sign that it may be gone."""
_ANSWER: Final = 2
"""Seconds for a node to tell the map, before the next one is asked."""

Address: TypeAlias = tuple[str, int]
Moved: TypeAlias = Mapping[int, Address | None]
"""Slots that have another owner now, and who had them before."""


def slot_of(key: str | bytes) -> int:
    data = key.encode() if isinstance(key, str) else key
    return _key_slot(data)


class SlotMap:
    """A node's answer to ``CLUSTER SLOTS``."""

    def __init__(self, reply: Reply, asked: Address) -> None:
        self.owners: list[Address | None] = [None] * SLOTS
        self.nodes: set[Address] = set()
        """Primaries, and replicas that are well."""
        for first, last, primary, *replicas in reply:
            owner = _address(primary, asked)
            self.owners[first : last + 1] = [owner] * (last + 1 - first)
            self.nodes.add(owner)
            self.nodes.update(_address(replica, asked) for replica in replicas)


def _address(node: Reply, asked: Address) -> Address:
    host, port = node[0], int(node[1])
    # A node that was not told its own host name leaves it to who asks to know it.
    return (host.decode() if host not in (None, b"", b"?") else asked[0]), port


class Topology:
    """The slots and their primaries, as far as is known; kept up to date by every hint."""

    def __init__(self, seeds: Sequence[Server]) -> None:
        self._seeds = list(seeds)
        self._owners: list[Address | None] = [None] * SLOTS
        self._primaries: set[Address] = set()
        self.nodes: set[Address] = set()
        """All that were well at the last look, replicas included."""
        self.change = asyncio.Event()
        """Set at the next look at the map, and another one then."""
        self._suspects: dict[Address, float] = {}
        self._looked_at = 0.0
        self._watchers: list[Callable[[Moved], None]] = []
        self._hint = asyncio.Event()
        self._trusted: Address | None = None
        self._refreshing: asyncio.Task[None] | None = None
        self._keeper: asyncio.Task[None] | None = None

    def watch(self, changed: Callable[[Moved], None]) -> None:
        """Have it called after every change."""
        self._watchers.append(changed)

    def owner_of(self, slot: int) -> Address | None:
        return self._owners[slot]

    @property
    def primaries(self) -> set[Address]:
        return self._primaries

    def server(self, address: Address) -> Server:
        return self._seeds[0].at(*address)

    @property
    def is_open(self) -> bool:
        """Also a loop that ends, and cancels all its tasks, closes it."""
        return self._keeper is not None and not self._keeper.done()

    async def start(self) -> None:
        """Learn the map; :class:`OSError` if no node tells it."""
        await self.refresh()
        self._keeper = asyncio.get_running_loop().create_task(self._keep())

    async def close(self) -> None:
        """Never raises; may be called again."""
        tasks = [task for task in (self._keeper, self._refreshing) if task is not None]
        self._keeper = self._refreshing = None
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def refresh(self) -> None:
        """Look at the map together with everybody else who wants that now."""
        task = self._refreshing
        if task is None or task.done():
            task = self._refreshing = asyncio.get_running_loop().create_task(self._refresh())
            task.add_done_callback(_look_at)
        await asyncio.wait([task])
        if task.cancelled():
            raise ConnectionError("the connection was closed")
        task.result()

    async def has_moved(self, slot: int) -> bool:
        """Whether a slot turns out to be another node's than the one that was asked just now."""
        before = self._owners[slot]
        if asyncio.get_running_loop().time() - self._looked_at > _CALM:
            await self.refresh()
        return self._owners[slot] != before

    def hint(self) -> None:
        """The map may be out of date."""
        self._hint.set()

    def suspect(self, address: Address) -> None:
        """A node may be gone: look at the map until it is, or is back."""
        self._suspects[address] = asyncio.get_running_loop().time()
        self._hint.set()

    def trust(self, address: Address) -> None:
        """A node is there."""
        self._suspects.pop(address, None)

    def moved(self, error: MovedError, asked: Address) -> bool:
        """A node says that a slot is another's; whether that is all there is to know now."""
        address = self._trusted = redirected_to(error, asked)
        self._hint.set()
        if address not in self._primaries:
            return False
        slot: int = error.slot_id
        before, self._owners[slot] = self._owners[slot], address
        if before != address:
            self._tell({slot: before})
        return True

    async def redirected(self, error: MovedError, asked: Address) -> None:
        """The same; return when it is known where to go."""
        if not self.moved(error, asked):
            await self.refresh()

    async def _keep(self) -> None:
        pause = FIRST_RETRY
        while True:
            try:
                async with asyncio.timeout(_EVERY):
                    await self._hint.wait()
            except TimeoutError:
                pass
            self._hint.clear()
            is_known = True
            try:
                await self.refresh()
            except OSError as error:
                logger.debug("no node of the Cluster tells the slots: %s", error)
                is_known = False
            except Exception:
                logger.exception("the slots of the Cluster could not be understood")
            if is_known and not self._suspects:
                pause = FIRST_RETRY
                await asyncio.sleep(_CALM)
            else:
                await asyncio.sleep(jittered(pause))
                pause = min(pause * 2, LAST_RETRY)
                self._hint.set()

    async def _refresh(self) -> None:
        failure: OSError | None = None
        for server in self._to_ask():
            try:
                async with asyncio.timeout(_ANSWER):
                    found = await _ask(server)
            except (OSError, RedisError) as error:
                reason = error if isinstance(error, OSError) else ConnectionError(str(error))
                if failure is None or isinstance(reason, ChannelLayerRefused):
                    failure = reason
                continue
            self._adopt(found)
            return
        raise failure or ConnectionError("a Redis Cluster needs a node to begin with")

    def _to_ask(self) -> list[Server]:
        """The nodes in the order in which their answers are likely to be right."""
        order = [] if self._trusted is None else [self._trusted]
        self._trusted = None
        primaries, suspects = self._primaries, self._suspects.keys()
        for group in (primaries - suspects, self.nodes - primaries - suspects, suspects):
            order += random.sample(sorted(group), len(group))
        known = [self.server(address) for address in dict.fromkeys(order)]
        return known + [seed for seed in self._seeds if seed.address not in order]

    def _adopt(self, found: SlotMap) -> None:
        before, self._owners, self.nodes = self._owners, found.owners, found.nodes
        self._primaries = {owner for owner in found.owners if owner is not None}
        self._looked_at = asyncio.get_running_loop().time()
        # Who is interested in a node raises the suspicion again and again.
        for address, since in tuple(self._suspects.items()):
            if address not in self._primaries or self._looked_at - since > _SUSPICION:
                del self._suspects[address]
        moved = {
            slot: old
            for slot, (old, new) in enumerate(zip(before, found.owners, strict=True))
            if old != new
        }
        self._tell(moved)

    def _tell(self, moved: Moved) -> None:
        change, self.change = self.change, asyncio.Event()
        change.set()
        for changed in self._watchers:
            changed(moved)


def redirected_to(error: AskError, asked: Address) -> Address:
    """Where a node says that a key is."""
    host, port = cast(Address, error.node_addr)  # pyright: ignore[reportUnknownMemberType]  # redis-py leaves it untyped
    return host or asked[0], port


async def _ask(server: Server) -> SlotMap:
    connection = await server.open()
    try:
        await connection.send_packed_command([pack(("CLUSTER", "SLOTS"))])
        found = SlotMap(await connection.read_response(), server.address)
    except NoPermissionError as error:
        raise ChannelLayerRefused(f"{server.name}: {error}") from error
    finally:
        await part_with(connection)
    if not found.nodes:
        raise ConnectionError(f"{server.name} knows no slots of its Cluster")
    return found


def _look_at(task: asyncio.Task[None]) -> None:
    """All who waited may have given up, so that nobody asks how it ended."""
    if not task.cancelled():
        task.exception()
