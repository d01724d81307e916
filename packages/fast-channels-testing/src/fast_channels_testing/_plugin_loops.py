"""The event loops that a test runs, and the tasks that are new in them.

pytest-asyncio, anyio, unittest and ``asyncio.run`` all run their loops by :class:`asyncio.Runner`,
and its ``close`` cancels what is left without a word. So for the time of a test that is where one
has to look, just before.
"""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any, TypeVar
from weakref import WeakSet

from fast_channels_testing._patches import Patches
from fast_channels_testing._running_loop import running_loop

T = TypeVar("T")
Task = asyncio.Task[Any]
Loop = asyncio.AbstractEventLoop


class LoopScope:
    """Notes the loops that run in this thread, and the tasks that each had before."""

    def __init__(self, close: Callable[[Loop, Callable[[], None]], None]) -> None:
        """``close`` is given each loop that is about to close, and what closes it."""
        self._thread = threading.get_ident()
        self._loops: dict[asyncio.Runner, Loop] = {}
        self._before: dict[Loop, WeakSet[Task]] = {}
        self._close = close
        self._patches = Patches()

    def watch(self) -> None:
        loops, get_loop, run, close = (
            self._loops,
            asyncio.Runner.get_loop,
            asyncio.Runner.run,
            asyncio.Runner.close,
        )

        def noted_loop(runner: asyncio.Runner) -> Loop:
            loop = get_loop(runner)
            if loop not in self._before and threading.get_ident() == self._thread:
                loops[runner] = loop
                # Nothing has run in it since the test began, so these are none of its tasks.
                self._before[loop] = WeakSet(asyncio.all_tasks(loop))
            return loop

        def noted_run(
            runner: asyncio.Runner,
            coro: Coroutine[Any, Any, T],
            *,
            context: Context | None = None,
        ) -> T:
            if running_loop() is None:
                noted_loop(runner)
            return run(runner, coro, context=context)

        def noted_close(runner: asyncio.Runner) -> None:
            loop = loops.pop(runner, None)
            if loop is None or loop.is_closed() or running_loop() is not None:
                close(runner)
                return
            try:
                self._close(loop, lambda: close(runner))
            finally:
                del self._before[loop]

        self._patches.set(asyncio.Runner, "get_loop", noted_loop)
        self._patches.set(asyncio.Runner, "run", noted_run)
        self._patches.set(asyncio.Runner, "close", noted_close)

    def stop(self) -> None:
        self._patches.undo()

    def open(self) -> list[Loop]:
        """The loops that this thread could run now."""
        if running_loop() is not None:
            return []
        return [each for each in self._before if not each.is_closed()]

    def new_tasks(self, loop: Loop) -> list[Task]:
        """The tasks that were begun since the test began, and have not ended."""
        before = self._before[loop]
        tasks = [each for each in asyncio.all_tasks(loop) if each not in before]
        return sorted((each for each in tasks if not _is_runners(each)), key=Task.get_name)

    def excuse(self, tasks: set[Task]) -> None:
        """Not this test's: its fixtures of wider scope have begun them."""
        for task in tasks:
            if (before := self._before.get(task.get_loop())) is not None:
                before.add(task)

    def tasks(self) -> set[Task]:
        return {task for loop in self.open() for task in asyncio.all_tasks(loop)}


def wait_a_moment(tasks: list[Task], seconds: float) -> None:
    """Run the loop of the tasks until they have ended, but not for longer than that."""
    loop = tasks[0].get_loop()

    async def wait() -> None:
        over = loop.create_future()
        # By a thread: a test may have stopped the clock of its loop.
        timer = threading.Timer(seconds, loop.call_soon_threadsafe, (over.cancel,))
        timer.start()
        ended = loop.create_task(_ended(tasks))
        try:
            await asyncio.wait([ended, over], return_when=asyncio.FIRST_COMPLETED)
        finally:
            timer.cancel()
            timer.join()
            ended.cancel()
            await asyncio.wait([ended])

    loop.run_until_complete(wait())


async def _ended(tasks: list[Task]) -> None:
    await asyncio.wait(tasks)


def _is_runners(task: Task) -> bool:
    """Whether anyio runs its tests and fixtures in it."""
    frame = getattr(task.get_coro(), "cr_frame", None)
    return (
        frame is not None
        and frame.f_globals.get("__name__", "").startswith("anyio.")
        and (getattr(task.get_coro(), "__qualname__", "").startswith("TestRunner."))
    )
