"""Handlers that run beside the dispatch loop: places, order by key, and their end."""

import asyncio
import contextvars
import functools
import inspect
from collections import deque
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, Final, NamedTuple, TypeVar, cast, overload

from fast_channels.consumer._connection import READ_AHEAD, Connection
from fast_channels.types import Event

Handler = TypeVar("Handler", bound=Callable[..., Awaitable[None]])

LIMIT: Final = 10
"""How many calls of a handler run at a time, unless it says otherwise."""

_IN_ORDER: Final = frozenset(
    {"connect", "disconnect", "dispatch", "handle", "on_drain", "on_error"}
)
"""Methods whose caller goes by what they have done when they return."""


@overload
def concurrent(method: Handler, /) -> Handler: ...
@overload
def concurrent(
    *, limit: int = LIMIT, key: Callable[[Any], Hashable] | None = None
) -> Callable[[Handler], Handler]: ...
@overload
def concurrent(  # type: ignore[overload-cannot-match]  # it can: pyright types lambdas by the former
    *, limit: int = LIMIT, key: Callable[..., Hashable]
) -> Callable[[Handler], Handler]: ...
def concurrent(
    method: Callable[..., Awaitable[None]] | None = None,
    /,
    *,
    limit: int = LIMIT,
    key: Callable[..., Hashable] | None = None,
) -> Callable[..., Any]:
    """Let up to ``limit`` calls of a handler run at once in a connection; by default 10.

    ::

        class Rooms(AsyncJsonWebsocketConsumer):
            @concurrent(limit=4, key=lambda content: content["room"])
            async def receive_json(self, content: Any, /) -> None: ...

            @concurrent
            async def chat_message(self, event: Event) -> None: ...

    For handlers of frames (``receive``, ``receive_json``) and of events from a layer. When the
    connection gives an event to such a handler, the handler runs in a task of its own and the
    next event is taken at once. If ``limit`` calls of it run, the next event waits until one has
    ended; when 32 events of the client wait behind it, so does the client, by the server's flow
    control. The limit is that of one handler in one connection.

    ``key`` is called with the arguments of the handler, without ``self``. Calls of equal keys run
    one after another, in the order of their events; calls of different keys run side by side. A
    call that waits for its key takes no place from others; at most ``limit`` calls wait so.
    Without a key any order is possible.

    A task begins with the context variables of the moment, and changes a copy. What the handler
    raises goes to ``on_error`` with its event; :class:`StopConsumer` ends the consumer. When the
    connection ends, in whatever way, calls that wait are dropped, and those that run are
    cancelled and awaited before the channel is closed and ``disconnect`` runs, without regard to
    ``cancel_on_disconnect``; that the client leaves is noticed while no more than 32 of its events
    wait. A call that ended the connection itself, by ``close()`` for example,
    goes on to its end, as any handler does; so does ``on_error``. Only when the server cancels
    the application are these cancelled, too.

    Called by anybody but the connection (another task, a handler that itself runs concurrently,
    a test without a connection, ``disconnect``), the method simply is awaited.

    Put it above :func:`in_thread` for a plain function. Raises :class:`TypeError` for what is not
    a coroutine method or has to be done in order, such as ``connect``, and for a ``key`` that is
    no function; :class:`ValueError` for a limit below 1. A key that cannot be hashed is an error of
    the handler.
    """
    if isinstance(limit, bool) or not isinstance(limit, int):  # pyright: ignore[reportUnnecessaryIsInstance]  # untyped callers
        raise TypeError(f"limit must be an int, not {limit!r}")
    if limit < 1:
        raise ValueError(f"limit must be at least 1, not {limit}: so many calls run at a time")
    if key is not None and not callable(key):
        raise TypeError(f"key must be a function of the handler's arguments, not {key!r}")

    def decorate(method: Callable[..., Awaitable[None]]) -> Callable[..., Any]:
        _require_handler(method)

        @functools.wraps(method)
        async def handler(consumer: object, /, *args: Any, **kwargs: Any) -> None:
            connection = getattr(consumer, "_connection", None)
            if isinstance(connection, Connection) and connection.is_dispatching():
                crew = connection.crew
                if crew is None:
                    crew = connection.crew = Crew(connection)
                # A key that nothing else equals, unless there are keys.
                of = object() if key is None else _hashable(key(*args, **kwargs), method)
                work = functools.partial(method, consumer, *args, **kwargs)
                await crew.start(handler, limit, of, work)
            else:
                await method(consumer, *args, **kwargs)

        return handler

    return decorate if method is None else decorate(method)


