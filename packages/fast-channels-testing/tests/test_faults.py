"""What a faulty layer does to channels and groups, by hand and by chance."""

import asyncio
import gc
import threading
import weakref
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest

from fast_channels.exceptions import (
    ChannelClosed,
    ChannelFull,
    ChannelLayerUnavailable,
    InvalidMessageError,
)
from fast_channels.layers import BaseChannelLayer, InMemoryChannelLayer
from fast_channels.statistics import statistics
from fast_channels.types import Message
from fast_channels_testing import Fault, FaultyChannelLayer

DEADLINE = 20.0
"""Seconds. Only a test that fails ever waits that long."""

Make = Callable[..., FaultyChannelLayer]


@pytest.fixture
async def make() -> AsyncIterator[Make]:
    layers: list[FaultyChannelLayer] = []

    def make(**options: Any) -> FaultyChannelLayer:
        layers.append(FaultyChannelLayer(InMemoryChannelLayer(), **options))
        return layers[-1]

    yield make
    for layer in layers:
        await layer.close()
        assert layer.channels == ()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def soon(work: Coroutine[Any, Any, Message]) -> Message:
    async with asyncio.timeout(DEADLINE):
        return await work


async def receive(layer: BaseChannelLayer, channel: str, count: int) -> list[int]:
    """The numbers of the next messages."""
    return [(await soon(layer.receive(channel)))["n"] for _ in range(count)]


def numbered(n: int) -> Message:
    return {"type": "n", "n": n}


async def send(layer: BaseChannelLayer, channel: str, count: int, start: int = 0) -> None:
    for n in range(start, start + count):
        await layer.send(channel, numbered(n))


async def members(layer: FaultyChannelLayer, count: int) -> list[str]:
    channels = [await layer.new_channel() for _ in range(count)]
    for channel in channels:
        await layer.group_add("room", channel)
    return channels


# One fault by hand.


async def test_a_dropped_message_does_not_arrive(make: Make) -> None:
    layer = make()
    channel = await layer.new_channel()
    layer.inject("drop")
    await send(layer, channel, 3)
    assert await receive(layer, channel, 2) == [1, 2]
    assert layer.faults == (Fault("drop", "delivery", "specific#1", numbered(0)),)
    assert layer.faults[0].name == channel


async def test_a_duplicate_arrives_twice_and_shares_nothing(make: Make) -> None:
    layer = make()
    channel = await layer.new_channel()
    layer.inject("duplicate")
    await layer.send(channel, {"type": "n", "n": [0]})
    first, second = [await soon(layer.receive(channel)) for _ in range(2)]
    first["n"].append(1)
    assert second == {"type": "n", "n": [0]}


async def test_the_next_message_overtakes_one_that_is_reordered(make: Make) -> None:
    layer = make(patience=DEADLINE)
    channel = await layer.new_channel()
    layer.inject("reorder")
    await send(layer, channel, 4)
    assert await receive(layer, channel, 4) == [1, 0, 2, 3]


async def test_a_message_that_nothing_overtakes_arrives_in_the_end(make: Make) -> None:
    layer = make(patience=0.001)
    channel = await layer.new_channel()
    layer.inject("reorder")
    await send(layer, channel, 1)
    assert await receive(layer, channel, 1) == [0]


async def test_a_message_cannot_be_overtaken_by_one_that_waits_itself(make: Make) -> None:
    layer = make(patience=DEADLINE)
    channel = await layer.new_channel()
    layer.inject("reorder", times=2)
    await send(layer, channel, 3)
    assert await receive(layer, channel, 3) == [1, 0, 2]


async def test_a_full_channel_refuses_a_message(make: Make) -> None:
    layer = make()
    channel = await layer.new_channel()
    layer.inject("full")
    with pytest.raises(ChannelFull):
        await layer.send(channel, numbered(0))
    await send(layer, channel, 1, start=1)
    assert await receive(layer, channel, 1) == [1]


async def test_one_member_misses_what_another_gets(make: Make) -> None:
    layer = make()
    ada, bob = await members(layer, 2)
    layer.inject("drop", to=bob)
    layer.inject("full", to=ada)
    await layer.group_send("room", numbered(0))
    await layer.group_send("room", numbered(1))
    assert await receive(layer, ada, 1) == [1]
    assert await receive(layer, bob, 1) == [1]
    assert [(fault.kind, fault.target) for fault in layer.faults] == [
        ("full", "specific#1"),
        ("drop", "specific#2"),
    ]


