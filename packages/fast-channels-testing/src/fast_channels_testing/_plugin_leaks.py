"""What a test leaves behind: channels, the groups that they are in, and tasks."""

import asyncio
import os
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from fast_channels.layers import BaseChannelLayer, InMemoryChannelLayer, SyncChannelLayer
from fast_channels_testing._open_channels import loops_of, open_channels
from fast_channels_testing._plugin_loops import Loop, LoopScope, Task, wait_a_moment
from fast_channels_testing._stack import frame_label, waiting_point

_GRACE = 0.5
"""Seconds for what is about to end. Only tests that leave something wait that long."""

_CLOSING = 20
"""Seconds that closing a layer may take."""


@dataclass
class _Watched:
    """A layer of this test, and which channels it had before."""

    layer: BaseChannelLayer
    alias: str
    ours: bool
    """Put in for the test, and to be closed after it."""
    before: frozenset[str] = field(default_factory=frozenset[str])

    @property
    def innermost(self) -> BaseChannelLayer:
        layer = self.layer
        while isinstance(inner := getattr(layer, "inner", None), BaseChannelLayer):
            layer = inner
        return layer

    @property
    def is_in_memory(self) -> bool:
        """One for all event loops, so it is not closed with any of them."""
        return isinstance(self.innermost, InMemoryChannelLayer)

    def channels(self, loop: Loop | None = None) -> dict[str, str]:
        """The channels that are open, in one loop or in all, each with a line about it."""
        return {
            name: f"channel {name!r} of layer {self.alias!r}{_in_groups(groups)}"
            for name, groups in open_channels(self.innermost, loop)
            if name not in self.before
        }


class LeakCheck:
    """Watches the layers and loops of one test, and tells what is left at the end."""

    def __init__(self) -> None:
        self.loops = LoopScope(self._closing)
        self.failures: list[Exception] = []
        """What went wrong while layers were closed."""
        self._watched: list[_Watched] = []
        self._left: list[str] = []

    def put_in(self, alias: str, layer: BaseChannelLayer) -> None:
        """Watch a layer that is there for this test only."""
        self._watch(alias, layer, ours=True)

    def watch(self, alias: str, layer: BaseChannelLayer) -> None:
        """Watch a layer that somebody else closes."""
        self._watch(alias, layer, ours=False)

    def _watch(self, alias: str, layer: BaseChannelLayer, *, ours: bool) -> None:
        if not any(layer is each.layer for each in self._watched):
            watched = _Watched(layer, alias, ours)
            watched.before = frozenset(watched.channels())
            self._watched.append(watched)

    def finish(self) -> list[str]:
        """Close the layers, wherever they are open; what was left, as lines."""
        loops = self.loops.open()
        self.loops.stop()
        for loop in loops:
            self._leave(loop)
        self._left += self._channels().values()
        last = loops[0] if loops else asyncio.new_event_loop()
        try:
            for watched in reversed(self._watched):
                if watched.ours:
                    self._close(watched, last)
                    self._close_in_background(watched)
        finally:
            if not loops:
                last.close()
        return self._left

    def _closing(self, loop: Loop, close: Callable[[], None]) -> None:
        before: dict[str, str] = {}
        try:
            self._leave(loop)
            before = self._channels()
        finally:
            close()
        after = self._channels()
        # Whoever had them was cancelled just now.
        self._left += [line for name, line in before.items() if name not in after]

    def _leave(self, loop: Loop) -> None:
        """Note the tasks that are left in a loop, and close what layers have open in it."""
        tasks = [task for task in self.loops.new_tasks(loop) if not self._is_of_a_layer(task)]
        if tasks:
            wait_a_moment(tasks, _GRACE)
        left = [task for task in tasks if not task.done()]
        self._left += map(_describe, left)
        for watched in reversed(self._watched):
            if watched.ours and not watched.is_in_memory:
                self._left += watched.channels(loop).values()
                self._close(watched, loop)
        self._left += [_describe(task) for task in self.loops.new_tasks(loop) if task not in left]

    def _channels(self) -> dict[str, str]:
        channels: dict[str, str] = {}
        for watched in self._watched:
            channels |= watched.channels()
        return channels

    def _close(self, watched: _Watched, loop: Loop) -> None:
        async def close() -> None:
            async with asyncio.timeout(_CLOSING):
                await watched.layer.close()

        try:
            loop.run_until_complete(close())
        except Exception as error:
            error.add_note(f"while closing channel layer {watched.alias!r}")
            self.failures.append(error)

    def _close_in_background(self, watched: _Watched) -> None:
        """Also for blocking calls, whose connection would stay."""
        if any(loop.is_running() for loop in loops_of(watched.innermost)):
            SyncChannelLayer(watched.layer).close()

    def _is_of_a_layer(self, task: Task) -> bool:
        code = getattr(task.get_coro(), "cr_code", None)
        folder = os.path.dirname(code.co_filename) if code is not None else ""
        return any(folder in _folders(each.innermost) for each in self._watched)


def _folders(layer: BaseChannelLayer) -> set[str]:
    """Where the code of a layer is; that of the in-memory layer begins no tasks."""
    if isinstance(layer, InMemoryChannelLayer):
        return set()
    kinds = [kind for kind in type(layer).__mro__ if issubclass(kind, BaseChannelLayer)]
    files = [getattr(sys.modules.get(kind.__module__), "__file__", None) for kind in kinds]
    return {os.path.dirname(file) for file in files if file}


def _in_groups(groups: list[str]) -> str:
    if not groups:
        return ""
    return f", in {'group' if len(groups) == 1 else 'groups'} {', '.join(map(repr, groups))}"


def _describe(task: asyncio.Task[Any]) -> str:
    name = getattr(task.get_coro(), "__qualname__", repr(task.get_coro()))
    line = f"task {task.get_name()!r} running {name}, waiting at {waiting_point(task)}"
    # asyncio has it in debug mode.
    created: traceback.StackSummary | None = getattr(task, "_source_traceback", None)
    folder = os.path.dirname(asyncio.__file__)
    frames = [each for each in created or () if os.path.dirname(each.filename) != folder]
    return f"{line}, created at {frame_label(frames[-1])}" if frames else line
