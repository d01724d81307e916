"""Which groups the broker is to send to a node, following what members come and go."""

import asyncio
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fast_channels.layers._node import Node


class Subscriptions:
    """Subscribes a group at its first local member, unsubscribes some time after the last.

    The pause (``linger``, seconds) makes a member that leaves and comes back, or a stream of
    short visits, cost the broker nothing. One task at a time talks to the broker about a group,
    for ``patience`` seconds at most, so what is wanted now never overtakes what was wanted before.
    """

    def __init__(self, node: "Node", *, linger: float, patience: float) -> None:
        self._node = node
        self._linger = linger
        self._patience = patience
        # What the broker may be sending; True once it has confirmed that it does.
        self._confirmed: dict[str, bool] = {}
        self._talks: dict[str, asyncio.Task[None]] = {}
        # When to give up a group without members, on the loop's clock; in that order.
        self._until: dict[str, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    @property
    def names(self) -> list[str]:
        return [group for group in self._confirmed if self._is_wanted(group)]

    def hold(self, group: str) -> bool:
        """Keep a group, which has a member; whether every later message to it arrives already."""
        self._until.pop(group, None)
        return self._confirmed.setdefault(group, False)

    def is_confirmed(self, group: str) -> bool:
        return self._confirmed.get(group, False)

    async def confirm(self, group: str) -> None:
        """Return when every later message to a held group arrives, or its members have left.

        Asks the broker once, together with everybody else who waits for that, and raises what
        its connection raises.
        """
        while group in self._node.table.groups and not self.is_confirmed(group):
            talk = self._talks.get(group)
            if talk is None or talk.done():
                talk = self._talk(group, self._subscribe(group))
            await self._node.outcome(talk)

    def release(self, group: str) -> None:
        """The last local member has left."""
        if group not in self._confirmed:
            return
        self._until[group] = self._node.loop.time() + self._linger
        if self._timer is None:
            self._timer = self._node.loop.call_later(self._linger, self._give_up_idle)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._until.clear()
        self._confirmed.clear()

    def _is_wanted(self, group: str) -> bool:
        return group in self._node.table.groups or group in self._until

    def _give_up_idle(self) -> None:
        self._timer = None
        now = self._node.loop.time()
        while self._until:
            group, until = next(iter(self._until.items()))
            if until > now:
                self._timer = self._node.loop.call_at(until, self._give_up_idle)
                return
            del self._until[group]
            self._give_up(group)

    def _give_up(self, group: str) -> None:
        """Unsubscribe a group if nobody wants it; whoever talks about it now looks again later."""
        talk = self._talks.get(group)
        if group in self._confirmed and not self._is_wanted(group) and (not talk or talk.done()):
            self._confirmed[group] = False
            self._talk(group, self._unsubscribe(group))

    def _talk(self, group: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        talk = self._talks[group] = self._node.share(work)

        def forget(_: asyncio.Task[None]) -> None:
            if self._talks.get(group) is talk:
                del self._talks[group]

        talk.add_done_callback(forget)
        return talk

    async def _subscribe(self, group: str) -> None:
        try:
            async with asyncio.timeout(self._patience):
                await self._node.connection.subscribe(group)
            self._confirmed[group] = True
        finally:
            self._node.loop.call_soon(self._give_up, group)

    async def _unsubscribe(self, group: str) -> None:
        try:
            async with asyncio.timeout(self._patience):
                await self._node.connection.unsubscribe(group)
        except self._node.away:
            # Not urgent: what comes for the group is dropped, and Node.groups leaves it out.
            self._node.loop.call_later(self._patience, self._give_up, group)
        else:
            if not self._is_wanted(group):
                self._confirmed.pop(group, None)
