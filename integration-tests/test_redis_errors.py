"""Redis refuses, forgets, breaks off: nothing in the layer ends, and the next message arrives."""

import asyncio
import os
import random
from pathlib import Path

import pytest
from layer_faults import (
    MakeLayer,
    Member,
    Sender,
    both_layers,
    eventually,
    on_one_server,
    within_deadline,
)
from redis_servers import Proxy, RedisServer
from redis_servers.fixtures import ServerFactory

from fast_channels.exceptions import ChannelLayerUnavailable
from fast_channels_redis._layer import RedisLayer

pytestmark = pytest.mark.slow

COMMANDS = {
    "queue": "evalsha eval xread xadd xtrim xinfo zadd sadd srem pexpire smembers unlink",
    "pubsub": "publish subscribe unsubscribe",
}
FOR_BOTH = "script time ping xreadgroup xgroup xautoclaim xpending xack xdel evalsha role info"
REFUSED_FOR = 0.6
"""Seconds: long enough for several attempts of whatever is tried again."""


class Traffic:
    """Two layers that send groups, channels and workers something all the time."""

    def __init__(self, layers: list[RedisLayer]) -> None:
        self.layers = layers
        self.members: list[Member] = []
        self.jobs: list[int] = []
        self._number = 0
        self._tasks: list[asyncio.Task[None]] = []

    async def open(self) -> "Traffic":
        for layer in self.layers:
            self.members.append(await Member().join(layer, "room"))
        self._tasks.append(asyncio.create_task(self._work()))
        self._tasks.append(asyncio.create_task(self._come_and_go()))
        self._tasks.append(asyncio.create_task(self._send()))
        await self.flows()
        return self

    async def _work(self) -> None:
        while True:
            try:
                self.jobs.append((await self.layers[0].receive("jobs"))["number"])
            except ChannelLayerUnavailable:
                await asyncio.sleep(0.01)

    async def _come_and_go(self) -> None:
        while True:
            channel = await self.layers[1].new_channel()
            try:
                await self.layers[1].group_add("visited", channel)
            except ChannelLayerUnavailable:
                await asyncio.sleep(0.01)
            await self.layers[1].close_channel(channel)
            await asyncio.sleep(0.05)

    async def _send(self) -> None:
        while True:
            await self.send_all()
            await asyncio.sleep(0.01)

    async def send_all(self) -> tuple[int, bool]:
        """The number, and whether all of it was accepted."""
        self._number += 1
        number = self._number
        message = {"type": "m", "number": number}
        outcomes = await asyncio.gather(
            self.layers[1].group_send("room", message),
            self.layers[1].send(self.members[0].name, message | {"type": "direct"}),
            self.layers[1].send("jobs", message),
            return_exceptions=True,
        )
        for outcome in outcomes:
            assert outcome is None or isinstance(outcome, ChannelLayerUnavailable), outcome
        return number, not any(outcomes)

    async def flows(self) -> None:
        """Wait until all of what is sent comes through again."""

        def there(number: int) -> bool:
            near, far = self.members
            return (
                {("m", number), ("direct", number)} <= set(near.received)
                and ("m", number) in far.received
                and number in self.jobs
            )

        async with asyncio.timeout(60):
            while True:
                number, accepted = await self.send_all()
                if not accepted:
                    await asyncio.sleep(0.01)
                    continue
                for _ in range(100):
                    if there(number):
                        return
                    await asyncio.sleep(0.01)

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for member in self.members:
            await member.stop()
            assert len(member.received) - member.gaps == len(set(member.received) - {"gap"})
        for layer in self.layers:
            async with asyncio.timeout(10):
                await layer.close()


def traffic(make_layer: MakeLayer, kind: str, url: str, prefix: str = "asgi") -> Traffic:
    options = {"lease": 1} if kind == "queue" else {}
    return Traffic(
        [
            make_layer(kind, url, prefix=prefix, send_timeout=1, liveness_timeout=1, **options)
            for _ in range(2)
        ]
    )


@on_one_server
@both_layers
async def test_each_command_is_refused_for_a_while(
    own_server: ServerFactory, make_layer: MakeLayer, kind: str
) -> None:
    names = sorted({*COMMANDS[kind].split(), *FOR_BOTH.split()})
    server = own_server(users=dict.fromkeys(names, "on >secret ~* &* +@all"))

    async def refuse(name: str) -> None:
        flow = await traffic(make_layer, kind, server.url_for(name, "secret"), name).open()
        await asyncio.to_thread(server.execute, "ACL", "SETUSER", name, f"-{name}")
        await asyncio.sleep(REFUSED_FOR / 2)
        # New connections meet it, too.
        await asyncio.to_thread(server.execute, "CLIENT", "KILL", "USER", name)
        await asyncio.sleep(REFUSED_FOR)
        await asyncio.to_thread(server.execute, "ACL", "SETUSER", name, f"+{name}")
        await flow.flows()
        await flow.close()

    for begin in range(0, len(names), 6):
        await asyncio.gather(*map(refuse, names[begin : begin + 6]))
    await eventually(
        lambda: server.info("clients")["connected_clients"] == "1", "no connection is left"
    )


def spoil(key: str) -> list[tuple[str | int, ...]]:
    return [("DEL", key), ("SET", key, "spoilt"), ("PEXPIRE", key, 400)]


