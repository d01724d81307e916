"""The in-memory layer, proved by the conformance suite."""

import pytest

from fast_channels.layers import InMemoryChannelLayer
from fast_channels_testing.layers import (
    SUPPORTED,
    Capabilities,
    ChannelLayerSuite,
    LayerFactory,
    NotSupported,
)

_ONE_PROCESS = NotSupported("it has no broker")


class TestInMemoryChannelLayer(ChannelLayerSuite):
    capabilities = Capabilities(
        general_channels=SUPPORTED,
        general_capacity=SUPPORTED,
        general_members=SUPPORTED,
        remote_capacity=_ONE_PROCESS,
        remote_members=_ONE_PROCESS,
        total_order=SUPPORTED,
        processes=_ONE_PROCESS,
        event_loops=SUPPORTED,
        sync_calls=SUPPORTED,
        fork=_ONE_PROCESS,
        message_limit=SUPPORTED,
        encryption=NotSupported("no byte leaves the process"),
        flush=SUPPORTED,
        broker_restart=_ONE_PROCESS,
        broker_pause=_ONE_PROCESS,
        keeps_general_messages=_ONE_PROCESS,
        keeps_group_messages=_ONE_PROCESS,
        redelivery=_ONE_PROCESS,
    )

    model_examples = 50

    @pytest.fixture
    def make_layer(self) -> LayerFactory:
        return InMemoryChannelLayer
