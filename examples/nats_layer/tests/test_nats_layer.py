"""The NATS layer, proved by the conformance suite."""

import uuid
from functools import partial

import pytest
from nats_server import NatsServer

from fast_channels_testing.layers import (
    SUPPORTED,
    Capabilities,
    ChannelLayerSuite,
    LayerFactory,
    NotSupported,
)
from nats_layer import NatsChannelLayer


class TestNatsChannelLayer(ChannelLayerSuite):
    capabilities = Capabilities(
        general_channels=SUPPORTED,
        general_capacity=SUPPORTED,
        general_members=NotSupported("a general channel has no process that answers for it"),
        remote_capacity=NotSupported("the inbox of a process is a subject, which has no length"),
        remote_members=SUPPORTED,
        total_order=NotSupported("NATS keeps the order of each publisher, not among publishers"),
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
        keeps_group_messages=NotSupported("core NATS keeps nothing"),
        redelivery=SUPPORTED,
    )

    @pytest.fixture
    def broker(self, server: NatsServer) -> NatsServer:
        return server

    @pytest.fixture
    def make_layer(self, server: NatsServer) -> LayerFactory:
        return partial(NatsChannelLayer, server.url, prefix=uuid.uuid4().hex, claim_timeout=2)
