"""Both layers on a Cluster, proved by the conformance suite."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import ClassVar

import pytest
from layer_suites import KEEPS_DATA, PUB_SUB, QUEUE, Servers
from redis_layers import PROTOCOL, LayerClass
from redis_servers import Binary, Cluster

from fast_channels_redis import RedisChannelLayer, RedisPubSubChannelLayer
from fast_channels_testing.layers import Broker, ChannelLayerSuite, LayerFactory, NotSupported

pytestmark = pytest.mark.slow


class WholeCluster(Servers):
    """All nodes at once: that others take over is shown by test_cluster_changes.py."""

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(*cluster.nodes)
        self._cluster = cluster
        self._is_disturbed = False

    @property
    def url(self) -> str:
        return self._cluster.url

    def stop(self) -> None:
        self._is_disturbed = True
        super().stop()

    def start(self) -> None:
        super().start()
        self._cluster.wait_until_ok()

    def pause(self) -> None:
        self._is_disturbed = True
        super().pause()

    def restore(self) -> None:
        """Let it be whole and empty, which takes a while to find out."""
        if self._is_disturbed:
            self._cluster.restore()
            self._is_disturbed = False
            return
        for node in self._cluster.nodes:
            if node.execute("ROLE")[0] == "master":
                node.execute("FLUSHALL")


@pytest.fixture(scope="module")
def whole_cluster(redis_binary: Binary) -> Iterator[WholeCluster]:
    """Not the one that other tests share: this one keeps its data."""
    if not redis_binary.sharded_pubsub:
        pytest.skip("sharded pub/sub needs Redis 7")
    with Cluster(redis_binary, config=KEEPS_DATA) as cluster:
        yield WholeCluster(cluster.start())


class OnACluster(ChannelLayerSuite):
    layer_class: ClassVar[LayerClass]
    model_examples = 5  # the rules that they try are shown on one server

    @pytest.fixture
    def broker(self, whole_cluster: WholeCluster) -> Broker:
        whole_cluster.restore()
        return whole_cluster

    @pytest.fixture
    def make_layer(self, whole_cluster: WholeCluster) -> LayerFactory:
        return partial(
            self.layer_class, [whole_cluster.url], connection_kwargs={"protocol": PROTOCOL}
        )


class TestRedisChannelLayer(OnACluster):
    capabilities = replace(
        QUEUE, total_order=NotSupported("the inboxes of a group's processes are on several nodes")
    )
    layer_class = RedisChannelLayer


class TestRedisPubSubChannelLayer(OnACluster):
    capabilities = PUB_SUB
    layer_class = RedisPubSubChannelLayer
