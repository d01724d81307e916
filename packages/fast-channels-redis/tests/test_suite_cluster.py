"""Both layers on a Cluster, proved by the conformance suite."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import ClassVar

import pytest
from layer_suites import PUB_SUB, QUEUE, Servers
from redis_layers import PROTOCOL, LayerClass
from redis_servers import Binary, Cluster

from fast_channels_redis import RedisChannelLayer, RedisPubSubChannelLayer
from fast_channels_testing.layers import Broker, ChannelLayerSuite, LayerFactory, NotSupported

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def suite_cluster(redis_binary: Binary) -> Iterator[Cluster]:
    """Not the one that all tests share: this one keeps its data."""
    if not redis_binary.sharded_pubsub:
        pytest.skip("sharded pub/sub needs Redis 7")
    with Cluster(redis_binary, config={"appendonly": "yes"}) as cluster:
        yield cluster.start()


class WholeCluster(Servers):
    """All nodes at once: that others take over is shown by test_cluster_changes.py."""

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(*cluster.nodes)
        self._cluster = cluster

    def start(self) -> None:
        super().start()
        self._cluster.wait_until_ok()


class OnACluster(ChannelLayerSuite):
    layer_class: ClassVar[LayerClass]

    @pytest.fixture
    def broker(self, suite_cluster: Cluster) -> Broker:
        suite_cluster.restore()
        return WholeCluster(suite_cluster)

    @pytest.fixture
    def make_layer(self, suite_cluster: Cluster) -> LayerFactory:
        return partial(
            self.layer_class, [suite_cluster.url], connection_kwargs={"protocol": PROTOCOL}
        )


class TestRedisChannelLayer(OnACluster):
    capabilities = replace(
        QUEUE, total_order=NotSupported("the inboxes of a group's processes are on several nodes")
    )
    layer_class = RedisChannelLayer


class TestRedisPubSubChannelLayer(OnACluster):
    capabilities = PUB_SUB
    layer_class = RedisPubSubChannelLayer
