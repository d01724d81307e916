"""What members of a group get."""

from fast_channels_testing.layers._base import SuiteBase


class GroupsTier(SuiteBase):
    """What members of a group get."""
