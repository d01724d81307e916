"""The layers of the process, by alias, and how an application closes them."""

from collections.abc import Iterator
from typing import Any

import pytest

from fast_channels.exceptions import ChannelClosed, FastChannelsError, InvalidChannelLayerError
from fast_channels.layers import (
    ChannelLayerRegistry,
    InMemoryChannelLayer,
    channel_layers,
    channel_layers_lifespan,
    close_channel_layers,
    get_channel_layer,
    has_layers,
    register_channel_layer,
    unregister_channel_layer,
)


class ObservedLayer(InMemoryChannelLayer):
    """Counts how often it was closed, and may fail to."""

    def __init__(self, failure: BaseException | None = None) -> None:
        super().__init__()
        self.failure = failure
        self.closed = 0

    async def close(self) -> None:
        self.closed += 1
        if self.failure is not None:
            raise self.failure
        await super().close()


@pytest.fixture(autouse=True)
def empty_registry() -> Iterator[None]:
    channel_layers.clear()
    yield
    channel_layers.clear()


def test_a_layer_is_found_by_its_alias(layer: InMemoryChannelLayer) -> None:
    other = InMemoryChannelLayer()
    register_channel_layer("default", layer)
    register_channel_layer("chat", other)
    assert get_channel_layer() is get_channel_layer("default") is channel_layers["default"] is layer
    assert get_channel_layer("chat") is channel_layers.get("chat") is other
    assert has_layers()


def test_the_registry_is_a_collection_of_aliases(layer: InMemoryChannelLayer) -> None:
    registry = ChannelLayerRegistry()
    assert not registry
    for alias in ("b", "a"):
        registry.register(alias, layer)
    assert list(registry) == registry.list_aliases() == ["b", "a"]
    assert len(registry) == 2
    assert "a" in registry
    assert "c" not in registry
    assert 5 not in registry
    for alias in registry:
        registry.unregister(alias)
    assert not registry
    assert not has_layers()


def test_registering_again_replaces(layer: InMemoryChannelLayer) -> None:
    register_channel_layer("default", InMemoryChannelLayer())
    register_channel_layer("default", layer)
    assert get_channel_layer() is layer
    assert len(channel_layers) == 1


def test_an_unknown_alias_is_named_with_those_that_are_known(layer: InMemoryChannelLayer) -> None:
    with pytest.raises(InvalidChannelLayerError) as caught:
        get_channel_layer("chatt")
    assert "registered as 'chatt' (registered: none)" in str(caught.value)
    assert "register_channel_layer('chatt', layer)" in str(caught.value)
    register_channel_layer("default", layer)
    register_channel_layer("chat", layer)
    for get in (get_channel_layer, channel_layers.get, channel_layers.__getitem__):
        with pytest.raises(InvalidChannelLayerError) as caught:
            get("chatt")
        assert "(registered: 'default', 'chat')" in str(caught.value)
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, FastChannelsError)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_unregistering_forgets_known_and_unknown_aliases(layer: InMemoryChannelLayer) -> None:
    register_channel_layer("default", layer)
    unregister_channel_layer("default")
    unregister_channel_layer("default")
    unregister_channel_layer("never")
    assert not has_layers()
    with pytest.raises(InvalidChannelLayerError):
        get_channel_layer()


@pytest.mark.parametrize(
    ("thing", "shown"),
    [
        (InMemoryChannelLayer, "<class 'fast_channels.layers.in_memory.InMemoryChannelLayer'>"),
        ("redis://localhost", "'redis://localhost'"),
        (None, "None"),
    ],
)
def test_only_a_layer_can_be_registered(thing: Any, shown: str) -> None:
    with pytest.raises(TypeError) as caught:
        register_channel_layer("default", thing)
    assert f"cannot register {shown} as 'default': expected an instance" in str(caught.value)
    assert not has_layers()


async def test_closing_closes_every_layer_and_keeps_it_registered() -> None:
    layers = [ObservedLayer() for _ in range(3)]
    for number, layer in enumerate(layers):
        register_channel_layer(f"layer.{number}", layer)
    channel = await layers[1].new_channel()
    await close_channel_layers()
    assert [layer.closed for layer in layers] == [1, 1, 1]
    with pytest.raises(ChannelClosed):
        await layers[1].receive(channel)
    assert len(channel_layers) == 3
    await close_channel_layers()


async def test_closing_without_layers_does_nothing() -> None:
    await close_channel_layers()


async def test_a_layer_that_fails_to_close_does_not_keep_the_others_open() -> None:
    failure = ConnectionError("no answer")
    layers = [ObservedLayer(), ObservedLayer(failure), ObservedLayer()]
    for alias, layer in zip("abc", layers, strict=True):
        register_channel_layer(alias, layer)
    with pytest.raises(ConnectionError) as caught:
        await close_channel_layers()
    assert caught.value is failure
    assert failure.__notes__ == ["while closing channel layer 'b'"]
    assert [layer.closed for layer in layers] == [1, 1, 1]


async def test_several_failures_are_raised_as_a_group() -> None:
    failures = [ConnectionError("no answer"), ValueError("broken")]
    register_channel_layer("a", ObservedLayer(failures[0]))
    register_channel_layer("b", ObservedLayer())
    register_channel_layer("c", ObservedLayer(failures[1]))
    with pytest.raises(ExceptionGroup) as caught:
        await close_channel_layers()
    assert list(caught.value.exceptions) == failures
    assert [failure.__notes__ for failure in failures] == [
        ["while closing channel layer 'a'"],
        ["while closing channel layer 'c'"],
    ]


async def test_layers_may_come_and_go_while_they_are_closed(layer: InMemoryChannelLayer) -> None:
    class Replacing(ObservedLayer):
        async def close(self) -> None:
            await super().close()
            unregister_channel_layer("second")
            register_channel_layer("third", layer)

    second = ObservedLayer()
    register_channel_layer("first", Replacing())
    register_channel_layer("second", second)
    await close_channel_layers()
    assert second.closed == 1
    assert list(channel_layers) == ["first", "third"]


async def test_the_lifespan_closes_layers_when_the_application_ends() -> None:
    early, late = ObservedLayer(), ObservedLayer()
    register_channel_layer("early", early)
    application = object()
    async with channel_layers_lifespan(application) as state:
        assert state is None
        register_channel_layer("late", late)
        assert early.closed == 0
    assert (early.closed, late.closed) == (1, 1)


async def test_the_lifespan_closes_layers_when_the_application_fails() -> None:
    observed = ObservedLayer()
    register_channel_layer("default", observed)
    with pytest.raises(RuntimeError, match="the application's"):
        async with channel_layers_lifespan():
            raise RuntimeError("the application's")
    assert observed.closed == 1


async def test_the_lifespan_raises_what_failed_to_close() -> None:
    register_channel_layer("default", ObservedLayer(ConnectionError("no answer")))
    with pytest.raises(ConnectionError, match="no answer"):
        async with channel_layers_lifespan():
            pass
