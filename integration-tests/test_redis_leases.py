"""A process that is dead is gone from its groups, and no other one ever."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from layer_faults import (
    LAYERS,
    MakeLayer,
    Member,
    both_layers,
    eventually,
    on_one_server,
    within_deadline,
)
from redis_servers import Proxy, RedisServer
from redis_servers.fixtures import ServerFactory

pytestmark = pytest.mark.slow

PROGRAM = Path(__file__).parent / "apps" / "redis_members.py"
LEASE = 1
MEMBERS = 10_000

Record = Callable[[str, object], None]


@both_layers
async def test_a_killed_process_is_gone(
    own_server: ServerFactory, make_layer: MakeLayer, kind: str, record_property: Record
) -> None:
    server = own_server()
    options = {"lease": LEASE} if kind == "queue" else {}
    here, there = (make_layer(kind, server.url, **options) for _ in range(2))
    member = await Member().join(there, "room", "room0")
    arguments = (PROGRAM, kind, server.url, LEASE, MEMBERS)
    process = await asyncio.create_subprocess_exec(
        sys.executable, *map(str, arguments), stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        name = (await within_deadline(process.stdout.readline())).decode().strip()
        node = name.partition("!")[0].rpartition(".")[2]
        assert is_there(kind, server, node)
        assert nodes_in(kind, server, "room") == nodes_in(kind, server, "room0") == 2
    finally:
        process.kill()
        await process.wait()
    died_at = asyncio.get_running_loop().time()
    # Nothing that is sent to it meanwhile fails.
    await here.group_send("room", {"type": "m", "number": 0})
    await here.send(name, {"type": "m", "number": 0})
    await eventually(lambda: not is_there(kind, server, node), "the dead process is gone")
    took = asyncio.get_running_loop().time() - died_at
    record_property(f"{kind}: gone after", f"{took:.2f} s")
    print(f"{kind}: gone after {took:.2f} s with a lease of {LEASE} s")
    for number in range(1, 20):
        with server.counting() as counts:
            await here.group_send("room", {"type": "m", "number": number})
            await member.has(("m", number))
        assert counts["publish" if kind == "pubsub" else "smembers"] == 1
        assert counts["srem"] <= (number == 1)
    assert nodes_in(kind, server, "room") == 1
    assert member.gaps == 0
    await member.stop()


def is_there(kind: str, server: RedisServer, node: str) -> bool:
    if kind == "pubsub":
        return bool(server.execute("PUBSUB", "NUMSUB", f"asgi__node__{node}")[1])
    is_listed = server.execute("ZSCORE", "asgi:nodes", node) is not None
    return bool(server.execute("EXISTS", f"asgi:inbox:{node}")) or is_listed


def nodes_in(kind: str, server: RedisServer, group: str) -> int:
    if kind == "pubsub":
        return int(server.execute("PUBSUB", "NUMSUB", f"asgi__group__{group}")[1])
    return int(server.execute("SCARD", f"asgi:members:{group}"))


async def outlive(kind: str, server: RedisServer, make_layer: MakeLayer) -> None:
    options = {"lease": 0.5} if kind == "queue" else {}
    layers = [make_layer(kind, server.url, group_expiry=1, **options) for _ in range(3)]
    members = [await Member().join(layer, "room", "quiet") for layer in layers]
    for number in range(8):
        await asyncio.sleep(0.8)
        await layers[number % 3].group_send("room", {"type": "m", "number": number})
    await layers[0].group_send("quiet", {"type": "quiet", "number": 0})
    for member in members:
        await member.has(*(("m", number) for number in range(8)), ("quiet", 0))
        assert member.gaps == 0
        await member.stop()


@on_one_server
async def test_a_live_member_is_never_expelled(
    own_server: ServerFactory, make_layer: MakeLayer
) -> None:
    """In many leases, and longer than what Redis keeps of a group lives unless it is renewed."""
    await asyncio.gather(*(outlive(kind, own_server(), make_layer) for kind in LAYERS))


async def kill_and_restart(server: RedisServer) -> None:
    await asyncio.to_thread(server.kill)
    await asyncio.sleep(3 * LEASE)
    await asyncio.to_thread(server.restart)


async def freeze_and_thaw(server: RedisServer) -> None:
    server.freeze()
    await asyncio.sleep(3 * LEASE)
    server.thaw()


async def fill_and_empty(server: RedisServer) -> None:
    await asyncio.to_thread(server.execute, "CONFIG", "SET", "maxmemory", 1)
    await asyncio.sleep(3 * LEASE)
    await asyncio.to_thread(server.execute, "CONFIG", "SET", "maxmemory", 0)


async def live_through(
    fault: Callable[[RedisServer], Awaitable[None]], server: RedisServer, make_layer: MakeLayer
) -> None:
    with Proxy(server.address) as proxy:
        urls = [server.url] * 4 + [proxy.url]
        # None of them makes new connections just because nothing is heard for these seconds.
        layers = [make_layer("queue", url, lease=LEASE, liveness_timeout=60) for url in urls]
        members = [await Member().join(layer, "room") for layer in layers]
        proxy.delay = 0.02  # so that this one is back later
        await fault(server)
        for first in (0, 10):
            for number, layer in enumerate(layers, first):
                await layer.group_send("room", {"type": "m", "number": number})
                for member in members:
                    await member.has(("m", number))
            await asyncio.sleep(1.5 * LEASE)
        for member in members:
            assert member.gaps == 0
            await member.stop()


@on_one_server
async def test_nobody_is_struck_off_because_redis_was_away(
    own_server: ServerFactory, make_layer: MakeLayer, caplog: pytest.LogCaptureFixture
) -> None:
    faults = (kill_and_restart, freeze_and_thaw, fill_and_empty)
    await asyncio.gather(
        *(live_through(fault, own_server(appendonly=True), make_layer) for fault in faults)
    )
    assert "is gone" not in caplog.text
    assert "lost the inbox" not in caplog.text
