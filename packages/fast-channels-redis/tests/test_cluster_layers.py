"""What the layers do beyond the conformance suite, on a Cluster, and what is special about it."""

import asyncio
import inspect
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import test_layer_general
import test_layer_groups
import test_layer_limits
from cluster_traffic import inbox_of
from redis_layers import AnyLayer, LayerFactory, member, receive, soon, until
from redis_servers import Binary, Certificates, Cluster
from redis_servers.fixtures import ClusterFactory, ServerFactory

from fast_channels.exceptions import ChannelLayerRefused
from fast_channels_redis import RedisChannelLayer, RedisPubSubChannelLayer


def _for_any_layer() -> Iterator[tuple[str, object]]:
    for module in (test_layer_general, test_layer_groups, test_layer_limits):
        for name, test in inspect.getmembers(module, inspect.iscoroutinefunction):
            wanted = inspect.signature(test).parameters
            if (
                name.startswith("test_")
                and "redis_server" not in wanted
                and not {"layer", "make_layer"}.isdisjoint(wanted)
            ):
                yield name, test


globals().update(_for_any_layer())


@pytest.fixture
def make_layer(redis_cluster: Cluster, connect_layer: LayerFactory) -> LayerFactory:
    """Instead of the one for a single server."""

    def make(hosts: list[Any] | None = None, /, **options: Any) -> AnyLayer:
        return connect_layer(hosts or [redis_cluster.url], **options)

    return make


def errors_of(cluster: Cluster) -> Counter[str]:
    """The errors that the nodes have replied with, by their first word."""
    counts = Counter[str]()
    for node in cluster.running:
        for name, count in node.info("errorstats").items():
            if name.startswith("errorstat_"):
                counts[name.removeprefix("errorstat_")] += int(count.removeprefix("count="))
    return counts


async def test_many_groups_over_all_primaries(
    layer: AnyLayer, other: AnyLayer, redis_cluster: Cluster
) -> None:
    mine, theirs = await layer.new_channel(), await other.new_channel()
    groups = [f"group-{number}" for number in range(300)]
    for group in groups:
        await layer.group_add(group, mine)
        await other.group_add(group, theirs)
    for number, group in enumerate(groups):
        await layer.group_send(group, {"type": "number", "number": number})
        for home, channel in ((layer, mine), (other, theirs)):
            assert await receive(home, channel, 1) == [{"type": "number", "number": number}]
    for number in range(20):
        await layer.send(f"general-{number}", {"type": "number", "number": number})
        assert await receive(other, f"general-{number}", 1) == [
            {"type": "number", "number": number}
        ]
    errors = errors_of(redis_cluster)
    assert not errors["CROSSSLOT"]
    assert not errors["MOVED"]


async def test_flush_asks_every_primary(
    layer: AnyLayer, other: AnyLayer, redis_cluster: Cluster
) -> None:
    for number in range(50):
        await layer.send(f"general-{number}", {"type": "old"})
    await other.flush()
    assert not [
        key
        for node in redis_cluster.running
        for key in node.execute("KEYS", "*")
        if ":general:" in key
    ]
    for number in range(50):
        await layer.send(f"general-{number}", {"type": "new"})
        assert await receive(other, f"general-{number}", 1) == [{"type": "new"}]
    assert not errors_of(redis_cluster)["CROSSSLOT"]


@pytest.mark.parametrize("layer_class", [RedisChannelLayer], ids=["queue"])
async def test_a_process_that_closes_is_gone(
    layer: AnyLayer, other: AnyLayer, redis_cluster: Cluster
) -> None:
    inbox, nodes = await inbox_of(other), "asgi:nodes"
    await inbox_of(layer)
    node_id = inbox.rpartition(":")[2]
    assert redis_cluster.node_for(nodes).execute("ZSCORE", nodes, node_id)
    await other.close()
    assert redis_cluster.node_for(inbox).execute("EXISTS", inbox) == 0
    assert redis_cluster.node_for(nodes).execute("ZSCORE", nodes, node_id) is None


