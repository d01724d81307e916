"""Both layers on one server, proved by the conformance suite."""

from collections.abc import Iterator
from functools import partial
from typing import ClassVar

import pytest
from layer_suites import PUB_SUB, QUEUE, Servers
from redis_layers import PROTOCOL, LayerClass
from redis_servers import Binary, RedisServer

from fast_channels_redis import RedisChannelLayer, RedisPubSubChannelLayer
from fast_channels_testing.layers import Broker, ChannelLayerSuite, LayerFactory


@pytest.fixture(scope="module")
def suite_server(redis_binary: Binary) -> Iterator[RedisServer]:
    """Not the one that all tests share: it is killed now and then, and keeps its data."""
    with RedisServer(redis_binary, appendonly=True) as server:
        yield server.start()


class OnOneServer(ChannelLayerSuite):
    layer_class: ClassVar[LayerClass]

    @pytest.fixture
    def broker(self, suite_server: RedisServer) -> Broker:
        servers = Servers(suite_server)
        servers.restore()
        suite_server.execute("FLUSHALL")
        return servers

    @pytest.fixture
    def make_layer(self, suite_server: RedisServer) -> LayerFactory:
        return partial(
            self.layer_class, [suite_server.url], connection_kwargs={"protocol": PROTOCOL}
        )


class TestRedisChannelLayer(OnOneServer):
    capabilities = QUEUE
    layer_class = RedisChannelLayer


class TestRedisPubSubChannelLayer(OnOneServer):
    capabilities = PUB_SUB
    layer_class = RedisPubSubChannelLayer
