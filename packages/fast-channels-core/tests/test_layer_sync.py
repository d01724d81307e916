"""Blocking calls, and the event loop of the process behind them."""

import asyncio
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar, copy_context
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from tcp_broker import (
    DEADLINE,
    Broker,
    TcpConnection,
    TcpLayer,
    joined,
    message,
    numbers,
    reached,
    take,
)

from fast_channels.exceptions import (
    BlockingCallError,
    ChannelFull,
    ChannelLayerUnavailable,
    InvalidChannelLayerError,
    InvalidMessageError,
    InvalidNameError,
)
from fast_channels.layers import InMemoryChannelLayer, SyncChannelLayer, get_sync_channel_layer
from fast_channels.layers._background import stop
from fast_channels.layers.broker import Node


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """Ends the background thread after the test."""
    yield
    stop()
    assert not [
        thread for thread in threading.enumerate() if thread.name == "fast_channels.background"
    ]


async def test_consumers_of_this_process_hear_blocking_calls(
    default_layer: InMemoryChannelLayer,
) -> None:
    member, other = await default_layer.new_channel(), await default_layer.new_channel()
    await default_layer.group_add("room", member)
    layer = get_sync_channel_layer()

    def work() -> None:
        layer.send(member, message(1))
        layer.group_send("room", message(2))
        layer.group_add("room", other)
        layer.group_discard("room", member)
        layer.group_send("room", message(3))
        layer.send("tasks", message(4))

    async with asyncio.timeout(DEADLINE):
        await asyncio.to_thread(work)
        for channel, number in ((member, 1), (member, 2), (other, 3), ("tasks", 4)):
            assert await default_layer.receive(channel) == message(number)


def test_an_alias_that_is_not_registered_is_an_error() -> None:
    with pytest.raises(InvalidChannelLayerError, match="'nowhere'"):
        get_sync_channel_layer("nowhere")


def test_errors_come_through_unchanged(thread_broker: Broker) -> None:
    for layer in (InMemoryChannelLayer(capacity=1), TcpLayer(thread_broker.port, capacity=1)):
        calls = SyncChannelLayer(layer)
        calls.send("tasks", message(1))
        with pytest.raises(ChannelFull) as caught:
            calls.send("tasks", message(2))
        assert caught.value.channel == "tasks"
        with pytest.raises(InvalidNameError):
            calls.group_send("no name", message(1))
        with pytest.raises(InvalidMessageError):
            calls.group_send("room", {"type": "x", "value": object()})
        calls.flush()
        calls.send("tasks", message(2))


def test_a_broker_that_is_away_is_an_error_after_the_time_of_the_layer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    layer = TcpLayer(port, send_timeout=0.05)
    with pytest.raises(ChannelLayerUnavailable, match="within 0.05 s"):
        SyncChannelLayer(layer).group_send("room", message(1))


async def test_a_thread_that_runs_a_loop_is_told_to_await(layer: InMemoryChannelLayer) -> None:
    with pytest.raises(BlockingCallError, match=r"await get_channel_layer.*group_send") as caught:
        SyncChannelLayer(layer).group_send("room", message(1))
    assert isinstance(caught.value, RuntimeError)
    assert caught.value.method == "group_send"


def each_in_a_thread(count: int, work: Callable[[int], None]) -> None:
    with ThreadPoolExecutor(count) as threads:
        for done in [threads.submit(work, number) for number in range(count)]:
            done.result(60)


@pytest.mark.parametrize("how", ["blocking", "asgiref"])
def test_32_threads_share_one_connection(thread_broker: Broker, how: str) -> None:
    layer = TcpLayer(thread_broker.port, capacity=10_000)
    send = (
        SyncChannelLayer(layer).group_send if how == "blocking" else async_to_sync(layer.group_send)
    )
    each = 50

    def work(sender: int) -> None:
        for number in range(each):
            send("room", message(number, sender=sender))

    async def hear() -> None:
        channel = await joined(layer, "room")
        await asyncio.to_thread(each_in_a_thread, 32, work)
        heard = await take(layer, channel, 32 * each)
        for sender in range(32):
            ordered = [item["number"] for item in heard if item["sender"] == sender]
            assert ordered == list(range(each))

    asyncio.run(hear())
    assert len(layer.connections) == 2


def test_every_call_of_async_to_sync_that_only_sends_shares_the_connection(
    thread_broker: Broker,
) -> None:
    layer = TcpLayer(thread_broker.port, capacity=1)

    async def hear() -> None:
        channel = await layer.new_channel()

        def work() -> None:
            async_to_sync(layer.group_add)("room", channel)
            async_to_sync(layer.group_send)("room", message(1))
            async_to_sync(layer.group_discard)("room", channel)
            async_to_sync(layer.send)(channel, message(2))
            async_to_sync(layer.send)("tasks", message(3))
            with pytest.raises(ChannelFull):
                async_to_sync(layer.send)("tasks", message(4))

        receiving = asyncio.create_task(numbers(layer, channel, 2))
        await asyncio.to_thread(work)
        assert await receiving == [1, 2]
        assert await numbers(layer, "tasks", 1) == [3]

    asyncio.run(hear())
    assert len(layer.connections) == 2


