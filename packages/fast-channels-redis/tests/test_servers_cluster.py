import socket

import pytest
from redis_servers import (
    Binary,
    Certificates,
    Cluster,
    ClusterOptions,
    ServerError,
    slot_of,
)
from redis_servers._client import call
from redis_servers._cluster import NodeView
from redis_servers.fixtures import ClusterFactory


@pytest.mark.parametrize("key", ["", "key", "a{b}c", "{}a", "{a", "ä"])
def test_slots_are_those_of_the_server(redis_cluster: Cluster, key: str) -> None:
    assert slot_of(key) == redis_cluster.nodes[0].execute("CLUSTER", "KEYSLOT", key)


def test_a_slot_moves_with_its_keys(redis_cluster: Cluster) -> None:
    slot = slot_of("key")
    source = redis_cluster.primary_of(slot)
    source.execute("SET", "key", "value")
    target = redis_cluster.migrate_slot(slot)
    assert target is not source
    assert redis_cluster.node_for("key").execute("GET", "key") == "value"
    with pytest.raises(ServerError, match=f"MOVED {slot} .*:{target.port}"):
        source.execute("GET", "key")
    assert redis_cluster.command_counts()["get"] == 0


def test_a_replica_replaces_a_primary_that_died(redis_cluster: Cluster) -> None:
    slot = slot_of("key")
    redis_cluster.node_for("key").execute("SET", "key", "value")
    redis_cluster.node_for("key").execute("WAIT", 1, 5000)
    old = redis_cluster.kill_primary_of(slot)
    redis_cluster.wait_for_failover(slot, old)
    assert redis_cluster.node_for("key").execute("GET", "key") == "value"

    redis_cluster.restore()
    assert old in redis_cluster.replicas_of(slot)
    redis_cluster.failover(slot)
    assert redis_cluster.primary_of(slot) is old


def test_a_password_and_tls(
    redis_binary: Binary, own_cluster: ClusterFactory, certificates: Certificates
) -> None:
    options: ClusterOptions = {"password": "se cret"}
    if redis_binary.tls:
        options["tls"] = certificates
    cluster = own_cluster(**options)
    cluster.node_for("key").execute("SET", "key", "value")
    cluster.migrate_slot(slot_of("key"))
    assert cluster.node_for("key").execute("GET", "key") == "value"
    with pytest.raises(ServerError, match="NOAUTH"):
        call(cluster.addresses[-1], "PING")
    if redis_binary.tls:
        assert cluster.tls_url.startswith("rediss+cluster://:se%20cret@127.0.0.1:")
        assert slots_over_tls(cluster, certificates) == {node.tls_port for node in cluster.nodes}


def slots_over_tls(cluster: Cluster, certificates: Certificates) -> set[int]:
    """The ports that a client is told when it asks over TLS."""
    context = certificates.client_context()
    port = cluster.nodes[0].tls_port
    assert port is not None
    with (
        socket.create_connection(("127.0.0.1", port), 20) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as link,
        link.makefile("rb") as stream,
    ):
        link.sendall(b'AUTH "se cret"\r\nCLUSTER NODES\r\n')
        assert stream.readline() == b"+OK\r\n"
        text = stream.read(int(stream.readline()[1:])).decode()
    return {NodeView.parse(line).port for line in text.splitlines()}
