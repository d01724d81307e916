"""What pytest gets from this distribution: fixtures, and readable failures of the suite.

Nothing of it costs a project anything that does not use the fixtures: pytest imports this module
alone, and whatever the fixtures need is imported when the first of them is set up.
"""

from collections.abc import Callable, Generator, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from fast_channels.layers import BaseChannelLayer
    from fast_channels_testing._plugin_leaks import LeakCheck
    from fast_channels_testing._plugin_registry import RegistryScope
    from fast_channels_testing.captured import AssertNotSent, AssertSent, CapturedMessages
    from fast_channels_testing.overrides import ChannelLayerOverrides

pytest.register_assert_rewrite("fast_channels_testing.layers")

_MARKER = "allow_channel_leaks"
_passed = pytest.StashKey[bool]()
_check: "pytest.StashKey[LeakCheck]" = pytest.StashKey()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        f"{_MARKER}(reason=None): do not fail a test with `channel_layer` or `channel_layers` that "
        "leaves channels, groups or tasks behind.",
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.when == "call":
        item.stash[_passed] = report.passed
    return report


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(
    fixturedef: "pytest.FixtureDef[Any]", request: pytest.FixtureRequest
) -> Generator[None, object, object]:
    check = request.config.stash.get(_check, None)
    if check is None or fixturedef.scope == "function":
        return (yield)
    before = check.loops.tasks()
    try:
        return (yield)
    finally:
        check.loops.excuse(check.loops.tasks() - before)


@pytest.fixture
def make_channel_layer() -> "Callable[[], BaseChannelLayer]":
    """Makes the layers of `channel_layer` and `channel_layers`: in memory. Override it to test
    with others."""
    from fast_channels.layers import InMemoryChannelLayer

    return InMemoryChannelLayer


@pytest.fixture
def _channel_registry() -> "Iterator[RegistryScope]":
    """Leaves the registry of layers as it was, whatever the test registers."""
    from fast_channels_testing._plugin_registry import RegistryScope

    scope = RegistryScope()
    yield scope
    scope.restore()


@pytest.fixture
def channel_layers(
    request: pytest.FixtureRequest,
    make_channel_layer: "Callable[[], BaseChannelLayer]",
    _channel_registry: "RegistryScope",
) -> "Iterator[ChannelLayerOverrides]":
    """The layers of this test, by alias, instead of those that the application registers.

    "default" and all aliases that are registered already have one. A test that leaves channels,
    groups or tasks behind fails, unless it is marked with `allow_channel_leaks`.
    """
    from fast_channels_testing._plugin_leaks import LeakCheck
    from fast_channels_testing.overrides import ChannelLayerOverrides

    check = request.config.stash[_check] = LeakCheck()
    check.loops.watch()
    _channel_registry.on_register = check.watch
    try:
        yield ChannelLayerOverrides(_channel_registry, make_channel_layer, check.put_in)
    finally:
        del request.config.stash[_check]
        left = check.finish()
    if check.failures:
        raise ExceptionGroup("channel layers failed to close", check.failures)
    node: pytest.Item = request.node
    allowed = node.get_closest_marker(_MARKER) is not None
    if left and not allowed and node.stash.get(_passed, False):
        lines = "".join(f"\n  {line}" for line in left)
        pytest.fail(
            f"{node.name} left behind:{lines}\n"
            "Close channels, disconnect communicators, cancel and await tasks; or mark the test "
            f"with @pytest.mark.{_MARKER}(reason=...).",
            pytrace=False,
        )


@pytest.fixture
def channel_layer(channel_layers: "ChannelLayerOverrides") -> "BaseChannelLayer":
    """The layer that is "default" in this test, and belongs to it alone."""
    return channel_layers["default"]


@pytest.fixture
def captured_messages(_channel_registry: "RegistryScope") -> "CapturedMessages":
    """What is sent to registered layers in this test, in order; an assertion can look into it."""
    return _channel_registry.capture()


@pytest.fixture
def assert_sent(captured_messages: "CapturedMessages") -> "AssertSent":
    """`assert_sent("group", type="chat.message", ...)`, `assert_sent(channel=..., type=...)`:
    fails, and lists what was sent instead, unless such a message was sent; returns it."""
    return captured_messages.assert_sent


@pytest.fixture
def assert_not_sent(captured_messages: "CapturedMessages") -> "AssertNotSent":
    """Fails if `assert_sent` would find a message."""
    return captured_messages.assert_not_sent