async def test_a_fault_may_be_for_one_type_of_message(make: Make) -> None:
    layer = make()
    channel = await layer.new_channel()
    layer.inject("drop", type="other", times=2)
    await send(layer, channel, 2)
    await layer.send(channel, {"type": "other", "n": 2})
    await send(layer, channel, 1, start=3)
    assert await receive(layer, channel, 3) == [0, 1, 3]


async def test_a_call_finds_no_broker_and_the_next_one_does(make: Make) -> None:
    layer = make()
    (channel,) = await members(layer, 1)
    layer.inject("disconnect", to="room", times=2)
    await send(layer, channel, 1)
    with pytest.raises(ChannelLayerUnavailable, match="injected this fault, with the seed 0"):
        await layer.group_send("room", numbered(1))
    with pytest.raises(ChannelLayerUnavailable):
        await layer.group_add("room", channel)
    await layer.group_send("room", numbered(2))
    assert await receive(layer, channel, 2) == [0, 2]
    assert layer.faults == (
        Fault("disconnect", "group_send", "room", numbered(1)),
        Fault("disconnect", "group_add", "room", None),
    )


async def test_the_record_shares_nothing_with_the_sender(make: Make) -> None:
    layer = make()
    layer.inject("disconnect")
    numbers = [0]
    message = {"type": "n", "n": numbers}
    with pytest.raises(ChannelLayerUnavailable):
        await layer.group_send("room", message)
    numbers.append(1)
    assert layer.faults[0].message == {"type": "n", "n": [0]}


@pytest.mark.parametrize("message", [{"type": "n", "lock": threading.Lock()}, 5, None])
async def test_what_a_layer_refuses_is_refused_by_it(make: Make, message: Any) -> None:
    layer = make()
    layer.inject("disconnect", type="other")
    layer.inject("drop", type="other")
    for call in (layer.send, layer.group_send):
        with pytest.raises(InvalidMessageError):
            await call("work", message)
    assert layer.faults == ()


async def test_a_channel_of_another_process_has_a_label_that_is_the_same_in_every_run(
    make: Make,
) -> None:
    layer = make()
    layer.inject("disconnect")
    with pytest.raises(ChannelLayerUnavailable):
        await layer.send("chat.0123456789abcdef!1", numbered(0))
    assert layer.faults == (Fault("disconnect", "send", "chat#?", numbered(0)),)


# States.


async def test_while_it_is_disconnected_calls_fail_and_messages_are_lost(make: Make) -> None:
    layer = make()
    (channel,) = await members(layer, 1)
    await send(layer, channel, 1)
    with layer.disconnected():
        for call in (
            layer.send(channel, numbered(1)),
            layer.send("work", numbered(1)),
            layer.group_send("room", numbered(1)),
            layer.group_add("room", channel),
        ):
            with pytest.raises(ChannelLayerUnavailable):
                await call
        # Another process sends, and nothing of it gets here.
        await layer.inner.group_send("room", numbered(2))
        await layer.group_discard("other", channel)
        assert await receive(layer, channel, 1) == [0]
    await layer.group_send("room", numbered(3))
    assert await receive(layer, channel, 1) == [3]


async def test_what_is_on_the_way_is_lost_with_the_connection(make: Make) -> None:
    layer = make(delay=DEADLINE)
    channel = await layer.new_channel()
    layer.inject("reorder", to=channel)
    await send(layer, channel, 3)
    with layer.disconnected():
        pass
    assert [fault.message for fault in layer.faults if fault.kind == "disconnect"] == [
        numbered(1),
        numbered(0),
        numbered(2),
    ]


@pytest.mark.parametrize("way", ["a call", "an outage", "a flush"])
async def test_nothing_that_is_lost_on_the_way_comes_later(make: Make, way: str) -> None:
    layer = make(patience=DEADLINE)
    channel = await layer.new_channel()
    layer.inject("reorder")
    with layer.stalled():
        await send(layer, channel, 3)
        await lose_all(layer, way)
    layer.inject("reorder")
    await send(layer, channel, 1)
    await lose_all(layer, way)
    await send(layer, channel, 3, start=3)
    assert await receive(layer, channel, 3) == [3, 4, 5]
    await send(layer, channel, 1, start=6)
    assert await receive(layer, channel, 1) == [6]


