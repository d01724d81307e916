"""Several layers, as good as several processes, and real processes."""

from fast_channels_testing.layers._across_channels import AcrossChannelsTier
from fast_channels_testing.layers._across_groups import AcrossGroupsTier
from fast_channels_testing.layers._across_members import AcrossMembersTier
from fast_channels_testing.layers._across_processes import AcrossProcessesTier


class ScaleOutTier(AcrossChannelsTier, AcrossGroupsTier, AcrossMembersTier, AcrossProcessesTier):
    """Several layers, as good as several processes, and real processes."""
