"""The whole suite, as a layer's author derives from it."""

from fast_channels_testing.layers._core import CoreTier
from fast_channels_testing.layers._durability import DurabilityTier
from fast_channels_testing.layers._extensions import ExtensionsTier
from fast_channels_testing.layers._groups import GroupsTier
from fast_channels_testing.layers._guard import GuardTier
from fast_channels_testing.layers._life_cycle import LifeCycleTier
from fast_channels_testing.layers._model import ModelTier
from fast_channels_testing.layers._scale_out import ScaleOutTier


class ChannelLayerSuite(
    CoreTier,
    GroupsTier,
    ScaleOutTier,
    LifeCycleTier,
    DurabilityTier,
    ExtensionsTier,
    ModelTier,
    GuardTier,
):
    """Proves a channel layer. Derive from it, give it a fixture ``make_layer``, say what the layer
    is capable of, and let pytest run it.

    A test that does not hold on your layer is not deleted: override it, with
    ``@pytest.mark.xfail(reason="...", strict=True)``, and call it by ``super()``.
    """