FAULTS: dict[str, list[tuple[str | int, ...]]] = {
    "scripts forgotten": [("SCRIPT", "FLUSH")],
    "commands broken off": [("CLIENT", "KILL", "TYPE", "normal")],
    "subscribers broken off": [("CLIENT", "KILL", "TYPE", "pubsub")],
    "all broken off": [("CLIENT", "KILL", "TYPE", kind) for kind in ("normal", "pubsub")],
    "paused": [("CLIENT", "PAUSE", 500)],
    "paused for longer than it may be silent": [("CLIENT", "PAUSE", 2500)],
    "full": [("CONFIG", "SET", "maxmemory", 1)],
    "not full": [("CONFIG", "SET", "maxmemory", 0)],
    "nodes spoilt": spoil("asgi:nodes"),
    "general channel spoilt": spoil("asgi:general:jobs"),
    "group spoilt": spoil("asgi:members:room"),
    "emptied": [("FLUSHALL",)],
}


@on_one_server
@both_layers
async def test_one_fault_after_the_other(
    own_server: ServerFactory, make_layer: MakeLayer, kind: str
) -> None:
    server = own_server()
    flow = await traffic(make_layer, kind, server.url).open()
    for what, commands in FAULTS.items():
        for _ in range(5 if "broken off" in what or "forgotten" in what else 1):
            for command in commands:
                await asyncio.to_thread(server.execute, *command)
            await asyncio.sleep(0.02)
        if what == "full":
            await asyncio.sleep(REFUSED_FOR)
        else:
            await flow.flows()
    await flow.close()


@on_one_server
@both_layers
async def test_a_link_that_breaks_again_and_again(
    redis_server: RedisServer, make_layer: MakeLayer, kind: str
) -> None:
    chance = random.Random(1)
    with Proxy(redis_server.address) as proxy:
        proxy.delay = 0.0005
        layers = [make_layer(kind, proxy.url) for _ in range(3)]
        members = [await Member().join(layer, "room") for layer in layers[:2]]
        senders = [Sender(layer, f"sender{n}", "room", 0.001) for n, layer in enumerate(layers)]
        for _ in range(60):
            await asyncio.sleep(chance.uniform(0, 0.05))
            await asyncio.to_thread(proxy.cut)
        if kind == "pubsub":
            for member in members:
                gaps, last = 0, -1
                while gaps == 0 or gaps != last:  # until the last of them has come
                    last, gaps = gaps, member.gaps
                    await asyncio.sleep(1)
        since = {sender.name: sender.begun if kind == "pubsub" else 0 for sender in senders}
        for sender in senders:
            await sender.finish()
        for member in members:
            for sender in senders:
                await member.has((sender.name, sender.accepted[-1]))
                sender.check(member.numbers[sender.name], since=since[sender.name])
            assert (member.gaps > 0) == (kind == "pubsub")
            await member.stop()


# Closing.


def sockets() -> int:
    links = Path("/proc/self/fd")
    if not links.exists():
        pytest.skip("needs /proc")
    count = 0
    for link in links.iterdir():
        try:
            count += os.readlink(link).startswith("socket:")
        except OSError:
            pass
    return count


@both_layers
async def test_one_layer_is_closed_and_used_again(
    own_server: ServerFactory, make_layer: MakeLayer, kind: str
) -> None:
    server = own_server()
    before = sockets()
    layer = make_layer(kind, server.url)
    for number in range(100):
        channel = await layer.new_channel()
        await layer.group_add("room", channel)
        receiving = asyncio.create_task(layer.receive("jobs"))
        await layer.group_send("room", {"type": "m", "number": number})
        assert (await within_deadline(layer.receive(channel)))["number"] == number
        await layer.send("jobs", {"type": "m", "number": number})
        assert (await within_deadline(receiving))["number"] == number
        await within_deadline(layer.close())
        assert sockets() == before
        assert asyncio.all_tasks() == {asyncio.current_task()}
    await eventually(
        lambda: server.info("clients")["connected_clients"] == "1", "no connection is left"
    )
    if kind == "queue":
        assert server.execute("ZCARD", "asgi:nodes") == 0


@on_one_server
@both_layers
async def test_closing_while_redis_is_frozen(
    own_server: ServerFactory, make_layer: MakeLayer, kind: str
) -> None:
    """With calls under way, and more written than the system's buffers take."""
    server = own_server()
    before = sockets()
    layer = make_layer(kind, server.url)
    member = await Member().join(layer, "room")
    receiving = [asyncio.create_task(layer.receive(f"jobs{n}")) for n in range(10)]
    await layer.send("jobs0", {"type": "m"})
    await within_deadline(receiving[0])
    server.freeze()
    try:
        large = {"type": "m", "data": b"-" * 500_000}
        calls = [layer.group_send("room", large) for _ in range(15)]
        calls.append(layer.group_add("new", member.name))
        sending = [asyncio.create_task(call) for call in calls]
        await asyncio.sleep(0.1)
        began = asyncio.get_running_loop().time()
        await within_deadline(layer.close())
        took = asyncio.get_running_loop().time() - began
        print(f"{kind}: closed in {took:.2f} s")
        assert took < 15
        for each in (*sending, *receiving[1:]):
            await asyncio.wait([each])
            assert each.exception() is not None
        await member.stop()
        assert sockets() == before
        assert asyncio.all_tasks() == {asyncio.current_task()}
    finally:
        server.thaw()
