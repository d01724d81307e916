"""What a layer may have beyond the promises of all."""

from fast_channels_testing.layers._base import SuiteBase


class ExtensionsTier(SuiteBase):
    """What a layer may have beyond the promises of all."""