async def test_what_a_loop_sends_that_serves_it_sends_itself(thread_broker: Broker) -> None:
    layer = TcpLayer(thread_broker.port)
    await layer.group_send("room", message(1))
    assert [node.loop for node in layer.nodes] == [asyncio.get_running_loop()]
    await layer.close()


def test_the_context_of_a_caller_is_that_of_its_call_and_of_nothing_else(
    thread_broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = ContextVar[str]("request", default="none")
    seen: list[str] = []

    def look_in(method: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
        async def looking(*arguments: object) -> None:
            seen.append(f"{method.__name__} in {request.get()}")
            await method(*arguments)

        return looking

    monkeypatch.setattr(TcpConnection, "connect", look_in(TcpConnection.connect))
    monkeypatch.setattr(TcpConnection, "publish", look_in(TcpConnection.publish))
    send = SyncChannelLayer(TcpLayer(thread_broker.port)).group_send
    for name in ("one", "two"):
        context = copy_context()
        context.run(request.set, name)
        context.run(send, "room", message(1))
    assert seen == ["connect in none", "publish in one", "publish in two"]


def test_closing_gives_the_connection_back_until_the_next_call(thread_broker: Broker) -> None:
    layer = TcpLayer(thread_broker.port)
    calls = SyncChannelLayer(layer)
    for number in range(1, 3):
        calls.group_send("room", message(number))
        assert len(layer.connections) == number
        calls.close()
        assert layer.connections[-1].link is None


def test_an_interrupted_call_is_cancelled(thread_broker: Broker) -> None:
    layer = TcpLayer(thread_broker.port)
    calls = SyncChannelLayer(layer)
    hold = thread_broker.hold("publish")

    def interrupt() -> None:
        assert hold.arrived_for_threads.wait(DEADLINE)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    # A shell that starts something in the background has it ignore the signal.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            calls.group_send("room", message(1))
    finally:
        signal.signal(signal.SIGINT, before)
    thread.join()
    link = layer.connections[0].link
    assert link is not None
    # tuple(), because another thread changes it.
    asyncio.run(reached(lambda: all(reply.done() for reply in tuple(link.calls.values()))))
    thread_broker.holds.clear()
    calls.group_send("room", message(2))


def test_a_call_that_waits_when_the_process_ends_is_an_error(thread_broker: Broker) -> None:
    class Stuck(InMemoryChannelLayer):
        async def group_send(self, group: str, message: Mapping[str, Any]) -> None:
            begun.set()
            await asyncio.Event().wait()

    hold = thread_broker.hold("publish")
    begun = threading.Event()
    for layer, waits in (
        (TcpLayer(thread_broker.port), hold.arrived_for_threads),
        (Stuck(), begun),
    ):
        with ThreadPoolExecutor(1) as threads:
            sending = threads.submit(SyncChannelLayer(layer).group_send, "room", message(1))
            assert waits.wait(DEADLINE)
            stop()
            with pytest.raises(ChannelLayerUnavailable, match="closed|ending"):
                sending.result(DEADLINE)


def test_a_connection_has_its_tasks_until_it_is_closed(
    thread_broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks: list[asyncio.Task[Any]] = []
    seen: list[bool] = []
    close = TcpConnection.close

    async def closing(connection: TcpConnection) -> None:
        seen.extend(task.done() for task in tasks)
        await close(connection)

    class Layer(TcpLayer):
        def make_connection(self, node: Node) -> TcpConnection:
            tasks.append(node.loop.create_task(asyncio.Event().wait()))
            return super().make_connection(node)

    monkeypatch.setattr(TcpConnection, "close", closing)
    SyncChannelLayer(Layer(thread_broker.port)).group_send("room", message(1))
    stop()
    assert seen == [False]
    assert tasks[0].cancelled()


# From here on processes of their own, in which every warning is an error and printed.

START = """
import logging, multiprocessing, os, sys, threading
sys.path.insert(0, sys.argv[1])
from tcp_broker import TcpLayer
from fast_channels.layers import get_sync_channel_layer, register_channel_layer
logging.getLogger("asyncio").setLevel("ERROR")  # not that the machine is slow
layer = TcpLayer(int(sys.argv[2]))
register_channel_layer("default", layer)
send = get_sync_channel_layer().group_send

def say(*words):
    send("room", {"type": "x", "words": [str(word) for word in words]})

def child(times=3):
    for number in range(times):
        say("child", number)
    say("child", "has", len(layer.connections))

def fork(work=child):
    pid = os.fork()
    if not pid:
        work()
        sys.exit()
    assert os.waitpid(pid, 0)[1] == 0

def in_another_process(how):
    process = multiprocessing.get_context(how).Process(target=child)
    process.start()
    process.join()
    assert process.exitcode == 0
"""

EXIT = """
import atexit
atexit.register(lambda: print("end", threading.active_count()))
say("one")
thread = threading.Thread(target=lambda: [threading.main_thread().join(), say("late")])
thread.start()
"""

FORKS = """
os.register_at_fork(before=lambda: print("threads", threading.active_count(), flush=True))
say("parent")
fork()
fork(lambda: None)
fork(lambda: fork())
say("parent", "has", len(layer.connections))
"""

FORK_FIRST = """
fork()
say("parent", "has", len(layer.connections))
"""

FORK_AMONG_THREADS = """
def work():
    for number in range(300):
        say("thread", number)

threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads:
    thread.start()
while any(thread.is_alive() for thread in threads):
    fork(lambda: child(1))
say("parent", "has", len(layer.connections))
"""

FORK_FROM_A_LOOP = """
import asyncio

async def main():
    await layer.group_send("room", {"type": "x", "words": ["loop"]})
    await asyncio.to_thread(say, "thread")
    in_another_process("fork")
    await layer.group_send("room", {"type": "x", "words": ["loop", str(len(layer.connections))]})

asyncio.run(main())
"""

MULTIPROCESSING = """
say("parent")
in_another_process("fork")
say("parent", "has", len(layer.connections))
"""

ASGIREF = """
from asgiref.sync import async_to_sync
send = async_to_sync(layer.group_send)
threads = [threading.Thread(target=lambda: [say(n) for n in range(20)]) for _ in range(32)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
say("has", len(layer.connections))
"""


def run(broker: Broker, script: str, *options: str) -> list[str]:
    """Run it; what it said to the group, in order, after it has left nothing at the broker."""
    python = [sys.executable, "-X", "dev", "-W", "error", *options]
    heard: list[str] = []
    listener = TcpLayer(broker.port, capacity=10_000)

    async def listen() -> None:
        channel = await joined(listener, "room")
        folder = __file__.rpartition("/")[0]
        ended = await asyncio.to_thread(
            subprocess.run,
            [*python, "-c", START + script, folder, str(broker.port)],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert ended.stderr == ""
        assert ended.returncode == 0
        await reached(lambda: len(broker.inboxes) == 1)
        await listener.group_send("room", {"type": "end"})
        while (event := await listener.receive(channel))["type"] != "end":
            heard.append(" ".join(event["words"]))
        heard.extend(ended.stdout.splitlines())
        await listener.close()

    asyncio.run(listen())
    return heard


CHILD = ["child 0", "child 1", "child 2"]
MAY_FORK_WITH_THREADS = ("-W", "ignore:This process:DeprecationWarning")
needs_fork = pytest.mark.skipif(sys.platform == "win32", reason="needs os.fork")


def test_a_process_that_ends_leaves_nothing_and_hears_its_threads_out(
    thread_broker: Broker,
) -> None:
    # What was registered before the first call runs after the background thread has ended.
    assert run(thread_broker, EXIT) == ["one", "late", "end 1"]


@needs_fork
def test_forked_children_connect_anew_and_leave_the_parent_alone(thread_broker: Broker) -> None:
    child = [*CHILD, "child has 2"]
    heard = run(thread_broker, FORKS)
    assert heard == ["parent", *child, *child, "parent has 1", *["threads 1"] * 4]


@needs_fork
def test_a_fork_before_the_first_call(thread_broker: Broker) -> None:
    assert run(thread_broker, FORK_FIRST) == [*CHILD, "child has 1", "parent has 0"]


@needs_fork
def test_forks_while_other_threads_send(thread_broker: Broker) -> None:
    heard = run(thread_broker, FORK_AMONG_THREADS, *MAY_FORK_WITH_THREADS)
    for number in range(300):
        assert heard.count(f"thread {number}") == 4
    assert heard.count("child 0") > 0
    assert heard[-1] == "parent has 1"


@needs_fork
def test_a_fork_of_a_process_with_a_running_loop(thread_broker: Broker) -> None:
    heard = run(thread_broker, FORK_FROM_A_LOOP, *MAY_FORK_WITH_THREADS)
    assert heard == ["loop", "thread", *CHILD, "child has 3", "loop 2"]


@needs_fork
def test_multiprocessing(thread_broker: Broker) -> None:
    heard = run(thread_broker, MULTIPROCESSING)
    assert heard == ["parent", *CHILD, "child has 2", "parent has 1"]


def test_async_to_sync_leaves_no_warning(thread_broker: Broker) -> None:
    heard = run(thread_broker, ASGIREF)
    assert len(heard) == 32 * 20 + 1
    assert heard[-1] == "has 1"


def test_importing_starts_and_loads_nothing() -> None:
    look = (
        "import sys, threading, fast_channels.layers; "
        "print(threading.active_count(), {'asgiref.sync', 'ctypes'} & set(sys.modules))"
    )
    printed = subprocess.run(
        [sys.executable, "-c", look], capture_output=True, text=True, timeout=60, check=True
    )
    assert printed.stdout == "1 set()\n"
