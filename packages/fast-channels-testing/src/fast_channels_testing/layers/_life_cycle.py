"""Closing, cancelling, event loops and threads."""

from fast_channels_testing.layers._closing import ClosingTier
from fast_channels_testing.layers._event_loops import EventLoopsTier
from fast_channels_testing.layers._giving_up import GivingUpTier


class LifeCycleTier(ClosingTier, GivingUpTier, EventLoopsTier):
    """Closing, cancelling, event loops and threads."""
