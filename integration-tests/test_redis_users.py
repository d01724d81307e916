"""Users that may do no more than docs/how-to/sentinel-and-cluster.md says can use the layers."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pytest
from layer_faults import MakeLayer, both_layers, on_one_server, within_deadline
from markdown_blocks import blocks
from redis_servers.fixtures import ClusterFactory, ServerFactory, TrioFactory

from fast_channels_redis import RedisChannelLayer
from fast_channels_redis._layer import RedisLayer

PAGE: Final = Path(__file__).parent.parent / "docs" / "how-to" / "sentinel-and-cluster.md"
OF_SERVERS, OF_CLUSTERS, OF_SENTINELS = (
    block.split() for block in blocks(PAGE, "text") if block.startswith("ACL SETUSER ")
)
USER: Final = {"username": "chat", "password": "secret"}
PREFIX: Final = "chat"


def refused(server: Any) -> set[str]:
    """What the server has refused to anybody, but for redis-py's telling of its name."""
    entries = (
        dict(zip(entry[::2], entry[1::2], strict=True)) for entry in server.execute("ACL", "LOG")
    )
    return {entry["object"] for entry in entries} - {"client", "client|setinfo"}


async def use(layers: Sequence[RedisLayer]) -> None:
    """Everything that a layer can do, for names on all servers."""
    layer, other = layers
    for number in range(8):
        channel, group, jobs = await layer.new_channel(), f"room-{number}", f"jobs-{number}"
        await layer.group_add(group, channel)
        await other.group_send(group, {"type": "to.group"})
        assert await layer.receive(channel) == {"type": "to.group"}
        await other.send(channel, {"type": "to.channel"})
        assert await layer.receive(channel) == {"type": "to.channel"}
        await other.send(jobs, {"type": "job"})
        assert await layer.receive(jobs) == {"type": "job"}
        await layer.group_discard(group, channel)
        await layer.close_channel(channel)
    await other.send("jobs", {"type": "job"})
    for _ in range(2):  # the second time it becomes a dead letter
        with pytest.raises(ZeroDivisionError):
            async with layer.claim("jobs"):
                raise ZeroDivisionError
    await other.send("jobs", {"type": "job"})
    async with layer.claim("jobs") as job:
        assert job == {"type": "job"}
    await other.flush()
    for each in layers:
        await each.close()


def two(make_layer: MakeLayer, kind: str, *hosts: Any, **options: Any) -> Sequence[RedisLayer]:
    options = {"prefix": PREFIX, "linger": 0.01, "max_deliveries": 2, **options}
    return [make_layer(kind, *hosts, **options) for _ in range(2)]


@both_layers
@pytest.mark.parametrize("count", [1, 2])
async def test_servers(
    own_server: ServerFactory, make_layer: MakeLayer, kind: str, count: int
) -> None:
    servers = [own_server() for _ in range(count)]
    for server in servers:
        server.execute(*OF_SERVERS)
    hosts = [server.address for server in servers]
    await within_deadline(use(two(make_layer, kind, *hosts, connection_kwargs=USER)))
    assert [refused(server) for server in servers] == [set()] * count


@on_one_server
@both_layers
async def test_a_cluster(own_cluster: ClusterFactory, make_layer: MakeLayer, kind: str) -> None:
    cluster = own_cluster()
    for node in cluster.nodes:
        node.execute(*OF_SERVERS)
        node.execute(*OF_CLUSTERS)
    hosts = cluster.addresses
    layers = two(make_layer, kind, *hosts, cluster=True, connection_kwargs=USER)
    await within_deadline(use(layers))
    assert [refused(node) for node in cluster.nodes] == [set() for _ in cluster.nodes]


@on_one_server
async def test_sentinels(own_trio: TrioFactory) -> None:
    trio = own_trio()
    for server in trio.servers:
        server.execute(*OF_SERVERS)
    for sentinel in trio.sentinels:
        sentinel.execute(*OF_SENTINELS)
    layers = [
        RedisChannelLayer(
            sentinels=trio.addresses,
            service_name=trio.name,
            sentinel_kwargs=USER,
            connection_kwargs=USER,
            prefix=PREFIX,
            max_deliveries=2,
            wait_replicas=1,
        )
        for _ in range(2)
    ]
    await within_deadline(use(layers))
    assert [refused(each) for each in (*trio.servers, *trio.sentinels)] == [set()] * 6


@on_one_server
@both_layers
async def test_less_is_not_enough(
    own_server: ServerFactory, make_layer: MakeLayer, kind: str
) -> None:
    """The test above can fail."""
    server = own_server()
    server.execute(*OF_SERVERS)
    server.execute("ACL", "SETUSER", "chat", "-scan")
    with pytest.raises(ConnectionError):
        await within_deadline(use(two(make_layer, kind, server.address, connection_kwargs=USER)))
    assert refused(server) == {"scan"}
