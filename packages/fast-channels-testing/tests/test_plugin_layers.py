"""Which layers a test has, and that nothing of them is left."""

from collections.abc import Iterator

import pytest

from fast_channels.exceptions import InvalidChannelLayerError
from fast_channels.layers import (
    BaseChannelLayer,
    InMemoryChannelLayer,
    get_channel_layer,
    register_channel_layer,
    unregister_channel_layer,
)
from fast_channels.layers import (
    channel_layers as registry,
)
from fast_channels_testing.overrides import ChannelLayerOverrides


async def test_the_default_layer_is_the_tests_own(channel_layer: BaseChannelLayer) -> None:
    assert get_channel_layer() is channel_layer
    assert isinstance(channel_layer, InMemoryChannelLayer)


def test_an_alias_that_is_asked_for_is_overridden(channel_layers: ChannelLayerOverrides) -> None:
    with pytest.raises(InvalidChannelLayerError):
        get_channel_layer("chat")
    assert "chat" not in channel_layers
    layer = channel_layers["chat"]
    assert channel_layers["chat"] is layer is get_channel_layer("chat")
    assert layer is not channel_layers["default"]
    assert list(channel_layers) == ["default", "chat"]
    assert len(channel_layers) == 2


def test_a_layer_of_ones_own_is_put_in(channel_layers: ChannelLayerOverrides) -> None:
    layer = InMemoryChannelLayer(capacity=3)
    assert channel_layers.override("default", layer) is layer
    assert channel_layers["default"] is layer is get_channel_layer()
    assert channel_layers.override("default") is not layer
    with pytest.raises(TypeError, match="InMemoryChannelLayer"):
        channel_layers.override("default", InMemoryChannelLayer)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # what the test is about


def test_what_the_application_registers_under_an_overridden_alias_is_set_aside(
    channel_layer: BaseChannelLayer,
) -> None:
    register_channel_layer("default", InMemoryChannelLayer())
    assert get_channel_layer() is channel_layer
    unregister_channel_layer("default")
    register_channel_layer("default", InMemoryChannelLayer())
    assert get_channel_layer() is channel_layer
    with pytest.raises(TypeError, match="expected an instance"):
        register_channel_layer("default", object())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # what the test is about


APPLICATION = """
from fast_channels.layers import InMemoryChannelLayer, channel_layers, register_channel_layer

class Real(InMemoryChannelLayer):
    pass

real, other = Real(), Real()
for alias, layer in (("default", real), ("chat", real), ("jobs", other)):
    register_channel_layer(alias, layer)

def untouched():
    assert {alias: channel_layers[alias] for alias in channel_layers} == {
        "default": real, "chat": real, "jobs": other
    }
    assert list(channel_layers) == ["default", "chat", "jobs"]
    assert not {"send", "group_send"} & {*vars(real), *vars(other)}
    assert "register" not in vars(channel_layers)
"""

CONFTEST = """
import pytest
from application import untouched

@pytest.fixture(autouse=True)
def afterwards():
    untouched()
    yield
    untouched()
"""


INI = """
[pytest]
addopts = -q -p no:cacheprovider -p no:hypothesispytest
asyncio_mode = auto
asyncio_default_fixture_loop_scope = function
filterwarnings = error
"""


@pytest.fixture
def application(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(application=APPLICATION)
    pytester.makeconftest(CONFTEST)
    pytester.makeini(INI)


@pytest.fixture(autouse=True)
def registry_of_this_process() -> Iterator[None]:
    """The application's are registered in this process, too."""
    before = {alias: registry[alias] for alias in registry}
    yield
    registry.clear()
    for alias, layer in before.items():
        registry.register(alias, layer)


@pytest.mark.usefixtures("application")
def test_all_aliases_of_the_application_are_overridden_and_restored(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(
        """
        import pytest
        from application import Real, other, real
        from fast_channels.layers import *
        from fast_channels.layers import channel_layers as registry

        def test_overridden(channel_layer, captured_messages):
            assert not any(isinstance(registry[alias], Real) for alias in registry)
            assert get_channel_layer() is get_channel_layer("chat")
            assert get_channel_layer() is not get_channel_layer("jobs")
            get_sync_channel_layer("chat").send("tasks", {"type": "x"})
            assert captured_messages[0].aliases == ("default", "chat")

        def test_registers(channel_layer):
            register_channel_layer("default", Real())
            register_channel_layer("new", Real())
            assert isinstance(get_channel_layer("new"), Real)
            unregister_channel_layer("chat")

        def test_clears(channel_layers):
            registry.clear()

        async def test_without_the_layer_fixtures(assert_sent):
            assert get_channel_layer() is real
            register_channel_layer("default", other)
            await get_channel_layer().send("tasks", {"type": "x"})
            assert_sent(channel="tasks", alias="default")
            assert await other.receive("tasks") == {"type": "x"}

        @pytest.mark.xfail(strict=True)
        def test_fails(channel_layers, captured_messages):
            assert False
        """
    )
    pytester.runpytest_inprocess().assert_outcomes(passed=4, xfailed=1)


@pytest.mark.usefixtures("application")
def test_another_class_of_layers(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest
        from fast_channels.layers import InMemoryChannelLayer, get_channel_layer

        log = []

        class Mine(InMemoryChannelLayer):
            async def close(self):
                await super().close()
                log.append("closed")

        @pytest.fixture
        def server():
            log.append("up")
            yield
            log.append("down")

        @pytest.fixture
        def make_channel_layer(server):
            return Mine

        def test_uses_them(captured_messages, channel_layer):
            assert isinstance(channel_layer, Mine)
            assert isinstance(get_channel_layer("jobs"), Mine)

        def test_they_were_closed_while_their_server_was_up():
            assert log == ["up", "closed", "closed", "down"]
        """
    )
    pytester.runpytest_inprocess().assert_outcomes(passed=2)


@pytest.mark.usefixtures("application")
def test_a_layer_that_cannot_be_closed_is_an_error(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        from fast_channels.layers import InMemoryChannelLayer

        class Broken(InMemoryChannelLayer):
            async def close(self):
                raise OSError("no route")

        async def test_it(channel_layers):
            channel_layers.override("chat", Broken())
        """
    )
    result = pytester.runpytest_inprocess()
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*OSError: no route", "*while closing channel layer 'chat'"])