DYING = """
import asyncio, sys
from fast_channels_redis import RedisChannelLayer

async def main():
    layer = RedisChannelLayer([sys.argv[1]], lease=1)
    channel = await layer.new_channel()
    await layer.group_add("news", channel)
    print(channel, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.mark.parametrize("layer_class", [RedisChannelLayer], ids=["queue"])
async def test_a_process_that_died_is_struck_off(
    make_layer: LayerFactory, redis_cluster: Cluster
) -> None:
    layer = make_layer(lease=1)
    channel = await member(layer, "news")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", DYING, redis_cluster.url), stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        name = (await soon(process.stdout.readline())).decode().strip()
        inbox = f"asgi:inbox:{name.partition('!')[0].rpartition('.')[2]}"
        assert redis_cluster.node_for(inbox).execute("EXISTS", inbox)
    finally:
        process.kill()
        await process.communicate()
    await until(lambda: not redis_cluster.node_for(inbox).execute("EXISTS", inbox), "it is gone")
    await layer.group_send("news", {"type": "news"})
    members = "asgi:members:news"
    assert redis_cluster.node_for(members).execute("SCARD", members) == 1
    assert await receive(layer, channel, 1) == [{"type": "news"}]


@pytest.mark.parametrize("layer_class", [RedisChannelLayer], ids=["queue"])
async def test_a_message_waits_for_the_replica_of_its_slot(make_layer: LayerFactory) -> None:
    layer = make_layer(wait_replicas=1)
    channel, other = await member(layer, "news"), make_layer()
    await layer.group_send("news", {"type": "first"})
    await layer.send(await other.new_channel(), {"type": "direct"})
    assert await receive(layer, channel, 1) == [{"type": "first"}]


async def test_one_seed_of_several_is_enough(
    redis_cluster: Cluster, connect_layer: LayerFactory
) -> None:
    dead = ("127.0.0.1", 1)
    layer = connect_layer([dead, redis_cluster.addresses[-1]], cluster=True)
    channel = await member(layer, "news")
    await layer.group_send("news", {"type": "news"})
    assert await receive(layer, channel, 1) == [{"type": "news"}]


async def test_tls_and_a_password_for_the_nodes_that_are_found(
    own_cluster: ClusterFactory,
    connect_layer: LayerFactory,
    redis_binary: Binary,
    certificates: Certificates,
) -> None:
    if redis_binary.tls:
        cluster = own_cluster(password="se cret", tls=certificates)
        url, options = cluster.tls_url, {"ssl_ca_certs": str(certificates.authority)}
    else:
        cluster = own_cluster(password="se cret")
        url, options = cluster.url, dict[str, str]()
    layers = [connect_layer([url], connection_kwargs=options) for _ in range(2)]
    channels = [[await member(layer, f"group-{n}") for n in range(20)] for layer in layers]
    for number in range(20):
        await layers[0].group_send(f"group-{number}", {"type": "number", "number": number})
        for layer, mine in zip(layers, channels, strict=True):
            assert await receive(layer, mine[number], 1) == [{"type": "number", "number": number}]
    clients = "\n".join(node.execute("CLIENT", "LIST") for node in cluster.running)
    if redis_binary.tls:
        ports = {node.tls_port for node in cluster.running}
        own = [line for line in clients.splitlines() if "cmd=client" not in line]
        assert any(f"laddr=127.0.0.1:{port} " in line for line in own for port in ports)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"cluster": True}, "is not part of a Redis Cluster: connect to it with redis://"),
        ({}, "is part of a Redis Cluster: pass cluster=True, or a URL with redis.cluster://"),
    ],
    ids=["no Cluster", "a Cluster"],
)
async def test_the_other_kind_of_server(
    own_server: ServerFactory,
    connect_layer: LayerFactory,
    options: dict[str, bool],
    sentence: str,
) -> None:
    server = own_server() if options else own_server(config={"cluster-enabled": "yes"})
    layer = connect_layer([server.url], **options)
    with pytest.raises(ChannelLayerRefused, match=sentence):
        await soon(layer.new_channel())


@pytest.mark.parametrize("layer_class", [RedisPubSubChannelLayer], ids=["pubsub"])
async def test_a_redis_without_sharded_pubsub(
    own_server: ServerFactory, connect_layer: LayerFactory, redis_binary: Binary
) -> None:
    if redis_binary.sharded_pubsub:
        pytest.skip("it has sharded pub/sub")
    server = own_server(config={"cluster-enabled": "yes"})
    server.execute("CLUSTER", "ADDSLOTS", *range(16384))
    await until(lambda: server.info_of_cluster()["cluster_state"] == "ok", "it serves")
    layer = connect_layer([server.url], cluster=True)
    with pytest.raises(ChannelLayerRefused, match="on a Cluster the pub/sub layer needs Redis 7"):
        await soon(layer.new_channel())


@pytest.mark.parametrize("layer_class", [RedisChannelLayer], ids=["queue"])
async def test_queues_on_a_cluster_of_any_version(
    own_server: ServerFactory, connect_layer: LayerFactory
) -> None:
    server = own_server(config={"cluster-enabled": "yes"})
    server.execute("CLUSTER", "ADDSLOTS", *range(16384))
    await until(lambda: server.info_of_cluster()["cluster_state"] == "ok", "it serves")
    layer, other = (connect_layer([server.url], cluster=True) for _ in range(2))
    channel = await member(layer, "news")
    await other.group_send("news", {"type": "news"})
    assert await receive(layer, channel, 1) == [{"type": "news"}]
    await other.send("jobs", {"type": "job"})
    assert await receive(layer, "jobs", 1) == [{"type": "job"}]
