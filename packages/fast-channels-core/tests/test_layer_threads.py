"""One in-memory layer, used from several threads and event loops at once."""

import asyncio
import gc
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import pytest

from fast_channels.exceptions import ChannelClosed, ChannelFull
from fast_channels.layers import InMemoryChannelLayer

T = TypeVar("T")
LOOPS = 8
Main = Callable[[], Coroutine[Any, Any, T]]

# In debug mode asyncio refuses what another thread may not do with a loop.
pytestmark = pytest.mark.parametrize("debug", [False, True], ids=["", "debug"])


@pytest.fixture(autouse=True)
def restless() -> Iterator[None]:
    """Threads take turns all the time, so that they meet where they should not."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


def run(main: Main[T], debug: bool) -> T:
    """Run in a loop of its own; what goes wrong in a callback is raised as well."""
    faults: list[dict[str, Any]] = []

    async def watched() -> T:
        asyncio.get_running_loop().set_exception_handler(lambda _, fault: faults.append(fault))
        async with asyncio.timeout(60):
            return await main()

    result = asyncio.run(watched(), debug=debug)
    assert not faults
    return result


def run_in_threads(mains: list[Main[T]], debug: bool) -> list[T]:
    with ThreadPoolExecutor(len(mains)) as threads:
        running = [threads.submit(run, main, debug) for main in mains]
        return [each.result() for each in running]


class Meeting:
    """A point that every loop must reach before any goes on."""

    def __init__(self, parties: int) -> None:
        self._barrier = threading.Barrier(parties)

    async def wait(self) -> None:
        await asyncio.to_thread(self._barrier.wait, 60)


def test_all_loops_see_one_order(debug: bool) -> None:
    layer = InMemoryChannelLayer(capacity=LOOPS * 50)
    meeting = Meeting(LOOPS)

    def member(me: int) -> Main[list[tuple[int, int]]]:
        async def join_send_and_receive() -> list[tuple[int, int]]:
            channel = await layer.new_channel()
            await layer.group_add("group", channel)
            await meeting.wait()

            async def send_all() -> None:
                for number in range(50):
                    await layer.group_send("group", {"type": "a", "from": me, "n": number})
                    if number % 5 == 0:
                        await asyncio.sleep(0)

            sender = asyncio.create_task(send_all())
            received = [await layer.receive(channel) for _ in range(LOOPS * 50)]
            await sender
            await meeting.wait()
            await layer.close_channel(channel)
            return [(message["from"], message["n"]) for message in received]

        return join_send_and_receive

    orders = run_in_threads([member(me) for me in range(LOOPS)], debug)
    for order in orders[1:]:
        assert order == orders[0]
    for me in range(LOOPS):
        assert [number for who, number in orders[0] if who == me] == list(range(50))


def test_joining_is_a_barrier_across_threads(debug: bool) -> None:
    layer = InMemoryChannelLayer()
    joined: list[str] = []
    meeting = Meeting(2)

    async def join() -> list[int]:
        received: list[int] = []
        for _ in range(50):
            channel = await layer.new_channel()
            await layer.group_add("group", channel)
            joined.append(channel)
            await meeting.wait()
            received.append((await layer.receive(channel))["n"])
            await layer.close_channel(channel)
        return received

    async def send() -> list[int]:
        for number in range(50):
            await meeting.wait()
            await layer.group_send("group", {"type": "a", "n": number})
        return []

    assert run_in_threads([join, send], debug)[0] == list(range(50))


def test_every_job_goes_to_exactly_one_thread(debug: bool) -> None:
    layer = InMemoryChannelLayer()
    jobs = 1000

    async def work() -> list[int]:
        done: list[int] = []
        while True:
            try:
                async with asyncio.timeout(0.001 if len(done) % 10 == 0 else None):
                    message = await layer.receive("jobs")
            except TimeoutError:
                continue
            if message["type"] == "end":
                return done
            done.append(message["n"])

    def sender(mine: range) -> Main[list[int]]:
        async def send_all() -> list[int]:
            for number in mine:
                await send_when_possible({"type": "job", "n": number})
            return []

        return send_all

    async def send_when_possible(message: dict[str, Any]) -> None:
        while True:
            try:
                return await layer.send("jobs", message)
            except ChannelFull:
                await asyncio.sleep(0)

    async def end_all() -> list[int]:
        for _ in range(4):
            await send_when_possible({"type": "end"})
        return []

    with ThreadPoolExecutor(4) as threads:
        workers = [threads.submit(run, work, debug) for _ in range(4)]
        run_in_threads([sender(range(first, jobs, 2)) for first in range(2)], debug)
        run(end_all, debug)
        done = [worker.result() for worker in workers]
    assert sorted(number for mine in done for number in mine) == list(range(jobs))


def test_expired_messages_make_room_while_others_receive(debug: bool) -> None:
    layer = InMemoryChannelLayer(expiry=1e-6, capacity=1)
    stop = threading.Event()

    async def receive() -> int:
        while not stop.is_set():
            try:
                async with asyncio.timeout(0.001):
                    await layer.receive("c")
            except TimeoutError:
                pass
        return 0

    async def send() -> int:
        sent = 0
        try:
            for _ in range(5_000):
                try:
                    await layer.send("c", {"type": "a"})
                    sent += 1
                except ChannelFull:
                    pass
        finally:
            stop.set()
        return sent

    assert run_in_threads([receive, receive, send], debug)[2] > 100


def test_a_channel_closed_by_another_thread_lets_its_receiver_go(debug: bool) -> None:
    layer = InMemoryChannelLayer()
    opened: list[str] = []
    meeting = Meeting(2)

    async def receive() -> None:
        for _ in range(20):
            opened.append(await layer.new_channel())
            receiver = asyncio.create_task(layer.receive(opened[-1]))
            await meeting.wait()
            with pytest.raises(ChannelClosed):
                await receiver

    async def close() -> None:
        for number in range(20):
            await meeting.wait()
            await (layer.close() if number % 2 else layer.close_channel(opened[-1]))

    run_in_threads([receive, close], debug)


def test_members_come_and_go_in_all_threads(debug: bool) -> None:
    layer = InMemoryChannelLayer(capacity=500)  # All of it may come while one thread is not run.
    gone = threading.Event()

    def visit(me: int) -> Main[None]:
        async def come_and_go() -> None:
            for number in range(100):
                channel = await layer.new_channel()
                await layer.group_add("group", channel)
                await layer.group_send("group", {"type": "a", "id": f"{me}.{number}"})
                while (await layer.receive(channel))["id"] != f"{me}.{number}":
                    pass
                if number % 2:
                    await layer.group_discard("group", channel)
                await layer.close_channel(channel)

        return come_and_go

    async def stay() -> None:
        channel = await layer.new_channel()
        await layer.group_add("group", channel)
        last: dict[str, int] = {}
        while not gone.is_set():
            try:
                async with asyncio.timeout(0.01):
                    who, _, number = (await layer.receive(channel))["id"].partition(".")
            except TimeoutError:
                continue
            assert last.get(who, -1) < int(number)
            last[who] = int(number)

    with ThreadPoolExecutor(1) as threads:
        staying = threads.submit(run, stay, debug)
        run_in_threads([visit(me) for me in range(4)], debug)
        gone.set()
        staying.result()


def abandon_a_loop(main: Main[Any], debug: bool) -> None:
    """End a loop as a crash would: nothing in it is closed or cancelled."""
    loop = asyncio.new_event_loop()
    loop.set_debug(debug)

    def ignore(_loop: object, _fault: dict[str, Any]) -> None:
        """Tasks that are left complain when they are collected."""

    loop.set_exception_handler(ignore)
    loop.run_until_complete(main())
    loop.close()


def test_a_loop_that_ended_without_closing_its_channels_does_no_harm(debug: bool) -> None:
    layer = InMemoryChannelLayer()
    left_behind: list[asyncio.Task[Any]] = []

    async def leave_everything_open() -> None:
        channel = await layer.new_channel()
        await layer.group_add("group", channel)
        receiving = [layer.receive(name) for name in (channel, "jobs", "jobs")]
        left_behind.extend(map(asyncio.create_task, receiving))
        for _ in range(3):
            await asyncio.sleep(0)

    async def go_on() -> None:
        channel = await layer.new_channel()
        await layer.group_add("group", channel)
        receiver = asyncio.create_task(layer.receive("jobs"))
        await asyncio.sleep(0)
        await layer.group_send("group", {"type": "a", "n": 1})
        await layer.send("jobs", {"type": "a", "n": 2})
        assert (await layer.receive(channel))["n"] == 1
        assert (await receiver)["n"] == 2
        await layer.flush()
        await layer.close()

    async def close() -> None:
        await layer.close()

    for next_use in (go_on, close, go_on):
        abandon_a_loop(leave_everything_open, debug)
        run(next_use, debug)
        left_behind.clear()
        gc.collect()


def test_a_message_does_not_wait_for_a_loop_that_is_about_to_end(
    debug: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = InMemoryChannelLayer()
    ending = asyncio.new_event_loop()
    ending.set_debug(debug)
    first = ending.create_task(layer.receive("jobs"))
    ending.run_until_complete(asyncio.sleep(0))
    call_soon_threadsafe = ending.call_soon_threadsafe
    calls = 0

    def call_at_the_last_moment(callback: Callable[..., object], *args: Any) -> asyncio.Handle:
        nonlocal calls
        calls += 1
        if calls == 2:
            # The loop does what it was asked for before, and no more.
            last_run = threading.Thread(target=ending.run_until_complete, args=(first,))
            last_run.start()
            last_run.join()
        return call_soon_threadsafe(callback, *args)

    async def send_two() -> int:
        second = asyncio.create_task(layer.receive("jobs"))
        await asyncio.sleep(0)
        for number in range(2):
            await layer.send("jobs", {"type": "a", "n": number})
        async with asyncio.timeout(10):
            received: int = (await second)["n"]
        return received

    monkeypatch.setattr(ending, "call_soon_threadsafe", call_at_the_last_moment)
    try:
        assert run(send_two, debug) == 1
        assert first.result()["n"] == 0
    finally:
        ending.close()
