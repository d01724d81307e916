"""Plain functions as handlers: each call runs in a thread, and the event loop goes on."""

import asyncio
import contextvars
import functools
import inspect
import os
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from types import CoroutineType, FunctionType
from typing import Any, Final, Generic, ParamSpec, TypeVar, cast

from asgiref.sync import sync_to_async

P = ParamSpec("P")
R = TypeVar("R")

THREADS: Final = 64
"""As many plain handlers of a process run at a time; the others wait for a thread."""

_EVENT_NAMES: Final = ("event", "message")


def in_thread(method: Callable[P, R]) -> Callable[P, "CoroutineType[Any, Any, R]"]:
    """Make a coroutine method of a plain one, so that it may block: it runs in a thread.

    ::

        class Report(AsyncJsonWebsocketConsumer):
            @in_thread
            def receive_json(self, content: Any, /) -> None:
                rows = database.query(content["sql"])
                async_to_sync(self.send_json)(rows)

    The consumer waits for the method as for any handler, so the order is kept and two of one
    consumer never run at once (but see :func:`concurrent`); the event loop serves the others
    meanwhile. asgiref's ``async_to_sync`` runs coroutines in the connection's own loop, and
    context variables are those of the caller, both ways.

    Consumer classes do this by themselves for plain functions that override a coroutine method
    of the library, such as ``connect``, and for those that look like the handler of an event
    from a layer: one parameter beside ``self``, called ``event`` or ``message``, and no returned
    value by the annotations. Whoever can send to a group chooses which handler runs, so no other
    plain method is reached by an event unless it says so by this decorator.

    A thread cannot be broken off. Where a coroutine would be cancelled, because the server shuts
    down or by ``cancel_on_disconnect``, a call that waits for its thread is given up, and one
    that runs is waited for: what comes next, such as ``disconnect``, never runs beside it. Only
    a coroutine that it waits for in ``async_to_sync`` is cancelled, and raises
    :class:`asyncio.CancelledError` there. So give whatever blocks a time limit of its own.

    At most 64 calls run at a time in a process, in threads of their own that all consumers share;
    the interpreter's exit waits for those that run. Raises :class:`TypeError` for what is no
    plain function.
    """
    if not inspect.isfunction(method) or _runs_otherwise(method):
        raise TypeError(f"in_thread is for plain functions (def), not for {method!r}")

    @functools.wraps(method)
    async def handler(*args: P.args, **kwargs: P.kwargs) -> R:
        return await _call(functools.partial(method, *args, **kwargs))

    # What pyright knows anyway, and mypy does not.
    return cast(Callable[P, "CoroutineType[Any, Any, R]"], handler)


def adopt_plain_handlers(owner: type, is_ours: Callable[[type], bool]) -> None:
    """Apply :func:`in_thread` to the plain functions of a consumer class that are handlers.

    ``is_ours`` tells the library's classes.
    """
    ours = [base for base in owner.__mro__ if is_ours(base)]
    declared = {name for base in owner.__mro__ if base not in ours for name in vars(base)}
    for name in declared:
        method = inspect.getattr_static(owner, name)
        if name.startswith("_") or not isinstance(method, FunctionType) or _runs_otherwise(method):
            continue
        overrides = any(inspect.iscoroutinefunction(vars(base).get(name)) for base in ours)
        if overrides or _takes_an_event(method):
            # Where it was inherited from, a class that is no consumer keeps it as it is.
            setattr(owner, name, _adopt(method))


def _adopt(method: Callable[..., object]) -> Callable[..., Coroutine[Any, Any, None]]:
    call = in_thread(method)

    @functools.wraps(method)
    async def handler(*args: Any, **kwargs: Any) -> None:
        result = await call(*args, **kwargs)
        if inspect.isawaitable(result):
            # "return self.accept()" is as good as awaiting it.
            await result

    return handler


def _runs_otherwise(method: Callable[..., object]) -> bool:
    """Whether calling the function is not what runs its code."""
    inner = inspect.unwrap(method)
    return (
        inspect.iscoroutinefunction(inner)
        or inspect.isgeneratorfunction(inner)
        or inspect.isasyncgenfunction(inner)
    )


def _takes_an_event(function: FunctionType) -> bool:
    """Whether it looks like a handler of events from a layer, and not like a helper."""
    code = function.__code__
    others = code.co_kwonlyargcount or code.co_flags & (inspect.CO_VARARGS | inspect.CO_VARKEYWORDS)
    if code.co_argcount != 2 or others or code.co_varnames[1] not in _EVENT_NAMES:
        return False
    try:
        return function.__annotations__.get("return") in (None, "None")
    except NameError:  # from Python 3.14 on, for names that only type checkers import
        return False


# One call.


class _Call(Generic[R]):
    """A call on its way through a thread; nothing can break it off once it has begun."""

    __slots__ = ("_begun", "_ended", "_loop", "_work", "error")

    def __init__(self, work: Callable[[], R]) -> None:
        self._work = work
        self._loop = asyncio.get_running_loop()
        self._begun = threading.Lock()
        self._ended = self._loop.create_future()
        self.error: Exception | None = None

    def run(self) -> R:
        """What the thread does."""
        if not self._begun.acquire(blocking=False):
            raise asyncio.CancelledError
        token = _nested.set(True)
        try:
            return self._work()
        except StopIteration as error:
            # No future takes this one. Coroutines do the same (PEP 479).
            self.error = RuntimeError("a handler in a thread raised StopIteration")
            raise self.error from error
        except Exception as error:
            self.error = error
            raise
        finally:
            _nested.reset(token)
            with suppress(RuntimeError):  # The loop was closed, so nobody waits.
                self._loop.call_soon_threadsafe(self._ended.set_result, None)

    async def give_up(self) -> None:
        """See to it that it does not begin. If it has, wait for its end, whatever comes."""
        if self._begun.acquire(blocking=False):
            return
        while not self._ended.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait([self._ended])


async def _call(work: Callable[[], R]) -> R:
    call = _Call(work)
    task = cast("asyncio.Task[object]", asyncio.current_task())
    cancelled = task.cancelling()
    # All threads may be waiting for calls like this one, so it needs one of its own.
    executor = ThreadPoolExecutor(1) if _nested.get() else _threads
    try:
        result = await sync_to_async(call.run, thread_sensitive=False, executor=executor)()
        if task.cancelling() > cancelled:
            # asgiref forgets it if the thread, or what it waited for, ends at the same time.
            raise asyncio.CancelledError
        return result
    except asyncio.CancelledError:
        await call.give_up()
        if call.error is not None:
            raise call.error from None
        raise
    finally:
        call.error = None  # Its traceback leads back to the call.
        if executor is not _threads:
            executor.shutdown(wait=False)


_nested: Final = contextvars.ContextVar("fast_channels.in_thread", default=False)
"""Whether a thread of ours waits for what runs in this context."""


# The threads.


def _make_threads() -> ThreadPoolExecutor:
    # Not the loop's own executor, whose few threads also look up the names of hosts. Threads are
    # started when they are needed.
    return ThreadPoolExecutor(THREADS, thread_name_prefix="fast_channels.handler")


def _renew_threads() -> None:
    global _threads
    _threads = _make_threads()


_threads = _make_threads()
if hasattr(os, "register_at_fork"):
    # A child process inherits the executor, but no thread.
    os.register_at_fork(after_in_child=_renew_threads)
