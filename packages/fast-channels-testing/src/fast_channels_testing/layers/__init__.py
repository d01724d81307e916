"""The conformance suite: every promise of a channel layer, as tests that any layer can run.

::

    from functools import partial

    class TestMyLayer(ChannelLayerSuite):
        capabilities = Capabilities(processes=SUPPORTED)

        @pytest.fixture
        def make_layer(self) -> LayerFactory:
            return partial(MyLayer, "my://localhost")

Needs the extra ``fast-channels-testing[suite]``. The tests run their own event loops: which plugin
runs your other tests, and how, makes no difference.
"""

from fast_channels_testing.layers._capabilities import (
    SUPPORTED,
    UNKNOWN,
    Capabilities,
    NotSupported,
    Support,
    Supported,
    UndeclaredCapability,
    Unknown,
)
from fast_channels_testing.layers._layers import Broker, LayerFactory, Layers
from fast_channels_testing.layers._process import LayerProcess, LayerProcessEnded

try:
    from fast_channels_testing.layers._suite import ChannelLayerSuite
except ModuleNotFoundError as _error:
    _error.add_note("The conformance suite needs the extra fast-channels-testing[suite].")
    raise

__all__ = [
    "SUPPORTED",
    "UNKNOWN",
    "Broker",
    "Capabilities",
    "ChannelLayerSuite",
    "LayerFactory",
    "LayerProcess",
    "LayerProcessEnded",
    "Layers",
    "NotSupported",
    "Support",
    "Supported",
    "UndeclaredCapability",
    "Unknown",
]
