"""Timeouts by the ten thousand: one wheel for each event loop, which has one timer of the loop.

A timer of the loop is exact, and kept in a heap until its time even if it is cancelled. Timeouts of
connections need not be exact, and next to none of them ever comes true. So whatever is due within
the same tenth of a second shares a slot of the wheel, where setting and cancelling cost the same
however many there are, and the loop calls at the time of the next slot that is in use.
"""

import asyncio
import math
from collections.abc import Callable
from contextvars import Context
from heapq import heappop, heappush
from typing import Final
from weakref import WeakValueDictionary

RESOLUTION: Final = 0.1
"""Seconds from slot to slot: how much later than asked a callback may be called."""

AT_ONCE: Final = 50
"""Callbacks in a row. If more are due, the loop looks at its sockets in between."""


class WheelEntry:
    """A callback that is going to be called, unless it is cancelled."""

    __slots__ = ("_slot", "_wheel", "callback")

    def __init__(self, wheel: "Wheel", slot: int, callback: Callable[[], object]) -> None:
        self._wheel = wheel
        self._slot = slot
        self.callback: Callable[[], object] = callback

    def cancel(self) -> None:
        """Forget the callback. Does nothing if it was called or cancelled before."""
        self._wheel.remove(self, self._slot)


class Wheel:
    """The timeouts of one event loop, to be used in its thread alone."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._slots: dict[int, dict[WheelEntry, None]] = {}
        self._order: list[int] = []
        """The keys of ``_slots``, a heap."""
        self._entries = 0
        self._timer: asyncio.TimerHandle | None = None
        self._timer_slot = 0

    def call_later(self, delay: float, callback: Callable[[], object]) -> WheelEntry:
        """Call ``callback()`` once, ``delay`` seconds from now or up to 0.1 s later.

        Callbacks that are due at the same time are called in any order. Each is called in an
        empty context and must not block. What it raises goes to the loop's exception handler.
        """
        slot = math.ceil((self._loop.time() + delay) / RESOLUTION)
        entry = WheelEntry(self, slot, callback)
        entries = self._slots.get(slot)
        if entries is None:
            entries = self._slots[slot] = {}
            heappush(self._order, slot)
        entries[entry] = None
        self._entries += 1
        if self._timer is None or slot < self._timer_slot:
            self._set_timer()
        return entry

    def remove(self, entry: WheelEntry, slot: int) -> None:
        """What :meth:`WheelEntry.cancel` does."""
        entries = self._slots.get(slot)
        if entries is None or entry not in entries:
            return
        del entries[entry]
        self._entries -= 1
        if self._entries == 0:
            self._slots.clear()
            self._order.clear()
            self._set_timer()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._entries:
            # Not in the context of whoever happens to be the first.
            self._timer_slot = self._order[0]
            self._timer = self._loop.call_at(
                self._timer_slot * RESOLUTION, self._turn, context=Context()
            )

    def _turn(self) -> None:
        # By rounding, a loop may call a little early.
        reached = max(self._timer_slot, int(self._loop.time() / RESOLUTION))
        try:
            for _ in range(AT_ONCE):
                entry = self._take_due(reached)
                if entry is None:
                    break
                try:
                    entry.callback()
                except Exception as error:
                    self._loop.call_exception_handler(
                        {
                            "message": f"a callback of the timer wheel failed: {entry.callback!r}",
                            "exception": error,
                        }
                    )
        finally:
            # If more is due already, this means as soon as the loop has looked at its sockets.
            self._set_timer()

    def _take_due(self, reached: int) -> WheelEntry | None:
        while self._order and self._order[0] <= reached:
            entries = self._slots[self._order[0]]
            if entries:
                self._entries -= 1
                return entries.popitem()[0]
            del self._slots[heappop(self._order)]
        return None


# By the loop's id, which is its own as long as the wheel lasts, because that holds the loop. The
# wheel lasts as long as it has an entry: the loop's timer holds it, and an entry does.
_wheels: Final = WeakValueDictionary[int, Wheel]()


def wheel_of_loop() -> Wheel:
    """The wheel of the running event loop. It lasts while it has something to call."""
    loop = asyncio.get_running_loop()
    wheel = _wheels.get(id(loop))
    if wheel is None:
        wheel = _wheels[id(loop)] = Wheel(loop)
    return wheel
