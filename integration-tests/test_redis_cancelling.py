"""Callers give up at any moment: nobody gets another's reply or message, and nothing is lost."""

import asyncio
import random
from collections.abc import Awaitable
from contextlib import suppress
from typing import cast

import pytest
from layer_faults import MakeLayer, both_layers, on_one_server, within_deadline
from redis_servers import Proxy, RedisServer
from redis_servers.fixtures import ServerFactory

from fast_channels.types import Message
from fast_channels_redis._connection import RedisConnection
from fast_channels_redis._layer import RedisLayer

pytestmark = pytest.mark.slow

CALLERS = 20
CALLS = 200
"""For each caller: four thousand in all."""

JOBS = 2_000


async def give_up_somewhere(call: Awaitable[object], chance: random.Random) -> bool:
    """Whether it came to its end before it was cancelled."""
    task = asyncio.ensure_future(call)
    if chance.random() < 0.5:
        for _ in range(chance.randrange(8)):
            await asyncio.sleep(0)
    else:
        await asyncio.wait([task], timeout=chance.uniform(0, 0.008))
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
        return True
    return False


@both_layers
@pytest.mark.parametrize("protocol", [2, 3])
async def test_no_call_sees_the_reply_of_another(
    redis_server: RedisServer, make_layer: MakeLayer, kind: str, protocol: int
) -> None:
    with Proxy(redis_server.address) as proxy:
        layer = make_layer(kind, proxy.url, connection_kwargs={"protocol": protocol})
        await layer.new_channel()
        proxy.delay = 0.001
        node = layer._own_node()  # pyright: ignore[reportPrivateUsage]  # replies are what it is about
        shards = cast(RedisConnection, node.connection).shards
        finished = cancelled = 0

        async def call_again_and_again(caller: int) -> None:
            nonlocal finished, cancelled
            chance = random.Random(caller)
            for number in range(CALLS):
                token = f"{caller}-{number}".encode()

                async def echo(token: bytes = token) -> None:
                    assert await shards.call("any", "ECHO", token) == token

                if await give_up_somewhere(echo(), chance):
                    finished += 1
                else:
                    cancelled += 1

        await within_deadline(asyncio.gather(*map(call_again_and_again, range(CALLERS))))
        assert min(finished, cancelled) >= 100


class Visitor:
    """Does at random all that a layer can do, on one channel of its own."""

    def __init__(self, layer: RedisLayer, index: int, channels: list[str]) -> None:
        self.layer = layer
        self.index = index
        self.channels = channels
        self.chance = random.Random(index)
        self.cancelled = 0

    async def run(self) -> None:
        for number in range(CALLS):
            call = self.chance.choice(
                (self.send, self.group_send, self.push, self.join, self.leave, self.receive)
            )
            if not await give_up_somewhere(call(number), self.chance):
                self.cancelled += 1

    @property
    def channel(self) -> str:
        return self.channels[self.index]

    async def send(self, number: int) -> None:
        target = self.chance.choice(self.channels)
        await self.layer.send(target, {"type": "m", "for": target})

    async def group_send(self, number: int) -> None:
        await self.layer.group_send(f"room{number % 10}", {"type": "m", "group": number % 10})

    async def push(self, number: int) -> None:
        await self.layer.send(f"jobs{number % 3}", {"type": "m", "for": f"jobs{number % 3}"})

    async def join(self, number: int) -> None:
        await self.layer.group_add(f"room{number % 10}", self.chance.choice(self.channels))

    async def leave(self, number: int) -> None:
        await self.layer.group_discard(f"room{number % 10}", self.chance.choice(self.channels))

    async def receive(self, number: int) -> None:
        channel = self.channel if number % 2 else f"jobs{number % 3}"
        check(await self.layer.receive(channel), channel)


def check(message: Message, channel: str) -> None:
    assert message.get("for", channel) == channel


