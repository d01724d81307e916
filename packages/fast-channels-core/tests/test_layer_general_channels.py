"""General channels: each message goes to exactly one receiver, however receivers come and go."""

import asyncio
import gc
import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from fast_channels.exceptions import ChannelFull
from fast_channels.layers import InMemoryChannelLayer

Settle = Callable[[], Awaitable[None]]
PassTime = Callable[[float], None]


async def drain(layer: InMemoryChannelLayer, channel: str) -> list[Any]:
    await layer.send(channel, {"type": "end", "n": None})
    found: list[Any] = []
    while (number := (await layer.receive(channel))["n"]) is not None:
        found.append(number)
    return found


async def test_messages_wait_for_a_receiver_to_come(layer: InMemoryChannelLayer) -> None:
    for number in range(3):
        await layer.send("jobs", {"type": "a", "n": number})
    assert [(await layer.receive("jobs"))["n"] for _ in range(3)] == [0, 1, 2]


async def test_each_message_goes_to_exactly_one_receiver() -> None:
    layer = InMemoryChannelLayer(capacity=600)
    received: list[list[int]] = [[] for _ in range(5)]

    async def work(mine: list[int]) -> None:
        while (number := (await layer.receive("jobs"))["n"]) is not None:
            mine.append(number)
            await asyncio.sleep(0)

    workers = [asyncio.create_task(work(mine)) for mine in received]
    for number in range(500):
        await layer.send("jobs", {"type": "a", "n": number})
        if number % 7 == 0:
            await asyncio.sleep(0)
    for _ in workers:
        await layer.send("jobs", {"type": "end", "n": None})
    await asyncio.gather(*workers)
    assert sorted(number for mine in received for number in mine) == list(range(500))
    for mine in received:
        assert mine == sorted(mine)


async def test_receivers_are_served_in_the_order_of_their_calls(
    layer: InMemoryChannelLayer, settle: Settle
) -> None:
    receivers: list[asyncio.Task[dict[str, Any]]] = []
    for _ in range(10):
        receivers.append(asyncio.create_task(layer.receive("jobs")))
        await settle()
    for number in range(10):
        await layer.send("jobs", {"type": "a", "n": number})
    assert [(await receiver)["n"] for receiver in receivers] == list(range(10))


async def test_a_receiver_whose_message_was_taken_keeps_its_place(
    layer: InMemoryChannelLayer, settle: Settle
) -> None:
    receivers = [asyncio.create_task(layer.receive("jobs")) for _ in range(3)]
    await settle()
    await layer.send("jobs", {"type": "a", "n": 0})
    # The first receiver was woken, but has not run since.
    assert (await layer.receive("jobs"))["n"] == 0
    await settle()
    for number in range(1, 4):
        await layer.send("jobs", {"type": "a", "n": number})
    assert [(await receiver)["n"] for receiver in receivers] == [1, 2, 3]


@pytest.mark.parametrize("ticks_to_send", range(4))
@pytest.mark.parametrize("ticks_to_cancel", range(5))
@pytest.mark.parametrize("successor", [False, True])
async def test_cancelling_a_receiver_at_any_moment_loses_nothing(
    layer: InMemoryChannelLayer, ticks_to_send: int, ticks_to_cancel: int, successor: bool
) -> None:
    victim = asyncio.create_task(layer.receive("jobs"))
    other = asyncio.create_task(layer.receive("jobs")) if successor else None
    for _ in range(ticks_to_send):
        await asyncio.sleep(0)
    await layer.send("jobs", {"type": "a", "n": 1})
    for _ in range(ticks_to_cancel):
        await asyncio.sleep(0)
    victim.cancel()
    (outcome,) = await asyncio.gather(victim, return_exceptions=True)
    found = [outcome["n"]] if isinstance(outcome, dict) else []
    if other is None:
        found += await drain(layer, "jobs")
    else:
        if found:
            await layer.send("jobs", {"type": "a", "n": 2})
        found.append((await other)["n"])
    assert found in ([1], [1, 2])


async def test_cancelling_every_woken_receiver_wakes_the_next(
    layer: InMemoryChannelLayer, settle: Settle
) -> None:
    victims = [asyncio.create_task(layer.receive("jobs")) for _ in range(5)]
    survivor = asyncio.create_task(layer.receive("jobs"))
    await settle()
    await layer.send("jobs", {"type": "a", "n": 1})
    for victim in victims:
        victim.cancel()
    await asyncio.gather(*victims, return_exceptions=True)
    assert await survivor == {"type": "a", "n": 1}


