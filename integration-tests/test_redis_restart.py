"""Redis is killed, restarts with or without its data, or is emptied, while messages are sent."""

import asyncio
from collections.abc import Callable
from functools import partial

import pytest
from layer_faults import (
    LAYERS,
    MakeLayer,
    Member,
    Sender,
    eventually,
    on_one_server,
    within_deadline,
)
from redis_servers import Proxy, RedisServer
from redis_servers.fixtures import ServerFactory

from fast_channels.exceptions import ChannelLayerUnavailable
from fast_channels_redis._layer import RedisLayer

pytestmark = pytest.mark.slow

Record = Callable[[str, object], None]


class Scene:
    """Three layers, as of three processes: members on two, senders on two."""

    def __init__(self, layers: list[RedisLayer]) -> None:
        self.layers = layers
        self.members: list[Member] = []
        self.senders: list[Sender] = []

    async def open(self) -> "Scene":
        for layer in self.layers[:2]:
            for _ in range(2):
                self.members.append(await Member().join(layer, "room"))
        for index, layer in enumerate(self.layers[1:]):
            self.senders.append(Sender(layer, f"sender{index}", "room"))
        for sender in self.senders:
            for member in self.members:
                await member.has((sender.name, 5))
        return self

    async def finish(self) -> None:
        """Wait until the last messages of all senders are with all members."""
        for sender in self.senders:
            await sender.finish()
            for member in self.members:
                await member.has((sender.name, sender.accepted[-1]))

    async def gaps(self) -> dict[str, int]:
        """Wait for every member's; the next number of each sender then."""
        for member in self.members:
            await member.has("gap")
        return {sender.name: sender.begun for sender in self.senders}

    async def close(self) -> None:
        for member in self.members:
            await member.stop()


async def outage(
    kind: str, server: RedisServer, make_layer: MakeLayer, seconds: float, *, keeps_all: bool
) -> float:
    """Seconds from the server's return until all members had a message that was sent then."""
    scene = await Scene([make_layer(kind, server.url) for _ in range(3)]).open()
    await asyncio.to_thread(server.kill)
    await asyncio.sleep(seconds)
    await asyncio.to_thread(server.restart, keep_data=keeps_all)
    loop = asyncio.get_running_loop()
    back_at = loop.time()
    begun = {sender.name: sender.begun for sender in scene.senders}
    for member in scene.members:
        # The last one begun may be waiting for Redis.
        await member.has_any_since({name: number - 1 for name, number in begun.items()})
    recovered = max(member.times[-1] for member in scene.members) - back_at
    since = dict.fromkeys(begun, 0) if keeps_all else await scene.gaps()
    await scene.finish()
    for member in scene.members:
        assert member.gaps == (0 if keeps_all else 1)
        for sender in scene.senders:
            sender.check(member.numbers[sender.name], since=since[sender.name])
    await scene.close()
    return recovered


async def outages(
    own_server: ServerFactory, make_layer: MakeLayer, seconds: float, record: Record
) -> None:
    """Side by side, because most of it is waiting."""
    kept, emptied, pubsub = own_server(appendonly=True), own_server(), own_server()
    durations = await asyncio.gather(
        outage("queue", kept, make_layer, seconds, keeps_all=True),
        outage("queue", emptied, make_layer, seconds, keeps_all=False),
        outage("pubsub", pubsub, make_layer, seconds, keeps_all=False),
    )
    for what, took in zip(("queue, kept", "queue, emptied", "pub/sub"), durations, strict=True):
        record(f"recovered_after_{seconds:g}_s ({what})", f"{took * 1000:.0f} ms")
        print(f"{what}, away for {seconds:g} s: recovered in {took * 1000:.0f} ms")


@pytest.mark.parametrize("seconds", [0.5, 3])
async def test_a_killed_server(
    own_server: ServerFactory, make_layer: MakeLayer, record_property: Record, seconds: float
) -> None:
    await outages(own_server, make_layer, seconds, record_property)


@pytest.mark.slow
@on_one_server
async def test_a_server_that_is_away_for_long(
    own_server: ServerFactory, make_layer: MakeLayer, record_property: Record
) -> None:
    await outages(own_server, make_layer, 30, record_property)


GROUPS = [f"room{n}" for n in range(235)]


async def send_to_all(layer: RedisLayer, name: str) -> None:
    await asyncio.gather(
        *(layer.group_send(group, {"type": name, "number": n}) for n, group in enumerate(GROUPS))
    )


async def test_an_emptied_server_has_all_groups_again(
    own_server: ServerFactory, make_layer: MakeLayer, record_property: Record
) -> None:
    server = own_server()
    layers = [make_layer("queue", server.url) for _ in range(2)]
    members = [await Member().join(layer, *GROUPS) for layer in layers]
    loop = asyncio.get_running_loop()
    began = loop.time()
    await asyncio.to_thread(server.execute, "FLUSHALL")
    for member in members:
        await member.has("gap")
    record_property("emptied, all groups again after", f"{loop.time() - began:.2f} s")
    print(f"emptied: all groups again after {loop.time() - began:.2f} s")
    for name, layer in zip(("here", "there"), layers, strict=True):
        await send_to_all(layer, name)
    for member in members:
        await member.has(*((name, n) for name in ("here", "there") for n in range(len(GROUPS))))
        assert member.gaps == 1
        await member.stop()


