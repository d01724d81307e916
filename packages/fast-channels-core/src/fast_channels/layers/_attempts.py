"""Calls that are made again while a broker is away: for so long, and no longer."""

import asyncio
import math
import random
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar, cast

from fast_channels.exceptions import ChannelLayerRefused, ChannelLayerUnavailable

T = TypeVar("T")

FIRST_RETRY: Final = 0.01
LAST_RETRY: Final = 0.25
"""Seconds between attempts to reach a broker that is away, doubling."""


def jittered(pause: float) -> float:
    """Somewhat less than ``pause``, so that many who wait do not all come back at once."""
    return pause * random.uniform(0.5, 1)  # noqa: S311  # nothing secret about it


def closed() -> ChannelLayerUnavailable:
    """For those whose layer was closed meanwhile."""
    return ChannelLayerUnavailable("the layer was closed while it was being used")


class _Call:
    """A call that is under way; ``deadline`` is on the loop's clock."""

    __slots__ = ("cancelling", "deadline", "is_over", "task")

    def __init__(self, deadline: float) -> None:
        # There is one: whoever awaits runs in a task.
        self.task = cast("asyncio.Task[object]", asyncio.current_task())
        self.cancelling = self.task.cancelling()
        self.deadline = deadline
        self.is_over = False

    def end(self) -> None:
        self.is_over = True
        self.task.cancel()


class Attempts:
    """All calls of one node that need the broker.

    They have the same patience, so they run out of it in the order of their beginning, and one
    timer is enough for all. A timer for each, as ``asyncio.timeout`` has it, takes a third of the
    time of a send.
    """

    def __init__(self, patience: float, away: tuple[type[Exception], ...] = (OSError,)) -> None:
        """``patience``: seconds. ``away``: the errors after which an operation is tried again."""
        self._patience = patience
        self._away = away
        self._loop = asyncio.get_running_loop()
        self._calls: dict[_Call, None] = {}
        self._calls_for_ever: dict[_Call, None] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._stopped = False

    async def run(self, operation: Callable[[], Awaitable[T]], *, for_ever: bool = False) -> T:
        """What the operation returns; :class:`ChannelLayerUnavailable` in the end, and at once
        when everything stops."""
        calls = self._calls_for_ever if for_ever else self._calls
        call = _Call(math.inf if for_ever else self._loop.time() + self._patience)
        calls[call] = None
        if self._timer is None and not for_ever:
            self._timer = self._loop.call_at(call.deadline, self._end_overdue)
        reason: Exception | None = None
        pause = FIRST_RETRY
        try:
            while not self._stopped:
                try:
                    return await operation()
                except self._away as error:
                    if isinstance(error, ChannelLayerRefused):
                        raise
                    if isinstance(error, ChannelLayerUnavailable) and not for_ever:
                        raise
                    reason = error
                await asyncio.sleep(jittered(pause))
                pause = min(pause * 2, LAST_RETRY)
        except asyncio.CancelledError:
            if not call.is_over:
                raise
            call.is_over = False
            if call.task.uncancel() > call.cancelling:
                raise  # Somebody else cancelled it, too.
        finally:
            calls.pop(call, None)
            if call.is_over:
                call.task.uncancel()
        if self._stopped:
            raise closed()
        why = f": {str(reason) or type(reason).__name__}" if reason is not None else ""
        raise ChannelLayerUnavailable(
            f"the broker could not be reached within {self._patience:g} s{why}"
        ) from reason

    def stop(self) -> None:
        """End all calls, and every one that begins."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for calls in (self._calls, self._calls_for_ever):
            for call in calls:
                if not call.is_over:
                    call.end()

    def _end_overdue(self) -> None:
        self._timer = None
        now = self._loop.time()
        while self._calls:
            call = next(iter(self._calls))
            if call.deadline > now:
                self._timer = self._loop.call_at(call.deadline, self._end_overdue)
                return
            del self._calls[call]
            call.end()
