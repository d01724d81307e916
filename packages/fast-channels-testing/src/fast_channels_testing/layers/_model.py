"""Any sequence of calls, beside a model of dicts and sets."""

from fast_channels_testing.layers._base import SuiteBase


class ModelTier(SuiteBase):
    """Any sequence of calls, beside a model of dicts and sets."""
