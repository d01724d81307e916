"""Both layers through Sentinel, proved by the conformance suite."""

from collections.abc import Iterator
from functools import partial
from typing import ClassVar

import pytest
from layer_suites import KEEPS_DATA, PUB_SUB, QUEUE, Servers
from redis_layers import PROTOCOL, LayerClass
from redis_servers import Binary, SentinelTrio

from fast_channels_redis import RedisChannelLayer, RedisPubSubChannelLayer
from fast_channels_testing.layers import Broker, ChannelLayerSuite, LayerFactory

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def suite_trio(redis_binary: Binary) -> Iterator[SentinelTrio]:
    """Its master may be away for a while: that another one takes over is shown by
    test_sentinel_failover.py."""
    with SentinelTrio(redis_binary, config=KEEPS_DATA) as trio:
        trio.start()
        for sentinel in trio.sentinels:
            sentinel.execute("SENTINEL", "SET", trio.name, "down-after-milliseconds", 600_000)
        yield trio


class ThroughSentinel(ChannelLayerSuite):
    layer_class: ClassVar[LayerClass]
    model_examples = 5  # the rules that they try are shown on one server

    @pytest.fixture
    def broker(self, suite_trio: SentinelTrio) -> Broker:
        master = suite_trio.master
        servers = Servers(master)
        servers.restore()
        master.execute("FLUSHALL")
        return servers

    @pytest.fixture
    def make_layer(self, suite_trio: SentinelTrio) -> LayerFactory:
        return partial(
            self.layer_class,
            sentinels=suite_trio.addresses,
            service_name=suite_trio.name,
            connection_kwargs={"protocol": PROTOCOL},
        )


class TestRedisChannelLayer(ThroughSentinel):
    capabilities = QUEUE
    layer_class = RedisChannelLayer


class TestRedisPubSubChannelLayer(ThroughSentinel):
    capabilities = PUB_SUB
    layer_class = RedisPubSubChannelLayer