async def lose_all(layer: FaultyChannelLayer, way: str) -> None:
    if way == "a flush":
        await layer.flush()
    elif way == "an outage":
        with layer.disconnected():
            pass
    else:
        layer.inject("disconnect")
        with pytest.raises(ChannelLayerUnavailable):
            await layer.group_send("room", {"type": "n"})


async def test_only_consumers_are_told_of_a_gap(make: Make) -> None:
    layer = make()
    channel = await layer.new_channel()
    with layer.disconnected():
        pass
    await send(layer, channel, 1)
    assert await receive(layer, channel, 1) == [0]


async def test_a_filled_channel_refuses_until_it_is_not(make: Make) -> None:
    layer = make()
    ada, bob = await members(layer, 2)
    with layer.filled(ada):
        await layer.group_send("room", numbered(0))
        with pytest.raises(ChannelFull):
            await layer.send(ada, numbered(1))
    with layer.filled(), pytest.raises(ChannelFull):
        await layer.send("work", numbered(2))
    await layer.group_send("room", numbered(3))
    assert await receive(layer, ada, 1) == [3]
    assert await receive(layer, bob, 2) == [0, 3]


async def test_what_is_stalled_arrives_in_the_end_in_order(make: Make) -> None:
    layer = make()
    ada, bob = await members(layer, 2)
    with layer.stalled(ada):
        for n in range(3):
            await layer.group_send("room", numbered(n))
        assert await receive(layer, bob, 3) == [0, 1, 2]
        waiting = asyncio.create_task(layer.receive(ada))
        await asyncio.sleep(0)
        assert not waiting.done()
    assert await waiting == numbered(0)
    assert await receive(layer, ada, 2) == [1, 2]


async def test_what_is_stalled_goes_with_its_channel(make: Make) -> None:
    layer = make()
    channel = await layer.new_channel()
    with layer.stalled():
        await send(layer, channel, 1)
        await layer.close_channel(channel)
    with pytest.raises(ChannelClosed):
        await layer.receive(channel)


async def test_states_may_overlap(make: Make) -> None:
    layer = make()
    channel = await layer.new_channel()
    with layer.stalled():
        with layer.stalled(channel), layer.disconnected(), layer.disconnected():
            pass
        await send(layer, channel, 1)
        waiting = asyncio.create_task(layer.receive(channel))
        await asyncio.sleep(0)
        assert not waiting.done()
    assert await waiting == numbered(0)


# Delay.


async def test_delayed_messages_arrive_late_and_in_order(make: Make) -> None:
    layer = make(delay=(0.001, 0.03))
    channel = await layer.new_channel()
    loop = asyncio.get_running_loop()
    started = loop.time()
    await send(layer, channel, 20)
    assert await receive(layer, channel, 20) == list(range(20))
    delays = [fault.delay for fault in layer.faults]
    assert len(set(delays)) == 20
    assert min(delays) >= 0.001
    assert max(delays) <= 0.03
    # Together, not one after the other; loops may be early by the resolution of their clocks.
    assert loop.time() - started > max(delays) - 0.005


async def test_closing_drops_what_is_late(make: Make) -> None:
    layer = make(delay=DEADLINE)
    channel = await layer.new_channel()
    await send(layer, channel, 3)
    await layer.close()
    with pytest.raises(ChannelClosed):
        await layer.receive(channel)


async def test_nothing_of_a_closed_layer_is_left() -> None:
    layer = FaultyChannelLayer(InMemoryChannelLayer(), delay=3600, patience=3600)
    for kind in ("reorder", "duplicate"):
        layer.inject(kind)
        await layer.send(await layer.new_channel(), numbered(0))
    await layer.close()
    # A timer of the loop would hold it.
    left = weakref.ref(layer)
    del layer
    gc.collect()
    assert left() is None


async def test_flushing_drops_what_is_late(make: Make) -> None:
    layer = make()
    channel = await layer.new_channel()
    with layer.stalled():
        await send(layer, channel, 3)
        await layer.flush()
    await send(layer, channel, 1, start=3)
    assert await receive(layer, channel, 1) == [3]


async def test_a_late_message_to_a_full_channel_is_lost(make: Make) -> None:
    layer = FaultyChannelLayer(InMemoryChannelLayer(capacity=2))
    channel = await layer.new_channel()
    missed = statistics.snapshot().get("event.full", 0)
    with layer.stalled():
        await send(layer, channel, 4)
    assert statistics.snapshot()["event.full"] == missed + 2
    assert await receive(layer, channel, 2) == [0, 1]
    await send(layer, channel, 1, start=4)
    assert await receive(layer, channel, 1) == [4]
    await layer.close()