@both_layers
async def test_no_channel_gets_what_is_for_another(
    redis_server: RedisServer, make_layer: MakeLayer, kind: str
) -> None:
    with Proxy(redis_server.address) as proxy:
        layers = [make_layer(kind, proxy.url, linger=0) for _ in range(2)]
        channels = [await layers[n % 2].new_channel() for n in range(CALLERS)]
        proxy.delay = 0.001
        visitors = [Visitor(layers[n % 2], n, channels) for n in range(CALLERS)]
        await within_deadline(asyncio.gather(*(visitor.run() for visitor in visitors)))
        assert sum(visitor.cancelled for visitor in visitors) >= 1000
        proxy.delay = 0
        for number in range(10):
            # Whatever was broken off: who joins now is a member, and who leaves is none.
            group = f"room{number}"
            for visitor in visitors:
                await visitor.layer.group_discard(group, visitor.channel)
            await asyncio.gather(*(v.layer.group_add(group, v.channel) for v in visitors))
            await layers[number % 2].group_send(group, {"type": "last", "number": number})
            for visitor in visitors:
                message: Message = {"type": ""}
                while message["type"] != "last":
                    message = await within_deadline(visitor.layer.receive(visitor.channel))
                    check(message, visitor.channel)
                assert message["number"] == number


@both_layers
async def test_giving_up_receiving_loses_nothing(
    redis_server: RedisServer, make_layer: MakeLayer, kind: str
) -> None:
    here, there = (make_layer(kind, redis_server.url) for _ in range(2))
    channel = await here.new_channel()
    await here.group_add("room", channel)
    chance = random.Random(1)
    received: list[int] = []

    async def receive() -> None:
        message = await here.receive(channel)
        received.append(message["number"])

    async def send() -> None:
        for number in range(JOBS):
            await there.group_send("room", {"type": "m", "number": number})

    async def receive_all() -> None:
        while len(received) < JOBS:
            await give_up_somewhere(receive(), chance)

    await within_deadline(asyncio.gather(send(), receive_all()))
    assert received == list(range(JOBS))


@both_layers
async def test_each_job_is_done_once_whoever_gives_up_waiting(
    redis_server: RedisServer, make_layer: MakeLayer, kind: str
) -> None:
    layers = [make_layer(kind, redis_server.url) for _ in range(5)]
    done: list[int] = []
    all_done = asyncio.Event()
    ends = False

    def finish(message: Message) -> None:
        done.append(message["number"])
        if len(done) >= JOBS:
            all_done.set()

    async def timing_out(layer: RedisLayer, chance: random.Random) -> None:
        while not ends:
            with suppress(TimeoutError):
                finish(await asyncio.wait_for(layer.receive("jobs"), chance.uniform(0, 0.003)))

    async def cancelled(layer: RedisLayer, chance: random.Random) -> None:
        async def receive() -> None:
            finish(await layer.receive("jobs"))

        while not ends:
            await give_up_somewhere(receive(), chance)

    workers = [
        asyncio.create_task((cancelled if number % 2 else timing_out)(layer, random.Random(number)))
        for number, layer in enumerate(layers[:4])
    ]
    for number in range(JOBS):
        await layers[4].send("jobs", {"type": "job", "number": number})
    await within_deadline(all_done.wait())
    # What would come twice would come within the second that messages are kept for a receiver.
    await asyncio.sleep(1.5)
    ends = True
    await within_deadline(asyncio.gather(*workers))
    assert sorted(done) == list(range(JOBS))


@on_one_server
@both_layers
async def test_jobs_on_connections_that_break(
    own_server: ServerFactory, make_layer: MakeLayer, kind: str
) -> None:
    """What Redis gave to a connection that broke on the way is not lost until it expires."""
    server = own_server()
    with Proxy(server.address) as proxy:
        sender = make_layer(kind, server.url)
        workers = [make_layer(kind, proxy.url) for _ in range(2)]
        done: list[int] = []
        all_done = asyncio.Event()

        async def work(layer: RedisLayer) -> None:
            while True:
                done.append((await layer.receive("jobs"))["number"])
                if len(done) >= 200:
                    all_done.set()

        working = [asyncio.create_task(work(layer)) for layer in workers]
        for number in range(200):
            await sender.send("jobs", {"type": "job", "number": number})
            if number % 20 == 10:
                proxy.blackhole(requests=False)  # so that replies are on their way
            if number % 20 == 15:
                await asyncio.sleep(0.01)
                proxy.cut()
                proxy.heal()
        await within_deadline(all_done.wait())
        for task in working:
            task.cancel()
        await asyncio.gather(*working, return_exceptions=True)
        assert sorted(done) == list(range(200))
