import pytest
from redis_servers import Cluster, ServerError, slot_of
from redis_servers._client import call
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


def test_a_password(own_cluster: ClusterFactory) -> None:
    cluster = own_cluster(password="se cret")
    cluster.node_for("key").execute("SET", "key", "value")
    cluster.migrate_slot(slot_of("key"))
    assert cluster.node_for("key").execute("GET", "key") == "value"
    with pytest.raises(ServerError, match="NOAUTH"):
        call(cluster.addresses[-1], "PING")
