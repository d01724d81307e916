"""Others come and go, on several layers and servers: who stays gets everything, once, in order."""

import asyncio
from collections.abc import Callable
from itertools import count

import pytest
from layer_faults import MakeLayer, Member, Sender, both_layers, on_one_server, within_deadline
from redis_servers import RedisServer
from redis_servers.fixtures import ServerFactory

from fast_channels_redis._layer import RedisLayer

pytestmark = pytest.mark.slow

MESSAGES = 4_000
STAY, COME_AND_GO = 5, 8
REPETITIONS = 1_000


async def come_and_go(layers: list[RedisLayer], ended: Callable[[], bool]) -> int:
    """Open, join, receive one message or none, leave in one of several ways."""
    for visit in count():
        if ended():
            return visit
        layer = layers[visit % len(layers)]
        channel = await layer.new_channel()
        await layer.group_add("room", channel)
        if visit % 3 == 0:
            await within_deadline(layer.receive(channel))
        elif visit % 3 == 1:
            receiving = asyncio.create_task(layer.receive(channel))
            await asyncio.sleep(0)
            receiving.cancel()
            await layer.group_discard("room", channel)
        await layer.close_channel(channel)
    raise AssertionError


@both_layers
@pytest.mark.parametrize("linger", [0, 1])
async def test_who_stays_gets_everything(
    redis_server: RedisServer, make_layer: MakeLayer, kind: str, linger: float
) -> None:
    layers = [make_layer(kind, redis_server.url, linger=linger) for _ in range(4)]
    # On two of them are members that stay, on the others nobody but visitors.
    members = [await Member().join(layers[n % 2], "room") for n in range(STAY)]
    senders = [Sender(layer, f"sender{n}", "room", 0) for n, layer in enumerate(layers[1:])]

    def all_sent() -> bool:
        return sum(sender.begun for sender in senders) >= MESSAGES

    visits = await asyncio.gather(
        *(come_and_go(layers[n % 4 :] + layers[: n % 4], all_sent) for n in range(COME_AND_GO))
    )
    for sender in senders:
        await sender.finish()
    for member in members:
        for sender in senders:
            await member.has((sender.name, sender.accepted[-1]))
            assert sender.accepted == list(range(sender.begun))
            assert member.numbers[sender.name] == sender.accepted
        assert member.gaps == 0
        await member.stop()
    assert sum(visits) > COME_AND_GO


@both_layers
@pytest.mark.parametrize("options", [{"linger": 0}, {}], ids=["linger 0", "default"])
async def test_joining_is_a_barrier(
    redis_server: RedisServer, make_layer: MakeLayer, kind: str, options: dict[str, float]
) -> None:
    here, there = (make_layer(kind, redis_server.url, **options) for _ in range(2))

    async def repeat(group: str) -> None:
        for number in range(REPETITIONS // 10):
            channel = await here.new_channel()
            await here.group_add(group, channel)
            await there.group_send(group, {"type": "m", "number": number})
            # With one left over from before, it would be another number.
            assert (await here.receive(channel))["number"] == number
            await here.close_channel(channel)

    await within_deadline(asyncio.gather(*(repeat(f"room{n}") for n in range(10))))


@both_layers
async def test_the_last_member_leaves_while_another_joins(
    redis_server: RedisServer, make_layer: MakeLayer, kind: str
) -> None:
    """Ten thousand times, whoever has joined is never muted by who leaves."""
    here, there = (make_layer(kind, redis_server.url, linger=0) for _ in range(2))

    async def repeat(group: str) -> None:
        leaving = await here.new_channel()
        await here.group_add(group, leaving)
        for number in range(500):
            joining = await here.new_channel()
            both = [here.group_add(group, joining), here.close_channel(leaving)]
            await asyncio.gather(*(both if number % 2 else reversed(both)))
            if not number % 10:
                await there.group_send(group, {"type": "m", "number": number})
                assert (await here.receive(joining))["number"] == number
            leaving = joining

    await within_deadline(asyncio.gather(*(repeat(f"room{n}") for n in range(20))))


@on_one_server
@both_layers
async def test_three_servers(own_server: ServerFactory, make_layer: MakeLayer, kind: str) -> None:
    urls = [own_server().url for _ in range(3)]
    layers = [make_layer(kind, *urls) for _ in range(4)]
    names = [f"room{n}" for n in range(60)]
    members = [await Member().join(layer, *names) for layer in layers]
    for number, name in enumerate(names):
        await layers[number % 4].group_send(name, {"type": "group", "number": number})
        for member in members:
            await layers[number % 4].send(member.name, {"type": "direct", "number": number})
    for member in members:
        await member.has(*((kind, n) for kind in ("group", "direct") for n in range(60)))
        assert len(member.received) == 120
        await member.stop()
    for number, name in enumerate(names):
        await layers[number % 4].send(name, {"type": "general", "number": number})
    received = await within_deadline(
        asyncio.gather(*(layers[n % 3].receive(name) for n, name in enumerate(names)))
    )
    assert [message["number"] for message in received] == list(range(60))


@both_layers
async def test_what_asks_redis_and_what_does_not(
    own_server: ServerFactory, make_layer: MakeLayer, kind: str
) -> None:
    server = own_server()
    # Nothing but what is measured: no heartbeats, no signs of life.
    options = {"liveness_timeout": 3600} | ({"lease": 3600} if kind == "queue" else {})
    here, there = (make_layer(kind, server.url, **options) for _ in range(2))
    first = await Member().join(here, "room", "other")
    far = await Member().join(there, "room")
    quiet = {"exists", "xread", "evalsha", "zadd", "pexpire", "time", "xinfo", "xtrim"}
    quiet |= {"zrangebyscore", "sadd", "smembers", "xlen", "xadd"}
    with server.counting() as counts:
        channels = [await here.new_channel() for _ in range(1000)]
        for channel in channels:
            await here.group_add("room", channel)
    assert not {name: calls for name, calls in counts.items() if calls >= 100}
    with server.counting() as counts:
        for number in range(100):
            await there.group_send("room", {"type": "m", "number": number})
        await first.has(("m", 99))
        await far.has(("m", 99))
    if kind == "pubsub":
        assert counts["publish"] == 100
        assert sum(counts.values()) <= 100
    else:
        assert 100 <= counts["evalsha"] < 110
        assert sum(calls for name, calls in counts.items() if name not in quiet) == 0
    with server.counting() as counts:
        for channel in channels:
            await here.close_channel(channel)
    assert not {name: calls for name, calls in counts.items() if calls >= 100}
    for member in (first, far):
        await member.stop()
