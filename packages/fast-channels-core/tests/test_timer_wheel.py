"""Timeouts that share one timer of the event loop."""

import asyncio
import gc
from contextvars import ContextVar
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any
from weakref import ref

import pytest

from fast_channels.consumer._wheel import AT_ONCE, RESOLUTION, wheel_of_loop

if TYPE_CHECKING:
    from conftest import LoopClock

DEADLINE = 20


class Scheduled:
    """The timers that the event loop was asked for."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._call_at = loop.call_at
        self.handles: list[asyncio.TimerHandle] = []

    def call_at(self, *args: Any, **kwargs: Any) -> asyncio.TimerHandle:
        handle = self._call_at(*args, **kwargs)
        self.handles.append(handle)
        return handle

    def active(self) -> int:
        """How many of them were not cancelled."""
        return sum(not handle.cancelled() for handle in self.handles)


@pytest.fixture
async def scheduled(monkeypatch: pytest.MonkeyPatch) -> Scheduled:
    loop = asyncio.get_running_loop()
    scheduled = Scheduled(loop)
    monkeypatch.setattr(loop, "call_at", scheduled.call_at)
    return scheduled


async def test_calls_at_the_time_and_not_before(loop_clock: "LoopClock") -> None:
    called: list[float] = []
    for delay in (5, 0.5, 60, 5):
        wheel_of_loop().call_later(delay, partial(called.append, delay))
    await loop_clock.advance(0.4)
    assert called == []
    await loop_clock.advance(0.1 + RESOLUTION)
    assert called == [0.5]
    await loop_clock.advance(4.3)
    assert called == [0.5]
    await loop_clock.advance(0.2)
    assert called == [0.5, 5, 5]
    await loop_clock.advance(100)
    assert called == [0.5, 5, 5, 60]


async def test_has_one_timer_of_the_loop_while_something_is_due(
    scheduled: Scheduled, loop_clock: "LoopClock"
) -> None:
    wheel = wheel_of_loop()
    entries = [wheel.call_later(delay, lambda: None) for delay in (30, 20, 10, 20, 30, 40)]
    assert scheduled.active() == 1
    for entry in entries[:-1]:
        entry.cancel()
    assert scheduled.active() == 1
    entries[-1].cancel()
    assert scheduled.active() == 0

    called = asyncio.Event()
    wheel.call_later(10, called.set)
    assert scheduled.active() == 1
    before = len(scheduled.handles)
    await loop_clock.advance(10 + RESOLUTION)
    assert called.is_set()
    assert len(scheduled.handles) == before


async def test_timeouts_that_are_set_anew_cost_no_timers_of_the_loop(scheduled: Scheduled) -> None:
    wheel = wheel_of_loop()
    wheel.call_later(1, lambda: None)
    for _ in range(1000):
        wheel.call_later(30, lambda: None).cancel()
    assert len(scheduled.handles) == 1


async def test_cancelled_entry_is_forgotten(loop_clock: "LoopClock") -> None:
    called: list[str] = []
    wheel = wheel_of_loop()
    callback = partial(called.append, "cancelled")
    seen = ref(callback)
    first = wheel.call_later(1, callback)
    second = wheel.call_later(1, partial(called.append, "kept"))
    first.cancel()
    first.cancel()
    del first, callback
    assert seen() is None
    await loop_clock.advance(1 + RESOLUTION)
    second.cancel()
    assert called == ["kept"]


async def test_callbacks_may_set_and_cancel(loop_clock: "LoopClock") -> None:
    called: list[str] = []
    wheel = wheel_of_loop()

    def cancel_the_other(name: str) -> None:
        called.append(name)
        for other in entries:
            other.cancel()
        wheel.call_later(1, partial(called.append, "later"))

    entries = [wheel.call_later(1, partial(cancel_the_other, name)) for name in ("a", "b")]
    await loop_clock.advance(1 + RESOLUTION)
    assert called in (["a"], ["b"])
    await loop_clock.advance(1 + RESOLUTION)
    assert called[1:] == ["later"]


async def test_failing_callback_hurts_no_other(loop_clock: "LoopClock") -> None:
    called: list[str] = []
    failures: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context))

    def fail() -> None:
        raise LookupError("in a callback")

    wheel = wheel_of_loop()
    wheel.call_later(1, partial(called.append, "before"))
    wheel.call_later(1, fail)
    wheel.call_later(1, partial(called.append, "after"))
    wheel.call_later(2, partial(called.append, "next"))
    await loop_clock.advance(1 + RESOLUTION)
    assert sorted(called) == ["after", "before"]
    assert [repr(failure["exception"]) for failure in failures] == ["LookupError('in a callback')"]
    assert "fail" in failures[0]["message"]
    await loop_clock.advance(1)
    assert called[2:] == ["next"]


async def test_many_at_once_let_others_have_their_turn() -> None:
    """A crowd that is due in one moment must not keep the loop from its sockets."""
    loop, wheel = asyncio.get_running_loop(), wheel_of_loop()
    turns: list[int] = []
    done = asyncio.Event()
    calls = 0

    def call() -> None:
        nonlocal calls
        calls += 1
        if calls == AT_ONCE * 4:
            done.set()

    def look() -> None:
        turns.append(calls)
        if not done.is_set():
            loop.call_soon(look)

    for _ in range(AT_ONCE * 4):
        wheel.call_later(0, call)
    look()
    async with asyncio.timeout(DEADLINE):
        await done.wait()
    assert max(after - before for before, after in pairwise(turns)) <= AT_ONCE
    assert calls == AT_ONCE * 4


async def test_callbacks_run_in_a_context_of_their_own(loop_clock: "LoopClock") -> None:
    user = ContextVar[str]("user")
    user.set("whoever came first")
    seen: list[str] = []
    wheel_of_loop().call_later(1, lambda: seen.append(user.get("nobody")))
    await loop_clock.advance(1 + RESOLUTION)
    assert seen == ["nobody"]


async def test_one_wheel_for_each_loop() -> None:
    wheel = wheel_of_loop()
    assert wheel_of_loop() is wheel

    async def other() -> bool:
        return wheel_of_loop() is wheel

    assert not await asyncio.to_thread(asyncio.run, other())


def test_loop_with_pending_timeouts_can_be_forgotten() -> None:
    async def leave_something_behind() -> "ref[asyncio.AbstractEventLoop]":
        wheel_of_loop().call_later(3600, lambda: None)
        return ref(asyncio.get_running_loop())

    loop = asyncio.run(leave_something_behind())
    gc.collect()
    assert loop() is None
