"""A broker that stops, pauses and comes back."""

from fast_channels_testing.layers._base import SuiteBase


class DurabilityTier(SuiteBase):
    """A broker that stops, pauses and comes back."""
