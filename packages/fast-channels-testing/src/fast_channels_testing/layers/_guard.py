"""That the suite runs whole."""

from fast_channels_testing.layers._base import SuiteBase


class GuardTier(SuiteBase):
    """That the suite runs whole."""
