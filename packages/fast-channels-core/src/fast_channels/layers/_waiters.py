"""Calls that wait for what a broker sends."""

import asyncio
from collections import deque
from collections.abc import Callable, Generator, Hashable
from contextlib import contextmanager
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Waiters(Generic[K, V]):
    """Calls that wait for what a broker sends, under a key: the number of a command that is to be
    answered, the name of a general channel.

    A value goes to one call only, of those with its key to the one that has waited longest, and
    never to one that is cancelled: not even if it has yet to notice. All on one event loop.
    """

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: dict[K, deque[asyncio.Future[V]]] = {}

    def count(self, key: K) -> int:
        """How many calls wait under the key."""
        return len(self._waiting.get(key, ()))

    @contextmanager
    def wait(
        self, key: K, give_back: Callable[[V], object] | None = None
    ) -> Generator[asyncio.Future[V]]:
        """The future of a value, from now until the block ends: ask the broker inside of it.

        ``give_back`` is called with a value that has come and that the block, being cancelled or
        failing, has not made use of.
        """
        waiter: asyncio.Future[V] = asyncio.get_running_loop().create_future()
        waiting = self._waiting.setdefault(key, deque())
        waiting.append(waiter)
        try:
            yield waiter
        except BaseException:
            has_result = waiter.done() and not waiter.cancelled() and waiter.exception() is None
            if has_result and give_back is not None:
                give_back(waiter.result())
            raise
        finally:
            if waiter in waiting:
                waiting.remove(waiter)
            if not waiting and self._waiting.get(key) is waiting:
                del self._waiting[key]

    def give(self, key: K, value: V) -> bool:
        """Hand a value to a call; False if none waits for it (any more)."""
        waiting = self._waiting.get(key, ())
        while waiting:
            waiter = waiting.popleft()
            if not waiter.done():
                waiter.set_result(value)
                return True
        return False

    def fail(self, reason: str) -> None:
        """The connection broke: raise :class:`ConnectionError` in every call."""
        for waiting in self._waiting.values():
            for waiter in waiting:
                if not waiter.done():
                    waiter.set_exception(ConnectionError(reason))
                    waiter.exception()  # Its call may end without asking for it.