async def test_one_of_three_servers_is_emptied(
    own_server: ServerFactory, make_layer: MakeLayer
) -> None:
    servers = [own_server() for _ in range(3)]
    urls = [server.url for server in servers]
    here, there = (make_layer("queue", *urls) for _ in range(2))
    for emptied in servers:
        members = [await Member().join(layer, *GROUPS) for layer in (here, there)]
        await asyncio.to_thread(emptied.execute, "FLUSHALL")
        for member in members:
            await member.has("gap")
        await send_to_all(there, "there")
        for member, layer in zip(members, (here, there), strict=True):
            await member.has(*(("there", n) for n in range(len(GROUPS))))
            assert member.gaps == 1
            await member.stop()
            await layer.close_channel(member.name)


@on_one_server
async def test_each_of_three_servers_is_away_for_longer_than_a_lease(
    own_server: ServerFactory, make_layer: MakeLayer
) -> None:
    """With its data kept nothing is lost, and nobody expelled: not by those who reach the rest."""
    servers = [own_server(appendonly=True) for _ in range(3)]
    urls = [server.url for server in servers]
    layers = [make_layer("queue", *urls, lease=0.5, send_timeout=30) for _ in range(3)]
    groups = GROUPS[:6]
    members = [await Member().join(layer, *groups) for layer in layers]
    senders = [Sender(layers[n % 3], group, group) for n, group in enumerate(groups)]
    for server in servers:
        await asyncio.to_thread(server.kill)
        await asyncio.sleep(1.5)
        await asyncio.to_thread(server.restart)
        begun = {sender.name: sender.begun + 1 for sender in senders}
        for member in members:
            await member.has(*begun.items())
    for sender in senders:
        await sender.finish()
        for member in members:
            await member.has((sender.name, sender.accepted[-1]))
            sender.check(member.numbers[sender.name])
    for member in members:
        assert member.gaps == 0
        await member.stop()


@on_one_server
async def test_lost_data_is_noticed_though_the_reply_that_tells_of_it_is_lost(
    own_server: ServerFactory, make_layer: MakeLayer
) -> None:
    server = own_server()
    with Proxy(server.address) as proxy:
        layer, other = make_layer("queue", proxy.url), make_layer("queue", server.url)
        member = await Member().join(layer, "room")
        proxy.blackhole(requests=False)
        await asyncio.to_thread(server.execute, "FLUSHALL")
        inbox = "asgi:inbox:" + member.name.partition("!")[0].rpartition(".")[2]
        await eventually(lambda: server.execute("EXISTS", inbox), "the inbox was made anew")
        proxy.cut()
        proxy.heal()
        await member.has("gap")
        await other.group_send("room", {"type": "m", "number": 1})
        await member.has(("m", 1))
        assert member.received == ["gap", ("m", 1)]
        await member.stop()


@on_one_server
async def test_only_those_are_told_whose_group_was_lost(
    own_server: ServerFactory, make_layer: MakeLayer
) -> None:
    server = own_server()
    layer, other = (make_layer("queue", server.url) for _ in range(2))
    lost, kept = await Member().join(layer, "lost"), await Member().join(layer, "kept")
    await asyncio.to_thread(server.execute, "DEL", "asgi:members:lost")
    await asyncio.to_thread(server.execute, "CLIENT", "KILL", "TYPE", "normal")
    await lost.has("gap")
    for group in ("lost", "kept"):
        await other.group_send(group, {"type": group, "number": 1})
    await lost.has(("lost", 1))
    await kept.has(("kept", 1))
    assert (lost.gaps, kept.gaps) == (1, 0)
    for member in (lost, kept):
        await member.stop()


def has_more_than(few: int, done: list[int]) -> bool:
    return len(done) > few


async def jobs_through_a_restart(kind: str, server: RedisServer, make_layer: MakeLayer) -> None:
    sender, *workers = (make_layer(kind, server.url) for _ in range(3))
    done: list[int] = []
    accepted: list[int] = []

    async def send() -> None:
        for number in range(1000):
            try:
                await sender.send("jobs", {"type": "job", "number": number})
            except ChannelLayerUnavailable:
                continue  # It may have got there, or not.
            accepted.append(number)
            await asyncio.sleep(0.001)

    async def work(layer: RedisLayer) -> None:
        while True:
            done.append((await layer.receive("jobs"))["number"])

    working = [asyncio.create_task(work(layer)) for layer in workers for _ in range(3)]
    sending = asyncio.create_task(send())
    for few in (50, 150, 250):
        await eventually(partial(has_more_than, few, done), "jobs are done")
        await asyncio.to_thread(server.kill)
        await asyncio.to_thread(server.restart)
    await within_deadline(sending)
    await eventually(lambda: set(accepted) <= set(done), "all accepted jobs are done")
    for task in working:
        task.cancel()
    await asyncio.gather(*working, return_exceptions=True)
    assert len(done) == len(set(done))


@on_one_server
async def test_jobs_are_done_once_though_redis_is_killed(
    own_server: ServerFactory, make_layer: MakeLayer
) -> None:
    """General channels are kept by both layers."""
    await asyncio.gather(
        *(jobs_through_a_restart(kind, own_server(appendonly=True), make_layer) for kind in LAYERS)
    )
