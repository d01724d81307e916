"""What pytest gets from this distribution: fixtures, and readable failures of the suite."""

import pytest

pytest.register_assert_rewrite("fast_channels_testing.layers")
