"""Runs the first step of an awaitable now, on behalf of a task that waits.

Writing a frame to a socket rarely has to wait. Waking a task for it costs as much as a fifth of
the write, so a broadcast takes that step at once, as the member's task would: with the task
current, and in its context. What does have to wait is left for the task to finish.
"""

import asyncio

# Public in spite of the names: "Extending asyncio" documents them for task implementations.
from asyncio import (
    _enter_task,  # pyright: ignore[reportPrivateUsage]
    _leave_task,  # pyright: ignore[reportPrivateUsage]
)
from collections.abc import Awaitable, Generator
from contextvars import Context
from typing import Any


class Started:
    """The rest of an awaitable whose first step ran; to be awaited once, by the task."""

    __slots__ = ("_iterator", "_yielded")

    def __init__(self, iterator: Generator[Any, None, None], yielded: Any) -> None:
        self._iterator = iterator
        self._yielded = yielded

    def __await__(self) -> Generator[Any, None, None]:
        iterator, yielded = self._iterator, self._yielded
        if yielded is not None:
            # The loop's sign that this future is awaited; another awaiter may have reset it.
            yielded._asyncio_future_blocking = True
        while True:
            try:
                try:
                    yield yielded
                except BaseException as error:
                    yielded = iterator.throw(error)
                else:
                    yielded = next(iterator)
            except StopIteration:
                return

    def close(self) -> None:
        """Give up the rest."""
        self._iterator.close()


def start(
    awaitable: Awaitable[None],
    task: asyncio.Task[None],
    context: Context,
    loop: asyncio.AbstractEventLoop,
) -> Started | None:
    """Take the first step as ``task``, which must be waiting; None when that was all.

    Raises what the step raises.
    """
    iterator = awaitable.__await__()
    current = asyncio.current_task(loop)
    if current is not None:
        _leave_task(loop, current)
    _enter_task(loop, task)
    try:
        yielded = context.run(next, iterator)
    except StopIteration:
        return None
    finally:
        _leave_task(loop, task)
        if current is not None:
            _enter_task(loop, current)
    return Started(iterator, yielded)
