"""A faulty layer with no chance of a fault, proved by the conformance suite."""

from typing import Any

import pytest

from fast_channels.layers import BaseChannelLayer, InMemoryChannelLayer
from fast_channels_testing import FaultyChannelLayer
from fast_channels_testing.layers import (
    SUPPORTED,
    Capabilities,
    ChannelLayerSuite,
    LayerFactory,
    NotSupported,
)

_ONE_PROCESS = NotSupported("the layer in it has no broker")


def _without_faults(**options: Any) -> BaseChannelLayer:
    return FaultyChannelLayer(InMemoryChannelLayer(**options))


class TestFaultyChannelLayer(ChannelLayerSuite):
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

    @pytest.fixture
    def make_layer(self) -> LayerFactory:
        return _without_faults
