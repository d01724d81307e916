"""Where a suspended task waits, as one line that names the user's own code.

`asyncio.Task.get_stack` stops at the outermost coroutine of a suspended task. The chain below
it hangs together by what each coroutine awaits, so that is what is walked here.
"""

import asyncio
import functools
import gc
import os
import sys
import sysconfig
from collections.abc import Iterator
from traceback import FrameSummary, walk_stack
from types import AsyncGeneratorType, CoroutineType, FrameType, GeneratorType
from typing import cast

_OWN_FILES = os.path.dirname(os.path.abspath(__file__)) + os.sep

# Iterators of the interpreter that stand between an `await` and what is really awaited, and
# offer no attribute that leads on.
_OPAQUE = frozenset(
    {"coroutine_wrapper", "async_generator_asend", "async_generator_athrow", "FutureIter"}
)

_FRAME_AND_NEXT: dict[type, tuple[str, str]] = {
    CoroutineType: ("cr_frame", "cr_await"),
    GeneratorType: ("gi_frame", "gi_yieldfrom"),
    AsyncGeneratorType: ("ag_frame", "ag_await"),
}

# What `concurrent.futures` calls a function by, in a thread.
_RUN_IN_THREAD = "_WorkItem.run"

_MAX_DEPTH = 500
_INNERMOST = 3
_SHOWN = 10


def waiting_point(task: asyncio.Task[None]) -> str:
    """Return ``file.py:line in function -> …`` from the outermost line to the innermost.

    All lines of the user's own code are among them and the innermost ones of whatever library
    is awaited; the machinery in between is left out.
    """
    if task.done():
        return _ending(task)
    frames: list[FrameSummary] = []
    receiving = False
    for frame in _chain(task.get_coro()):
        code = frame.f_code
        if not code.co_filename.startswith(_OWN_FILES):
            frames.append(FrameSummary(code.co_filename, frame.f_lineno, code.co_qualname))
        elif code.co_name == "receive":
            receiving = True
            break
    labels = _labels(frames)
    if receiving:
        labels.append("receive(), waiting for the client")
    return " -> ".join(labels) or "not started yet"


def busy_threads() -> list[str]:
    """Return the same for what executors of this process run in threads, as plain handlers are."""
    points: list[str] = []
    # pyright takes it for private; it is in the documentation of sys.
    for innermost in sys._current_frames().values():  # pyright: ignore[reportPrivateUsage]
        frames: list[FrameSummary] = []
        for frame, line in walk_stack(innermost):
            if frame.f_code.co_qualname == _RUN_IN_THREAD:
                points.append(" -> ".join(_labels(frames[::-1])))
                break
            frames.append(FrameSummary(frame.f_code.co_filename, line, frame.f_code.co_qualname))
    return points


def frame_label(frame: FrameSummary) -> str:
    """Return ``file.py:line in function``."""
    function = frame.name.rpartition("<locals>.")[2]
    return f"{_short_path(frame.filename)}:{frame.lineno} in {function}"


def _ending(task: asyncio.Task[None]) -> str:
    if task.cancelled():
        return "ended, cancelled"
    if (exc := task.exception()) is not None:
        return f"ended with {type(exc).__name__}: {exc}"
    return "ended, it returned"


def _chain(awaited: object) -> Iterator[FrameType]:
    for _ in range(_MAX_DEPTH):
        kind = type(awaited)
        if issubclass(kind, asyncio.Task):
            awaited = cast("asyncio.Task[None]", awaited).get_coro()
        elif kind in _FRAME_AND_NEXT:
            frame_attribute, next_attribute = _FRAME_AND_NEXT[kind]
            frame: FrameType | None = getattr(awaited, frame_attribute)
            if frame is not None:
                yield frame
            awaited = getattr(awaited, next_attribute)
        elif kind.__name__ in _OPAQUE:
            awaited = next(filter(_leads_on, gc.get_referents(awaited)), None)
        else:
            return


def _leads_on(candidate: object) -> bool:
    return type(candidate) in _FRAME_AND_NEXT or isinstance(candidate, asyncio.Task)


def _labels(frames: list[FrameSummary]) -> list[str]:
    labels: list[str] = []
    innermost = len(frames) - _INNERMOST
    for index, frame in enumerate(frames):
        if index >= innermost or _is_users(frame.filename):
            labels.append(frame_label(frame))
        elif labels[-1:] != ["…"]:
            labels.append("…")
    return labels if len(labels) <= _SHOWN else ["…", *labels[-_SHOWN:]]


@functools.cache
def _library_paths() -> tuple[str, ...]:
    keys = ("stdlib", "platstdlib", "purelib", "platlib")
    return tuple({sysconfig.get_path(key) + os.sep for key in keys})


def _is_users(filename: str) -> bool:
    return not filename.startswith(("<", *_library_paths()))


def _short_path(filename: str) -> str:
    """Return the path as an import or a terminal would have it, not from the root of the disk."""
    short = filename
    for base in (os.getcwd(), *sys.path):
        prefix = base.rstrip(os.sep) + os.sep
        if filename.startswith(prefix) and len(filename) - len(prefix) < len(short):
            short = filename[len(prefix) :]
    return short
