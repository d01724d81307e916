"""The event loop that a process keeps for callers who have none, or only one for a moment."""

import asyncio
import atexit
import os
import sys
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from typing import Any, Final, ParamSpec, TypeVar

from fast_channels.exceptions import BlockingCallError, ChannelLayerUnavailable

P = ParamSpec("P")
T = TypeVar("T")

PATIENCE: Final = 5
"""Seconds that a fork, or the end of the process, waits for the loop; it is much faster."""


class _NoThreads(ThreadPoolExecutor):
    """Calls at once, where threads may not be started any more."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        future = Future[T]()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


class _Background:
    """A loop, and a thread that runs it."""

    def __init__(self) -> None:
        # Not what the policy has: this one is known to survive what is done here around forks.
        self.loop = asyncio.SelectorEventLoop()
        self.thread = self._start(None)

    def _start(self, before: threading.Thread | None) -> threading.Thread:
        # A daemon, because others may call until the very end of the process; see stop().
        thread = threading.Thread(
            target=self._run, args=(before,), name="fast_channels.background", daemon=True
        )
        thread.start()
        return thread

    def _run(self, before: threading.Thread | None) -> None:
        if before is not None:
            before.join()
        self.loop.run_forever()

    def pause(self) -> bool:
        """Stop the thread; whatever waits goes on when another one runs the loop."""
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(PATIENCE)
        return not self.thread.is_alive()

    def resume(self) -> None:
        self.thread = self._start(self.thread)

    def end(self) -> None:
        ending = asyncio.run_coroutine_threadsafe(self._finish(), self.loop)
        try:
            ending.result(PATIENCE)
        except TimeoutError:
            pass
        if self.pause():
            self.loop.close()

    async def _finish(self) -> None:
        # Nodes stop with the asynchronous generators, while their tasks still run: so they can
        # take leave of the broker, over new connections. The loop looks for the broker's address
        # in a thread, and none may be started now.
        self.loop.set_default_executor(_NoThreads(1))
        await self.loop.shutdown_asyncgens()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class _Call:
    """A coroutine on its way through the loop, and a lock that is released at its end.

    A third faster than a future of ``concurrent.futures``.
    """

    def __init__(self, work: Coroutine[Any, Any, None]) -> None:
        self._work = work
        self._task: asyncio.Task[None] | None = None
        self.error: BaseException | None = None
        self.running = threading.Lock()
        self.running.acquire()

    def begin(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._work)
        self._task.add_done_callback(self._end)

    def _end(self, task: asyncio.Task[None]) -> None:
        if task.cancelled():
            self.error = ChannelLayerUnavailable("the process is ending")
        else:
            self.error = task.exception()
        self.running.release()

    def cancel(self) -> None:
        if self._task is None:
            self._work.close()
        else:
            self._task.cancel()


_background: _Background | None = None
_lock = threading.RLock()


def call(method: Callable[..., Coroutine[Any, Any, None]], *arguments: object) -> None:
    """Run a coroutine method on the loop while the calling thread waits."""
    if _would_block_a_loop():
        raise BlockingCallError(method.__name__)
    loop = _loop()
    this = _Call(method(*arguments))
    try:
        loop.call_soon_threadsafe(this.begin)
        this.running.acquire()
    except BaseException:
        # A KeyboardInterrupt or a job's time limit, at any point.
        loop.call_soon_threadsafe(this.cancel)
        raise
    error = this.error
    if error is not None:
        try:
            raise error
        finally:
            del this, error  # Its traceback leads here, and must not lead back to it.


def _would_block_a_loop() -> bool:
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return False
    if _background is None or loop is not _background.loop:
        return True
    # With gevent all "threads" are one to asyncio, and see the loop of any of them.
    return threading.current_thread() is _background.thread


async def hand_over(work: Coroutine[Any, Any, None]) -> None:
    """Await a coroutine that runs on the loop."""
    await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, _loop()))


def is_made_for_one_call(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether asgiref's ``async_to_sync`` made this loop, and closes it when the call returns."""
    asgiref = sys.modules.get("asgiref.sync")
    return asgiref is not None and loop in asgiref.AsyncToSync.loop_thread_executors


def stop() -> None:
    """Give back everything that was opened on the loop. The next call starts another one."""
    global _background
    with _lock:
        background, _background = _background, None
        if background is not None:
            background.end()


def _loop() -> asyncio.AbstractEventLoop:
    global _background
    if _background is None:
        with _lock:
            if _background is None:
                _watch_forks()
                # By then all threads but daemons have ended, and with them their calls.
                atexit.unregister(stop)
                atexit.register(stop)
                _background = _Background()
    return _background.loop


@cache
def _watch_forks() -> None:
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(
            before=_before_fork, after_in_parent=_after_in_parent, after_in_child=_after_in_child
        )


def _before_fork() -> None:
    # A thread that ran on would leave the child whatever locks it has just then, and would be
    # reason for Python's warning against forking a process that has threads.
    _lock.acquire()
    if _background is not None and threading.current_thread() is not _background.thread:
        _background.pause()


def _after_in_parent() -> None:
    if _background is not None and threading.current_thread() is not _background.thread:
        _background.resume()
    _lock.release()


def _after_in_child() -> None:
    global _background, _lock
    if _background is not None:
        keep_for_ever(_background)
    _background, _lock = None, threading.RLock()


def keep_for_ever(inherited: object) -> None:
    """Let nothing finalise an object of the parent process, not even the end of this one.

    A loop's descriptor for epoll is the parent's, too: to close a transport here, or only to
    let it be collected, would make the parent deaf.
    """
    import ctypes

    ctypes.pythonapi.Py_IncRef(ctypes.py_object(inherited))
