"""Telling a client of the end, for so long and no longer."""

import asyncio
from collections.abc import Coroutine
from contextvars import Context
from typing import Any, Final

INSISTENCE: Final = 0.1
"""Seconds between attempts to cancel a goodbye. uvicorn's `websockets` keeps the first one to
itself and goes on waiting for the client, for ten seconds."""


class Goodbye:
    """A task of its own, because some servers wait for the client's answer, for many seconds if it
    is silent, and neither a handler nor the disconnect hook should."""

    __slots__ = ("_loop", "_task", "_timer")

    def __init__(
        self,
        saying: Coroutine[Any, Any, None],
        loop: asyncio.AbstractEventLoop,
        context: Context,
        timeout: float,
    ) -> None:
        """``timeout``: seconds after which it is cancelled."""
        self._loop = loop
        self._timer = loop.call_later(timeout, self.give_up)
        self._task = loop.create_task(saying, context=context)
        self._task.add_done_callback(self._said)

    def _said(self, _task: asyncio.Task[None]) -> None:
        self._timer.cancel()

    def give_up(self) -> None:
        """Cancel it, and insist."""
        self._timer.cancel()
        if not self._task.done():
            self._task.cancel()
            self._timer = self._loop.call_later(INSISTENCE, self.give_up)

    async def begun(self) -> None:
        """Let it take its first step, which is all of it on most servers."""
        if not self._task.done():
            await asyncio.sleep(0)

    async def ended(self) -> None:
        """Wait until it was said or given up."""
        await asyncio.wait([self._task])
