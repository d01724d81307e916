"""Event loops that end without a word, and several of them over one layer."""

import asyncio
import gc
import importlib
import threading
import warnings
import weakref
from collections.abc import Callable, Coroutine
from importlib.util import find_spec
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from tcp_broker import Broker, TcpLayer, joined, message, numbers, reached, take

Runner = Callable[[Coroutine[Any, Any, None]], None]


async def talk(layer: TcpLayer) -> None:
    """Use everything that a node has, and leave it as it is."""
    channel = await joined(layer, "room")
    await layer.group_send("room", message(1))
    await layer.send("tasks", message(2))
    assert await numbers(layer, channel, 1) == [1]
    assert await numbers(layer, "tasks", 1) == [2]


def run_with_asyncio(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(work)


def run_with_asgiref(work: Coroutine[Any, Any, None]) -> None:
    async def call() -> None:
        await work

    async_to_sync(call)()


def run_with_uvloop(work: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=importlib.import_module("uvloop").new_event_loop) as runner:
        runner.run(work)


each_way_to_run = pytest.mark.parametrize(
    "run",
    [
        run_with_asyncio,
        run_with_asgiref,
        pytest.param(
            run_with_uvloop,
            marks=pytest.mark.skipif(find_spec("uvloop") is None, reason="needs uvloop"),
        ),
    ],
)


@each_way_to_run
def test_loops_that_end_without_close_give_everything_back(
    thread_broker: Broker, run: Runner
) -> None:
    layer = TcpLayer(thread_broker.port)
    nodes = weakref.WeakSet[object]()
    for _ in range(20):
        run(talk(layer))
        assert layer.connections[0].link is None
        nodes.update(layer.nodes)
        layer.nodes.clear()
        layer.connections.clear()
    asyncio.run(reached(lambda: not thread_broker.inboxes))
    gc.collect()
    # The node of the last loop may be remembered until there is another one.
    assert len(nodes) <= 1


def test_a_sender_without_a_loop_of_its_own_sends_in_order(thread_broker: Broker) -> None:
    layer = TcpLayer(thread_broker.port)

    async def hear() -> list[int]:
        channel = await joined(layer, "room")
        send = async_to_sync(layer.group_send)
        await asyncio.to_thread(lambda: [send("room", message(number)) for number in range(50)])
        return await numbers(layer, channel, 50)

    assert asyncio.run(hear()) == list(range(50))


async def wait_for_everything(layer: TcpLayer, broker: Broker) -> None:
    """Leave calls of every kind waiting."""
    channel = await joined(layer, "room")
    hold = broker.hold("subscribe")
    calls: list[Coroutine[Any, Any, object]] = [
        layer.receive(channel),
        layer.receive("tasks"),
        layer.group_add("other", channel),
    ]
    tasks = [asyncio.create_task(call) for call in calls]
    await hold.arrived_in_another_thread()
    assert not any(task.done() for task in tasks)


@each_way_to_run
def test_loops_that_end_while_calls_wait(thread_broker: Broker, run: Runner) -> None:
    layer = TcpLayer(thread_broker.port)
    run(wait_for_everything(layer, thread_broker))
    assert layer.connections[0].link is None
    thread_broker.holds.clear()
    run(talk(layer))


@each_way_to_run
def test_loops_that_end_while_the_layer_closes_or_the_broker_is_away(
    thread_broker: Broker, run: Runner
) -> None:
    layer = TcpLayer(thread_broker.port)

    async def begin_to_close(steps: int) -> None:
        await talk(layer)
        closing = asyncio.create_task(layer.close())
        for _ in range(steps):
            await asyncio.sleep(0)
        assert not closing.done()

    async def lose_the_broker() -> None:
        await talk(layer)
        await thread_broker.on_its_loop(thread_broker.stop())
        await reached(lambda: layer.connections[-1].link is None)

    for steps in range(3):
        run(begin_to_close(steps))
        assert layer.connections[-1].link is None
    run(lose_the_broker())
    run(thread_broker.on_its_loop(thread_broker.start()))
    run(talk(layer))


def test_a_loop_that_is_closed_by_force_is_forgotten(thread_broker: Broker) -> None:
    layer = TcpLayer(thread_broker.port)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        for _ in range(5):
            loop = asyncio.new_event_loop()
            loop.run_until_complete(talk(layer))
            loop.close()
            forgotten = weakref.ref(layer.nodes.pop())
            layer.connections.clear()
            del loop
            asyncio.run(talk(layer))
            gc.collect()
            assert forgotten() is None


def test_eight_threads_over_one_layer(thread_broker: Broker) -> None:
    """Each with a loop of its own; all hear all in one order, and answer each other."""
    layer = TcpLayer(thread_broker.port, capacity=10_000)
    threads, each = 8, 50
    all_joined = threading.Barrier(threads)
    all_heard = threading.Barrier(threads)
    channels: list[str] = []
    orders: list[list[tuple[int, int]]] = []
    failures: list[BaseException] = []

    async def work(sender: int) -> None:
        room, own = await joined(layer, "room"), await layer.new_channel()
        channels.append(own)
        await asyncio.to_thread(all_joined.wait, 20)
        for number in range(each):
            await layer.group_send("room", message(number, sender=sender))
            await layer.send(channels[(sender + number) % threads], message(number, sender=sender))
            await layer.send("tasks", message(number))
        heard = await take(layer, room, threads * each)
        orders.append([(item["sender"], item["number"]) for item in heard])
        direct = await take(layer, own, each)
        for other in range(threads):
            received = [item["number"] for item in direct if item["sender"] == other]
            assert received == sorted(received)
        await take(layer, "tasks", each)
        await asyncio.to_thread(all_heard.wait, 20)

    def run(sender: int) -> None:
        try:
            asyncio.run(work(sender))
        except BaseException as error:
            failures.append(error)

    started = [threading.Thread(target=run, args=(sender,)) for sender in range(threads)]
    for thread in started:
        thread.start()
    for thread in started:
        thread.join(30)
    assert not failures
    assert all(order == orders[0] for order in orders)
    assert sorted(orders[0]) == [(s, n) for s in range(threads) for n in range(each)]
    assert len({node.id for node in layer.nodes}) == threads


def test_a_message_crosses_from_one_loop_to_another(thread_broker: Broker) -> None:
    """A channel belongs to the loop that opened it, and any other may send to it."""
    layer = TcpLayer(thread_broker.port)

    async def ask() -> None:
        channel = await layer.new_channel()

        def answer() -> None:
            asyncio.run(layer.send(channel, message(1)))
            asyncio.run(layer.group_add("room", channel))
            asyncio.run(layer.group_send("room", message(2)))

        await asyncio.to_thread(answer)
        assert await numbers(layer, channel, 2) == [1, 2]

    asyncio.run(ask())
