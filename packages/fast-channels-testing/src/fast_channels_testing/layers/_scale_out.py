"""Several layers, as good as several processes, and real processes."""

from fast_channels_testing.layers._base import SuiteBase


class ScaleOutTier(SuiteBase):
    """Several layers, as good as several processes, and real processes."""
