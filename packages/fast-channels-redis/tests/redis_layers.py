"""Layers on real servers, and what tests do with them. Two layers are as good as two processes:
each has a node, connections and an inbox of its own."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final, Protocol, TypeVar

import pytest
from redis_servers import RedisServer

from fast_channels.types import Message
from fast_channels_redis import RedisChannelLayer, RedisPubSubChannelLayer

AnyLayer = RedisChannelLayer | RedisPubSubChannelLayer
LayerClass = type[RedisChannelLayer] | type[RedisPubSubChannelLayer]

LAYERS: Final[dict[str, LayerClass]] = {
    "pubsub": RedisPubSubChannelLayer,
    "queue": RedisChannelLayer,
}

PROTOCOL: Final = int(os.environ.get("FAST_CHANNELS_RESP", "2"))
"""The version of the Redis protocol that layers speak unless a test has an opinion."""

DEADLINE: Final = 20
"""Seconds. Only a test that fails ever waits that long."""

T = TypeVar("T")


async def soon(awaitable: Awaitable[T]) -> T:
    async with asyncio.timeout(DEADLINE):
        return await awaitable


async def receive(layer: AnyLayer, channel: str, count: int) -> list[Message]:
    return [await soon(layer.receive(channel)) for _ in range(count)]


async def until(holds: Callable[[], object], what: str) -> None:
    """Look again and again at what nobody tells of."""
    try:
        async with asyncio.timeout(DEADLINE):
            while not holds():  # noqa: ASYNC110  # there is no event to wait for
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"waited {DEADLINE} s in vain until {what}") from None


async def member(layer: AnyLayer, group: str) -> str:
    """A new channel in a group."""
    channel = await layer.new_channel()
    await layer.group_add(group, channel)
    return channel


async def nothing_waits(sender: AnyLayer, layer: AnyLayer, channel: str) -> None:
    """A message sent now is the next one that the channel gets."""
    await sender.send(channel, {"type": "last"})
    assert await soon(layer.receive(channel)) == {"type": "last"}


class LayerFactory(Protocol):
    """Makes a layer on the server of the test; it is closed at the end of the test."""

    def __call__(self, hosts: list[Any] | None = None, /, **options: Any) -> AnyLayer: ...


@pytest.fixture(params=[*LAYERS.values()], ids=[*LAYERS])
def layer_class(request: pytest.FixtureRequest) -> LayerClass:
    """Both of them, one after the other."""
    chosen: LayerClass = request.param
    return chosen


@pytest.fixture
async def connect_layer(layer_class: LayerClass) -> AsyncIterator[LayerFactory]:
    """Makes layers on any servers."""
    layers: list[AnyLayer] = []

    def make(hosts: list[Any] | None = None, /, **options: Any) -> AnyLayer:
        options["connection_kwargs"] = {
            "protocol": PROTOCOL,
            **options.get("connection_kwargs", {}),
        }
        layer = layer_class(hosts, **options)
        layers.append(layer)
        return layer

    yield make
    for layer in layers:
        await soon(layer.close())


@pytest.fixture
def make_layer(redis_server: RedisServer, connect_layer: LayerFactory) -> LayerFactory:
    """Makes layers on the server that the tests share."""

    def make(hosts: list[Any] | None = None, /, **options: Any) -> AnyLayer:
        return connect_layer(hosts or [redis_server.url], **options)

    return make


@pytest.fixture
def layer(make_layer: LayerFactory) -> AnyLayer:
    return make_layer()


@pytest.fixture
def other(make_layer: LayerFactory) -> AnyLayer:
    """The same layer, in another process."""
    return make_layer()
