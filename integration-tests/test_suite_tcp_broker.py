"""A layer with a broker of its own making, proved by the conformance suite."""

import asyncio
from functools import partial

import pytest
from tcp_broker import Broker, TcpLayer
from tcp_broker import thread_broker as thread_broker

from fast_channels_testing.layers import (
    SUPPORTED,
    Capabilities,
    ChannelLayerSuite,
    LayerFactory,
    NotSupported,
)


class BrokerOnAThread:
    """Disturbs a broker from any other thread."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    def stop(self) -> None:
        asyncio.run(self._broker.on_its_loop(self._broker.stop()))

    def start(self) -> None:
        asyncio.run(self._broker.on_its_loop(self._broker.start()))

    def pause(self) -> None:
        async def freeze() -> None:
            self._broker.freeze()

        asyncio.run(self._broker.on_its_loop(freeze()))

    def resume(self) -> None:
        async def thaw() -> None:
            self._broker.thaw()

        asyncio.run(self._broker.on_its_loop(thaw()))


class TestTcpLayer(ChannelLayerSuite):
    capabilities = Capabilities(
        general_channels=SUPPORTED,
        general_capacity=SUPPORTED,
        general_members=NotSupported("no process would answer for a general channel"),
        remote_capacity=NotSupported("the broker does not know how full a channel is"),
        remote_members=SUPPORTED,
        total_order=SUPPORTED,
        processes=SUPPORTED,
        event_loops=SUPPORTED,
        sync_calls=SUPPORTED,
        fork=SUPPORTED,
        message_limit=SUPPORTED,
        encryption=SUPPORTED,
        flush=SUPPORTED,
        broker_restart=SUPPORTED,
        broker_pause=SUPPORTED,
        keeps_general_messages=SUPPORTED,
        keeps_group_messages=NotSupported("a node that is away misses what is published"),
        redelivery=NotSupported("the broker forgets a message once it has sent it to a node"),
    )

    @pytest.fixture
    def make_layer(self, thread_broker: Broker) -> LayerFactory:
        return partial(TcpLayer, thread_broker.port)

    @pytest.fixture
    def broker(self, thread_broker: Broker) -> BrokerOnAThread:
        return BrokerOnAThread(thread_broker)
