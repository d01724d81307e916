"""The in-memory layer, proved by the conformance suite."""

import pytest
from in_memory_capabilities import IN_MEMORY

from fast_channels.layers import InMemoryChannelLayer
from fast_channels_testing.layers import ChannelLayerSuite, LayerFactory


class TestInMemoryChannelLayer(ChannelLayerSuite):
    capabilities = IN_MEMORY
    model_examples = 50

    @pytest.fixture
    def make_layer(self) -> LayerFactory:
        return InMemoryChannelLayer
