"""What this process holds of ours: objects, entries in tables, and what was logged meanwhile.

Nothing is named here, so what is added to the library is counted from its first day on.
"""

import asyncio
import gc
import inspect
import logging
import sys
import types
from collections import Counter, deque
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any, Final
from weakref import WeakKeyDictionary, WeakSet, WeakValueDictionary

from fast_channels.consumer import AsyncConsumer

_OURS: Final = ("fast_channels", "leak_visits", "tcp_broker")
_WITNESSES: Final = (
    AsyncConsumer,
    asyncio.Future,  # tasks, too
    asyncio.TimerHandle,
    types.CoroutineType,
    types.AsyncGeneratorType,
    types.TracebackType,
)
_TABLES: Final[tuple[type, ...]] = (
    dict,
    list,
    set,
    deque,
    WeakSet,
    WeakKeyDictionary,
    WeakValueDictionary,
)


def census(*roots: object) -> Counter[str]:
    """Living objects by class, and entries by table of whatever the modules and ``roots`` hold."""
    gc.collect()
    return objects() + tables(*roots)


def objects() -> Counter[str]:
    """Objects of our classes, and what keeps others alive: tasks, coroutines, tracebacks."""
    counted: Counter[str] = Counter()
    for each in gc.get_objects():
        if not _is_ours(each) and not issubclass(type(each), _WITNESSES):
            continue
        if type(each) is asyncio.TimerHandle and each.cancelled():
            continue  # The event loop keeps it until its time comes.
        if getattr(each, "cr_running", False):
            continue  # Whoever takes the census.
        if isinstance(each, types.TracebackType) and _is_idle_thread(each):
            continue  # As many as there are threads, whatever they have done.
        counted[type(each).__qualname__] += 1
    return counted


def _is_idle_thread(traceback: types.TracebackType) -> bool:
    return bool(traceback.tb_frame.f_globals.get("__name__") == "concurrent.futures.thread")


def tables(*roots: object) -> Counter[str]:
    """The size of every dict, list, set and deque that can be reached, as ``Class.attribute``."""
    sizes: Counter[str] = Counter()
    seen: set[int] = set()
    todo: list[tuple[str, Any]] = [("", root) for root in roots]
    for name, module in sys.modules.copy().items():
        if name.startswith(_OURS):
            todo += [(f"{name}.{key}", value) for key, value in vars(module).copy().items()]
    while todo:
        path, value = todo.pop()
        if id(value) in seen:
            continue
        if issubclass(type(value), _TABLES):
            seen.add(id(value))
            sizes[path] += len(value)
            todo += [(f"{path}[]", each) for each in _members(value)]
        elif inspect.isclass(value) and value.__module__.startswith(_OURS):
            seen.add(id(value))
            todo += [(f"{value.__qualname__}.{key}", each) for key, each in vars(value).items()]
        elif _is_ours(value):
            seen.add(id(value))
            owner = type(value).__qualname__
            todo += [(f"{owner}.{key}", each) for key, each in _attributes(value)]
    return sizes


def _is_ours(thing: object) -> bool:
    return str(type(thing).__module__).startswith(_OURS)


def _members(table: Any) -> list[object]:
    return list(table.values()) if hasattr(table, "values") else list(table)


def _attributes(thing: object) -> Iterator[tuple[str, object]]:
    yield from getattr(thing, "__dict__", {}).items()
    for kind in type(thing).__mro__:
        for name in vars(kind).get("__slots__", ()):
            value = inspect.getattr_static(thing, name, None)
            if isinstance(value, types.MemberDescriptorType):
                try:
                    yield name, value.__get__(thing)
                except AttributeError:
                    pass  # A slot that is not set.


@contextmanager
def only_what_is_new() -> Generator[None]:
    """Leave out the objects that are there already, which makes a census many times as fast."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


@contextmanager
def log_lines() -> Generator[list[str]]:
    """What is logged from warnings up, as lines: a record would keep its traceback alive."""
    lines: list[str] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            error = record.exc_info[1] if record.exc_info else None
            lines.append(f"{record.name} {record.levelname}: {record.getMessage()} {error!r}")

    handler = Handler(logging.WARNING)
    loggers = [logging.getLogger(name) for name in ("fast_channels", "asyncio")]
    propagate = [logger.propagate for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.propagate = False
    try:
        yield lines
    finally:
        for logger, before in zip(loggers, propagate, strict=True):
            logger.removeHandler(handler)
            logger.propagate = before
