"""Closing, cancelling, event loops and threads."""

from fast_channels_testing.layers._base import SuiteBase


class LifeCycleTier(SuiteBase):
    """Closing, cancelling, event loops and threads."""
