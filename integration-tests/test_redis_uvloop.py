"""The Redis layers on uvloop, which servers prefer where it is installed."""

import asyncio
import gc
import logging

import pytest
import uvloop
from redis_servers import RedisServer, wait_until
from serving import DEADLINE

from fast_channels.layers import BrokerChannelLayer
from fast_channels.layers.redis import RedisChannelLayer, RedisPubSubChannelLayer

LAYERS = (RedisChannelLayer, RedisPubSubChannelLayer)


async def use(layer: BrokerChannelLayer) -> None:
    async with asyncio.timeout(DEADLINE):
        channel = await layer.new_channel()
        await layer.group_add("room", channel)
        await layer.group_send("room", {"type": "a"})
        assert await layer.receive(channel) == {"type": "a"}
        await layer.send("general", {"type": "b"})
        assert await layer.receive("general") == {"type": "b"}


@pytest.mark.parametrize("make", LAYERS)
def test_layer_closes(
    make: type[RedisChannelLayer | RedisPubSubChannelLayer],
    redis_server: RedisServer,
    caplog: pytest.LogCaptureFixture,
) -> None:
    layer = make(hosts=[redis_server.url])

    async def work() -> None:
        await use(layer)
        async with asyncio.timeout(DEADLINE):
            await layer.close()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    with caplog.at_level(logging.INFO):
        uvloop.run(work())
    assert caplog.messages == []
    wait_until(lambda: connections(redis_server) == 1, "only this one is connected")


@pytest.mark.parametrize("make", LAYERS)
def test_layer_that_nobody_closes_ends_with_its_loop(
    make: type[RedisChannelLayer | RedisPubSubChannelLayer],
    redis_server: RedisServer,
    caplog: pytest.LogCaptureFixture,
) -> None:
    uvloop.run(use(make(hosts=[redis_server.url])))
    gc.collect()
    assert caplog.messages == []
    wait_until(lambda: connections(redis_server) == 1, "only this one is connected")


def connections(server: RedisServer) -> int:
    return len(server.execute("CLIENT", "LIST").splitlines())