@pytest.mark.parametrize("seed", range(20))
async def test_receivers_that_give_up_lose_and_repeat_nothing(
    layer: InMemoryChannelLayer, seed: int
) -> None:
    chance = random.Random(seed)
    received: list[int] = []

    async def receive_with_patience() -> None:
        while len(received) < 200:
            try:
                if chance.random() < 0.5:
                    async with asyncio.timeout(chance.choice([0, 1e-6, 1e-4])):
                        message = await layer.receive("jobs")
                else:
                    patience = chance.choice([0, 1e-6, 1e-4])
                    message = await asyncio.wait_for(layer.receive("jobs"), patience)
            except TimeoutError:
                pass
            else:
                received.append(message["n"])

    async def receive_and_be_cancelled() -> None:
        while len(received) < 200:
            receiver = asyncio.create_task(layer.receive("jobs"))
            for _ in range(chance.randrange(6)):
                await asyncio.sleep(0)
            receiver.cancel()
            (outcome,) = await asyncio.gather(receiver, return_exceptions=True)
            if isinstance(outcome, dict):
                received.append(outcome["n"])

    async def send_all() -> None:
        number = 0
        while number < 200:
            try:
                await layer.send("jobs", {"type": "a", "n": number})
                number += 1
            except ChannelFull:
                await asyncio.sleep(0)
            if chance.random() < 0.3:
                await asyncio.sleep(0)

    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        tasks.create_task(send_all())
        for receive in (receive_with_patience, receive_and_be_cancelled) * 2:
            tasks.create_task(receive())
    assert sorted(received) == list(range(200))


async def test_channel_full_is_exact_and_names_the_channel() -> None:
    layer = InMemoryChannelLayer(capacity=3)
    for number in range(3):
        await layer.send("jobs", {"type": "a", "n": number})
    with pytest.raises(ChannelFull) as caught:
        await layer.send("jobs", {"type": "a", "n": 3})
    assert caught.value.channel == "jobs"
    assert (await layer.receive("jobs"))["n"] == 0
    await layer.send("jobs", {"type": "a", "n": 4})
    assert [(await layer.receive("jobs"))["n"] for _ in range(3)] == [1, 2, 4]


def mailboxes() -> int:
    gc.collect()
    return sum(type(thing).__name__ == "Mailbox" for thing in gc.get_objects())


async def test_names_that_hold_nothing_are_forgotten(
    layer: InMemoryChannelLayer, settle: Settle
) -> None:
    before = mailboxes()
    for number in range(100):
        name = f"reply.{number}"
        await layer.send(name, {"type": "a"})
        await layer.receive(name)
        waiting = asyncio.create_task(layer.receive(name))
        await settle()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        del waiting
        await layer.group_add("group", name)
        await layer.group_discard("group", name)
    # The traceback of the last cancellation may still refer to one.
    assert mailboxes() <= before + 1


async def test_names_with_expired_messages_do_not_pile_up(
    layer: InMemoryChannelLayer, pass_time: PassTime
) -> None:
    for number in range(5):
        await layer.group_add("group", f"member.{number}")
    before = mailboxes()
    for number in range(300):
        await layer.send(f"lost.{number}", {"type": "a"})
    assert mailboxes() == before + 300
    await layer.send("kept", {"type": "a", "n": 0})
    pass_time(59)
    await layer.send("kept", {"type": "a", "n": 1})
    pass_time(2)
    # Each new name takes the trouble to look at two old ones.
    for number in range(300):
        await layer.send(f"new.{number}", {"type": "a"})
    assert mailboxes() <= before + 301
    assert await layer.receive("kept") == {"type": "a", "n": 1}


async def test_a_name_that_a_receiver_or_a_group_needs_is_not_forgotten(
    layer: InMemoryChannelLayer, settle: Settle
) -> None:
    receiver = asyncio.create_task(layer.receive("waited-for"))
    await layer.group_add("group", "member")
    await settle()
    for number in range(50):
        await layer.send(f"other.{number}", {"type": "a"})
    await layer.send("waited-for", {"type": "a", "n": 1})
    await layer.group_send("group", {"type": "a", "n": 2})
    assert (await receiver)["n"] == 1
    assert (await layer.receive("member"))["n"] == 2