async def test_a_cancelled_receive_loses_nothing_that_is_late(make: Make) -> None:
    layer = make(delay=(0, 0.002), duplicate=0.3, reorder=0.3, patience=0.001)
    channel = await layer.new_channel()
    await send(layer, channel, 50)
    expected = 50 + sum(fault.kind == "duplicate" for fault in layer.faults)
    received: list[int] = []
    async with asyncio.timeout(DEADLINE):
        while len(received) < expected:
            receiving = asyncio.create_task(layer.receive(channel))
            await asyncio.sleep(0)
            receiving.cancel()
            await asyncio.wait([receiving])
            if not receiving.cancelled():
                received.append(receiving.result()["n"])
    assert set(received) == set(range(50))


# General channels.


async def test_messages_to_a_general_channel_have_faults_too(make: Make) -> None:
    layer = make(patience=0.001)
    layer.inject("drop", to="work")
    layer.inject("duplicate", to="work")
    layer.inject("full", to="work")
    layer.inject("reorder", to="work")
    await send(layer, "work", 2)
    with pytest.raises(ChannelFull):
        await layer.send("work", numbered(2))
    await send(layer, "work", 1, start=3)
    assert await receive(layer, "work", 3) == [1, 1, 3]
    assert [fault.target for fault in layer.faults] == ["work"] * 4


async def test_a_duplicate_for_which_there_is_no_room_is_nobodys_error(make: Make) -> None:
    layer = FaultyChannelLayer(InMemoryChannelLayer(capacity=1), duplicate=1)
    await layer.send("work", numbered(0))
    assert await receive(layer, "work", 1) == [0]
    await layer.close()


async def test_a_cancelled_send_to_a_general_channel_has_sent_nothing(make: Make) -> None:
    layer = make(delay=DEADLINE)
    sending = asyncio.create_task(layer.send("work", numbered(0)))
    await asyncio.sleep(0)
    sending.cancel()
    await asyncio.wait([sending])
    await layer.inner.send("work", numbered(1))
    assert await receive(layer, "work", 1) == [1]


# By chance.

CHANCES = {"drop": 0.2, "duplicate": 0.1, "reorder": 0.1, "full": 0.1, "disconnect": 0.1}


async def a_run(layer: FaultyChannelLayer, *, turns: int = 0, others: int = 0) -> list[Fault]:
    """The same calls each time; ``others`` go to another group in between."""
    channels = [await layer.new_channel() for _ in range(3)]
    strangers = [await layer.new_channel("other") for _ in range(2)]
    for channel in channels:
        await layer.inner.group_add("room", channel)
    for channel in strangers:
        await layer.inner.group_add("others", channel)
    for n in range(60):
        groups = ["room", *["others"] * others]
        for group in groups:
            await tried(layer.group_send(group, numbered(n)))
        for channel in (channels[n % 3], "work"):
            await tried(layer.send(channel, numbered(n)))
        for _ in range(turns):
            await asyncio.sleep(0)
    return [fault for fault in layer.faults if "other" not in fault.target]


async def tried(call: Coroutine[Any, Any, None]) -> None:
    try:
        await call
    except (ChannelFull, ChannelLayerUnavailable):
        pass


async def test_the_same_seed_and_calls_have_the_same_faults(make: Make) -> None:
    runs = [
        await a_run(make(seed=7, patience=0.001, **CHANCES), turns=turns) for turns in (0, 0, 3)
    ]
    assert runs[0] == runs[1] == runs[2]
    assert {fault.kind for fault in runs[0]} == set(CHANCES)
    assert runs[0] != await a_run(make(seed=8, patience=0.001, **CHANCES))


async def test_other_channels_do_not_change_the_faults_of_one(make: Make) -> None:
    chances = {**CHANCES, "disconnect": 0, "patience": 0.001}
    assert await a_run(make(**chances)) == await a_run(make(**chances), others=2)


async def test_a_fault_by_hand_does_not_change_those_by_chance(make: Make) -> None:
    later: list[list[Fault]] = []
    for by_hand in (False, True):
        layer = make(drop=0.3)
        if by_hand:
            layer.inject("full", type="first")
        await members(layer, 1)
        await layer.group_send("room", {"type": "first"})
        for n in range(40):
            await layer.group_send("room", numbered(n))
        later.append([fault for fault in layer.faults if fault.message != {"type": "first"}])
        assert (layer.faults[0].kind == "full") is by_hand
    assert later[0] == later[1]
    assert later[0]


