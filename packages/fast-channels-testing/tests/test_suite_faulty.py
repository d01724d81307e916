"""A faulty layer with no chance of a fault, proved by the conformance suite; with one, refuted."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from in_memory_capabilities import IN_MEMORY

from fast_channels.exceptions import ChannelFull, ChannelLayerUnavailable
from fast_channels.layers import BaseChannelLayer, InMemoryChannelLayer
from fast_channels_testing import FaultyChannelLayer
from fast_channels_testing.layers import ChannelLayerSuite, LayerFactory, Layers


def _without_faults(**options: Any) -> BaseChannelLayer:
    return FaultyChannelLayer(InMemoryChannelLayer(**options))


def _with_faults(faults: dict[str, Any], **options: Any) -> BaseChannelLayer:
    return FaultyChannelLayer(InMemoryChannelLayer(**options), **faults)


class TestFaultyChannelLayer(ChannelLayerSuite):
    capabilities = IN_MEMORY

    @pytest.fixture
    def make_layer(self) -> LayerFactory:
        return _without_faults


TESTS = (
    ChannelLayerSuite.test_a_channel_gets_what_is_sent_to_it_in_order,
    ChannelLayerSuite.test_every_member_hears_every_sender_in_order,
)


@pytest.mark.parametrize("test", TESTS)
@pytest.mark.parametrize(
    ("fault", "errors", "deadline"),
    [
        ("drop", TimeoutError, 0.2),
        ("duplicate", AssertionError, 20),
        ("reorder", AssertionError, 20),
        ("full", (ChannelFull, TimeoutError), 0.2),
        ("disconnect", ChannelLayerUnavailable, 20),
    ],
)
def test_each_fault_breaks_a_promise(
    test: Callable[[ChannelLayerSuite, Layers], None],
    fault: str,
    errors: type[Exception] | tuple[type[Exception], ...],
    deadline: float,
) -> None:
    layers = Layers(partial(_with_faults, {fault: 0.2}), None, deadline)
    with pytest.raises(errors):
        test(TestFaultyChannelLayer(), layers)


@pytest.mark.parametrize("test", TESTS)
def test_delays_break_no_promise(test: Callable[[ChannelLayerSuite, Layers], None]) -> None:
    layers = Layers(partial(_with_faults, {"delay": (0, 0.005)}), None, deadline=20)
    test(TestFaultyChannelLayer(), layers)
