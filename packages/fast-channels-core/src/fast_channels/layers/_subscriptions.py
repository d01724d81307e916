"""Which groups the broker is to send to a node, following what members come and go."""

import asyncio
from typing import TYPE_CHECKING

from fast_channels.exceptions import ChannelLayerUnavailable

if TYPE_CHECKING:
    from fast_channels.layers._node import Node


class Subscriptions:
    """Subscribes a group at its first local member, unsubscribes some time after the last.

    The pause (``linger``, seconds) makes a member that leaves and comes back, or a stream of
    short visits, cost the broker nothing. A subscription that is wanted again while it is being
    given up is made after that has finished, so the two cannot overtake each other.
    """

    def __init__(self, node: "Node", linger: float) -> None:
        self._node = node
        self._linger = linger
        self._ready: dict[str, asyncio.Task[None]] = {}
        self._ending: dict[str, asyncio.Task[None]] = {}
        # When to give up a group without members, on the loop's clock; in that order.
        self._until: dict[str, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    @property
    def names(self) -> list[str]:
        return list(self._ready)

    async def ready(self, group: str) -> None:
        """Return when every later message to the group reaches this node."""
        self._until.pop(group, None)
        ready = self._ready.get(group)
        if ready is None:
            ready = self._ready[group] = self._node.run(self._subscribe(group))
        if not ready.done():
            # A caller that gives up must not take the others with it.
            await asyncio.wait([ready])
        if ready.cancelled():
            raise ChannelLayerUnavailable(f"the layer was closed while group {group!r} was joined")
        ready.result()

    def release(self, group: str) -> None:
        """The last local member has left."""
        if group not in self._ready:
            return
        self._until[group] = self._node.loop.time() + self._linger
        if self._timer is None:
            self._timer = self._node.loop.call_later(self._linger, self._give_up_idle)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._until.clear()
        self._ready.clear()

    async def _subscribe(self, group: str) -> None:
        try:
            if (ending := self._ending.get(group)) is not None:
                await asyncio.wait([ending])
            await self._node.attempt(lambda: self._node.connection.subscribe(group))
        except BaseException:
            self._ready.pop(group, None)
            raise

    def _give_up_idle(self) -> None:
        self._timer = None
        now = self._node.loop.time()
        while self._until:
            group, until = next(iter(self._until.items()))
            if until > now:
                self._timer = self._node.loop.call_at(until, self._give_up_idle)
                return
            del self._until[group]
            ready = self._ready.pop(group, None)
            if ready is not None:
                self._ending[group] = self._node.run(self._unsubscribe(group, ready))

    async def _unsubscribe(self, group: str, ready: asyncio.Task[None]) -> None:
        try:
            if not ready.done():
                await asyncio.wait([ready])
            await self._node.connection.unsubscribe(group)
        except OSError:
            pass  # The group is no longer in Node.groups, so reconnecting leaves it out.
        finally:
            if self._ending.get(group) is asyncio.current_task():
                del self._ending[group]