async def test_each_fault_happens_as_often_as_it_should(make: Make) -> None:
    layer = make(drop=0.3, duplicate=0.1, full=0.2, disconnect=0.5)
    channel = await layer.new_channel()
    await layer.inner.group_add("room", channel)
    for n in range(2000):
        await tried(layer.group_send("room", numbered(n)))
    kinds = Counter[str](fault.kind for fault in layer.faults)
    assert 900 < kinds["disconnect"] < 1100
    delivered = 2000 - kinds["disconnect"]
    for kind, chance in (("drop", 0.3), ("duplicate", 0.1), ("full", 0.2)):
        assert abs(kinds[kind] / delivered - chance) < 0.05


async def test_a_run_without_a_seed_takes_that_of_the_environment(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FAST_CHANNELS_FAULT_SEED", raising=False)
    assert make().seed == 0
    monkeypatch.setenv("FAST_CHANNELS_FAULT_SEED", "42")
    assert make().seed == 42
    assert make(seed=7).seed == 7
    monkeypatch.setenv("FAST_CHANNELS_FAULT_SEED", "x")
    with pytest.raises(ValueError, match="FAST_CHANNELS_FAULT_SEED is 'x', expected a whole"):
        make()


async def test_its_repr_says_how_to_make_it_again(make: Make) -> None:
    layer = make(seed=7, drop=0.1, delay=0.5)
    assert repr(layer) == (
        "FaultyChannelLayer(InMemoryChannelLayer, seed=7, drop=0.1, delay=(0.5, 0.5))"
    )


# What it is given.


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"drop": 1.5}, "drop is 1.5, expected a probability from 0 to 1"),
        ({"disconnect": -0.1}, "disconnect is -0.1"),
        ({"full": True}, "full is True"),
        ({"drop": 0.6, "full": 0.5}, "add up to 1.1: at most one of them happens"),
        ({"delay": (2, 1)}, r"delay is \(2, 1\), expected seconds"),
        ({"delay": -1}, "delay is"),
        ({"patience": 0}, "patience is 0, expected seconds above 0"),
    ],
)
def test_what_is_no_chance_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FaultyChannelLayer(InMemoryChannelLayer(), **options)


async def test_what_cannot_be_injected_is_refused(make: Make) -> None:
    kind: Any = "delay"
    with pytest.raises(ValueError, match="expected one of .*, got 'delay'"):
        make().inject(kind)
    with pytest.raises(ValueError, match="times is 0, expected 1 or more"):
        make().inject("drop", times=0)


# Threads.


async def test_senders_and_receivers_may_be_in_different_threads(make: Make) -> None:
    layer = make(seed=3, delay=(0, 0.002), duplicate=0.2, reorder=0.2, patience=0.001)
    channel = await layer.new_channel()
    await layer.group_add("room", channel)

    def send_from_a_thread(start: int) -> None:
        async def work() -> None:
            for n in range(start, start + 40):
                await layer.group_send("room", numbered(n))

        asyncio.run(work())

    await asyncio.gather(*[asyncio.to_thread(send_from_a_thread, n) for n in (0, 40)])
    duplicates = sum(fault.kind == "duplicate" for fault in layer.faults)
    assert duplicates
    received = await receive(layer, channel, 80 + duplicates)
    assert set(received) == set(range(80))


async def test_states_may_be_changed_where_no_loop_runs(make: Make) -> None:
    layer = make()
    channel = await layer.new_channel()
    stalled = layer.stalled(channel)
    await asyncio.to_thread(stalled.__enter__)
    await send(layer, channel, 1)
    waiting = asyncio.create_task(layer.receive(channel))
    await asyncio.sleep(0)
    assert not waiting.done()
    await asyncio.to_thread(stalled.__exit__, None, None, None)
    assert await soon(asyncio.wait_for(waiting, None)) == numbered(0)


async def test_what_was_stalled_comes_before_what_is_sent_then(make: Make) -> None:
    layer = make()
    channel = await layer.new_channel()
    with layer.stalled(channel):
        stalled = layer.stalled(channel)
        stalled.__enter__()
        await send(layer, channel, 1)
    ending = threading.Thread(target=stalled.__exit__, args=(None, None, None))
    ending.start()
    ending.join()
    # The loop has had no turn since.
    await send(layer, channel, 1, start=1)
    assert await receive(layer, channel, 2) == [0, 1]