def _require_handler(method: object) -> None:
    name = getattr(method, "__qualname__", repr(method))
    if not inspect.iscoroutinefunction(method):
        raise TypeError(
            f"@concurrent is for coroutine methods, not for {name}: declare it with 'async def', "
            "or put @in_thread between the two"
        )
    if method.__name__ in _IN_ORDER:
        raise TypeError(
            f"{name} cannot be @concurrent, because what comes next relies on its end: use it for "
            "handlers of frames and of events"
        )


def _hashable(key: Hashable, method: Callable[..., object]) -> Hashable:
    try:
        hash(key)
    except TypeError as error:
        raise TypeError(
            f"the key of {method.__qualname__} is a {type(key).__name__} that cannot be hashed: "
            "let it be a str, for example"
        ) from error
    return key


class _Call(NamedTuple):
    work: Callable[[], Awaitable[None]]
    event: Event
    context: contextvars.Context


class _Places:
    """The places of one handler, and the calls that wait for their key."""

    __slots__ = ("limit", "queues", "running", "waiting")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.running = 0
        self.waiting = 0
        # By key: what comes after the call that runs. Other keys are not there.
        self.queues: dict[Hashable, deque[_Call]] = {}


class Crew:
    """The tasks of one connection's concurrent handlers.

    A task is cancelled when the connection has ended, unless it is spared: it ended the
    connection itself, or its handler has failed and on_error runs.
    """

    __slots__ = ("_change", "_connection", "_places", "_spared", "tasks")

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._places: dict[object, _Places] = {}
        self.tasks: set[asyncio.Task[None]] = set()
        """The calls that run; others wait for their key only behind one of these."""
        self._spared: set[asyncio.Task[None]] = set()
        # The dispatch loop, and nobody else, waits for a place.
        self._change: asyncio.Future[None] | None = None
        # While that waits, too, the client's leaving is to be noticed.
        connection.channel.mailbox.ahead = READ_AHEAD

    async def start(
        self, handler: object, limit: int, key: Hashable, work: Callable[[], Awaitable[None]]
    ) -> None:
        """Begin a call, or queue it behind those of its key; waits until one of both can be."""
        places = self._places.get(handler)
        if places is None:
            places = self._places[handler] = _Places(limit)
        call = _Call(work, self._connection.event, contextvars.copy_context())
        while self._connection.ending is None:
            queue = places.queues.get(key)
            if queue is None and places.running < limit:
                places.running += 1
                places.queues[key] = deque()
                self._begin(places, key, call)
                return
            if queue is not None and places.waiting < limit:
                places.waiting += 1
                queue.append(call)
                return
            await self._changed()

    def _begin(self, places: _Places, key: Hashable, call: _Call) -> None:
        task = self._connection.loop.create_task(self._run(call), context=call.context)
        self.tasks.add(task)
        task.add_done_callback(functools.partial(self._ended, places, key))

    async def _run(self, call: _Call) -> None:
        task = cast("asyncio.Task[None]", asyncio.current_task())
        # Of asyncio's eager tasks the first step runs before create_task() returns.
        self.tasks.add(task)
        _running.set(task)
        try:
            await call.work()
        except (Exception, asyncio.CancelledError) as error:
            self._spare_this()
            await self._connection.failed(error, call.event)

    def _ended(self, places: _Places, key: Hashable, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        self._spared.discard(task)
        if (queue := places.queues[key]) and self._connection.ending is None:
            places.waiting -= 1
            self._begin(places, key, queue.popleft())
        else:
            del places.queues[key]
            places.running -= 1
        self._wake()

    def connection_ended(self) -> None:
        """Nothing is started from now on; whoever ended the connection may go on."""
        self._spare_this()
        self._wake()

    async def finish(self) -> None:
        """Wait until no call runs, nor waits for its key, or until the connection has ended."""
        while self.tasks and self._connection.ending is None:
            await self._changed()

    def runs(self, task: asyncio.Task[object] | None) -> bool:
        """Whether the task is a call."""
        return task in self.tasks

    async def stop(self, *, spare: bool) -> None:
        """Cancel the tasks, and wait for all of them.

        ``spare``: not those that may go on; then the wait may be cancelled, and be resumed without.
        """
        for task in self.tasks - self._spared if spare else self.tasks:
            task.cancel()
        while self.tasks:
            try:
                await asyncio.wait(self.tasks)
            except asyncio.CancelledError:
                if spare:
                    raise

    def _spare_this(self) -> None:
        task = _running.get()
        if task in self.tasks:
            self._spared.add(task)

    async def _changed(self) -> None:
        """Wait for the end of a call or of the connection."""
        self._change = self._connection.loop.create_future()
        try:
            await self._change
        finally:
            self._change = None

    def _wake(self) -> None:
        if self._change is not None and not self._change.done():
            self._change.set_result(None)


_running: Final = contextvars.ContextVar[asyncio.Task[None] | None](
    "fast_channels.concurrent", default=None
)
"""The task of the call that this context belongs to, also in a thread or a task of its own."""
