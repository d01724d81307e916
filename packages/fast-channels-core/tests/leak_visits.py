"""A connection that ends in a certain way, and its cancellation at any await of all its tasks.

The server's task and every task that is begun in its context are counted as one: the n-th time
that one of them gives way to the event loop is a place, and what happens up to there is the
same in every run. So "cancelled at every await" is a number to count up, until the connection
ends without having come so far.
"""

import asyncio
from collections.abc import Callable, Coroutine, Generator, Sequence
from contextlib import contextmanager
from contextvars import Context, ContextVar, copy_context
from dataclasses import dataclass, field
from typing import Any
from weakref import ReferenceType, WeakSet, ref

from fast_channels.consumer import AsyncConsumer
from fast_channels.types import ASGIApp, Event

# Weak, because the event loop keeps the context of a timer that was cancelled until its time.
_visit: ContextVar[ReferenceType["Visit"]] = ContextVar("visit")


class PlannedError(Exception):
    """What the consumers raise."""


@dataclass(eq=False)
class Case:
    """What a client does, step by step, and what its consumer may do about it."""

    title: str
    consumer: type[AsyncConsumer]
    steps: Sequence[Event | str] = ()
    """Events for the consumer, or the name of something to wait for: see :meth:`Visit.reach`.
    After the last one the client leaves."""
    raised: type[BaseException] | None = None
    """What reaches the server, though nobody cancelled."""
    logs: tuple[str, ...] = ()
    """What a line that is to be logged has one of."""
    reads: bool = True
    """Whether the client does; otherwise the server is still busy with the first frame when the
    client leaves, and waits for its answer to a close frame."""
    scope: Event = field(default_factory=lambda: {"type": "websocket"})
    wrap: Callable[[ASGIApp], ASGIApp] = lambda app: app
    """Middleware around the consumer."""

    def __post_init__(self) -> None:
        self.app = self.wrap(self.consumer.as_asgi())


@dataclass(frozen=True)
class Cut:
    """Where the server's task is cancelled."""

    at: int
    """At which of the connection's awaits, counted from 1."""
    late: bool = False
    """When what is awaited there has come, just before the awaiting task learns it."""


class Visit:
    """One connection, from both sides."""

    def __init__(self, case: Case, cut: Cut | None = None) -> None:
        self.case = case
        self.awaits = 0
        """How often the connection's tasks have given way so far."""
        self.cancelled = False
        """Whether the cut was reached."""
        self.begun = self.disconnects = 0
        """How often the consumer's first handler and its ``disconnect`` were called."""
        self.problems: list[str] = []
        self._cut = cut
        self._steps = iter(case.steps)
        self._reached: set[str] = set()
        self._waiters: list[asyncio.Future[None]] = []
        self._tasks = WeakSet[asyncio.Task[Any]]()
        self._server_task: asyncio.Task[None] | None = None

    # What a consumer calls.

    def reach(self, name: str) -> None:
        """Something has happened that somebody may wait for."""
        self._reached.add(name)
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def until(self, *names: str) -> None:
        """Return when one of them has happened."""
        while self._reached.isdisjoint(names):
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            finally:
                self._waiters.remove(waiter)

    # The server.

    async def run(self) -> None:
        """Serve the connection and write down what is wrong with its end."""
        context = copy_context()
        context.run(_visit.set, ref(self))
        task = asyncio.get_running_loop().create_task(self._serve(), context=context)
        self._server_task = task
        await asyncio.wait([task])
        outcome = asyncio.CancelledError if task.cancelled() else type(task.exception())
        expected = self.case.raised or type(None)
        if self.cancelled:
            expected = asyncio.CancelledError
        if not issubclass(outcome, expected):
            self.problems.append(f"ended with {outcome.__name__}, not {expected.__name__}")
        # Who was cancelled before the first handler may never have had one.
        if self.disconnects != 1 and (self.begun or not self.cancelled):
            self.problems.append(f"{self.disconnects} calls of disconnect()")
        for left in self._tasks:
            if not left.done():
                self.problems.append(f"left {left.get_coro()!r} running")

    async def _serve(self) -> None:
        scope: Event = {"path": "/", "headers": [], "visit": self, **self.case.scope}
        await self.case.app(scope, self._receive, self._send)

    async def _receive(self) -> Event:
        await asyncio.sleep(0)
        if "closed" in self._reached:
            return self._leave()
        step = next(self._steps, None)
        while isinstance(step, str):
            if step == "reset":
                raise ConnectionResetError
            await self.until(step, "closed")
            step = None if "closed" in self._reached else next(self._steps, None)
        return self._leave() if step is None else step

    def _leave(self) -> Event:
        self.reach("left")
        return {"type": f"{self.case.scope['type']}.disconnect", "code": 1001}

    async def _send(self, event: Any) -> None:
        await asyncio.sleep(0)
        kind = event["type"].rpartition(".")[2]
        if "left" in self._reached and kind != "close":
            raise ConnectionResetError("the client has gone")  # as uvicorn does
        if kind == "send" and not self.case.reads:
            await self.until("left", "closed")
        if kind == "close" and not self.case.reads:
            for _ in range(20):  # while the client does not answer
                await asyncio.sleep(0)
        if kind == "close" or (kind == "body" and not event.get("more_body")):
            self.reach("closed")
        self.reach(event.get("text") or kind)

    # What is counted.

    @property
    def is_served(self) -> bool:
        """Whether the server has a task for it: all others are the connection's own."""
        return self._server_task is not None

    def started(self, task: asyncio.Task[Any]) -> None:
        if self.is_served:
            self._tasks.add(task)

    def awaited(self, waited_for: Any) -> None:
        """One of the tasks has given way, until the future is done that it waits for."""
        self.awaits += 1
        if self._cut is None or self.awaits != self._cut.at:
            return
        if self._cut.late and asyncio.isfuture(waited_for):
            waited_for.add_done_callback(self._cancel)
        else:
            self._cancel()

    def _cancel(self, _: object = None) -> None:
        if self._server_task is not None:
            self.cancelled = self._server_task.cancel()


class _Watched(Coroutine[Any, Any, Any]):
    """A coroutine that tells the visit of every time that it gives way."""

    def __init__(self, watched: Any, visit: Visit) -> None:
        self._watched = watched
        self._visit = visit

    def send(self, value: Any, /) -> Any:
        result = self._watched.send(value)
        self._visit.awaited(result)
        return result

    def throw(self, *error: Any) -> Any:
        result = self._watched.throw(*error)
        self._visit.awaited(result)
        return result

    def close(self) -> None:
        self._watched.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        raise NotImplementedError("only tasks run it")


@contextmanager
def watched_tasks(*, eager: bool = False) -> Generator[None]:
    """Let visits know of their tasks and awaits. ``eager``: what their connections start takes
    its first step at once, as with asyncio.eager_task_factory of Python 3.12."""
    loop = asyncio.get_running_loop()
    before = loop.get_task_factory()

    def make(
        loop: asyncio.AbstractEventLoop,
        coroutine: Any,
        *,
        context: Context | None = None,
        **options: Any,
    ) -> asyncio.Task[Any]:
        context = copy_context() if context is None else context
        found = context.get(_visit)
        if found is None or (visit := found()) is None:
            return asyncio.Task(coroutine, loop=loop, context=context, **options)
        if eager and visit.is_served:
            options["eager_start"] = True
        task = asyncio.Task(_Watched(coroutine, visit), loop=loop, context=context, **options)
        visit.started(task)
        return task

    loop.set_task_factory(make)
    try:
        yield
    finally:
        loop.set_task_factory(before)
